//! `machine`: a virtual machine of its own for every project, driven through Lima.
//!
//! The story: complete a word, or become QEMU for Lima, or parse the command line, gather the surroundings, run the
//! verb, and turn its outcome into an exit code. This file is the only one that ends the program, and prints the error that a
//! verb ended with.

mod boundary;
mod boxes;
mod cli;
mod commands;
mod config;
mod context;
mod disk;
mod failure;
mod guest;
mod layout;
mod lima;
mod model;
mod plan;
mod process;
mod record;
mod ssh;
mod ui;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::FromArgMatches;

use cli::{Cli, Command};
use context::{Context, Options};
use failure::{Context as _, Failure, Result};
use lima::launcher;
use ui::{Loudness, lost_answer, print_failure};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let argv0 = PathBuf::from(args.first().cloned().unwrap_or_default());
    let words = args.get(1..).unwrap_or_default();
    if launcher::is_launcher(&argv0, words) {
        return conclude(launcher::launch(&argv0, words).map(|()| 0));
    }
    clap_complete::CompleteEnv::with_factory(Cli::grouped).complete();
    let parsed =
        Cli::grouped().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(cause) => {
            // `--help` is an answer, everything else a usage error; clap knows the stream and the code of each.
            let _ = cause.print();
            return ExitCode::from(u8::try_from(cause.exit_code()).unwrap_or(2));
        }
    };
    let options = options(&cli);
    let outcome = run(&cli.command, options);
    let written = lost_answer().map_or(Ok(()), Err).because(|| "failed to write the answer");
    conclude(outcome.and_then(|code| written.map(|()| code)))
}

fn conclude(outcome: Result<u8>) -> ExitCode {
    outcome.map_or_else(
        |failure| {
            print_failure(&failure);
            ExitCode::from(failure.kind.code())
        },
        ExitCode::from,
    )
}

fn options(cli: &Cli) -> Options {
    let (json, dry_run) = match &cli.command {
        Command::Up(args) => (args.json, args.dry_run),
        Command::List(args) => (args.json, false),
        Command::Status(args) => (args.json, false),
        Command::Secrets(args) => (args.json, args.dry_run),
        Command::Doctor(args) => (args.json, false),
        Command::Rebuild(args) => (args.json, args.dry_run),
        Command::Diff(args) => (args.json, false),
        Command::Boundary(args) => (args.json, false),
        Command::Box(args) => args.answers(),
        Command::Trust(args) => args.answers(),
        Command::Keys(args) => args.answers(),
        Command::Bake(args) => (false, args.dry_run),
        Command::Init(args) => (false, args.dry_run),
        Command::Ports(args) => (args.json, args.dry_run),
        Command::Profiles(args) => (args.json(), args.dry_run()),
        Command::Down(args) => (false, args.dry_run),
        Command::Sleep(args) => (false, args.dry_run),
        Command::Destroy(args) => (false, args.dry_run),
        Command::Prune(args) => (false, args.dry_run),
        Command::Uninstall(args) => (false, args.dry_run),
        Command::Lima(args) => (false, args.dry_run),
        _ => (false, false),
    };
    let loudness = match (cli.global.verbose, cli.global.quiet || json) {
        (true, _) => Loudness::Verbose,
        (_, true) => Loudness::Quiet,
        _ => Loudness::Normal,
    };
    let config_dir = cli.global.config.clone();
    Options { config_dir, loudness, json, yes: cli.global.yes, dry_run, no_wait: cli.global.no_wait }
}

fn run(command: &Command, options: Options) -> Result<u8> {
    // These need nothing of the computer, and package builds that ask for them may be root's.
    if let Command::Completions(args) = command {
        return commands::completions::run(args);
    }
    if let Command::Man(args) = command {
        return commands::man::run(args);
    }
    let context = &Context::gather(options)?;
    let outcome = dispatch(command, context);
    // Whatever it ended with: a question that a signal took away is not one that nobody could answer.
    if outcome.is_err() && context.runner.interrupt().is_asked() {
        Err(Failure::interrupted())
    } else {
        outcome
    }
}

fn dispatch(command: &Command, context: &Context) -> Result<u8> {
    match command {
        Command::Up(args) => commands::up::run(args, context),
        Command::Ssh(args) => commands::ssh::run(args, context),
        Command::Run(args) => commands::run::run(args, context),
        Command::Down(args) => commands::down::run(args, context),
        Command::Sleep(args) => commands::sleep::run(args, context),
        Command::Secrets(args) => commands::secrets::run(args, context),
        Command::List(args) => commands::list::run(args, context),
        Command::Status(args) => commands::status::run(args, context),
        Command::Init(args) => commands::init::run(args, context),
        Command::Ports(args) => commands::ports::run(args, context),
        Command::Profiles(args) => commands::profiles::run(args, context),
        Command::Destroy(args) => commands::destroy::run(args, context),
        Command::Prune(args) => commands::prune::run(args, context),
        Command::Rebuild(args) => commands::rebuild::run(args, context),
        Command::Diff(args) => commands::diff::run(args, context),
        Command::Box(args) => commands::boxes::run(args, context),
        Command::Keys(args) => commands::keys::run(args, context),
        Command::Bake(args) => commands::boxes::bake(args, context),
        Command::Export(args) => commands::export::run(args, context),
        Command::Trust(args) => commands::trust::run(args, context),
        Command::Doctor(args) => commands::doctor::run(args, context),
        Command::Boundary(args) => commands::boundary::run(args, context),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::man::run(args),
        Command::Lima(args) => commands::lima::run(args, context),
        Command::Uninstall(args) => commands::uninstall::run(args, context),
        Command::Connect(args) => commands::connect::run(args, context),
        Command::Watch(args) => commands::watch::run(args, context),
    }
}
