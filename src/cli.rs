//! The command line: words → values. Nothing is done here.
//!
//! Enters: argv. Leaves: a `Cli`. The order of the commands is the order of `--help`: the daily ones first.

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::commands::boundary;
use crate::commands::{
    boxes, completions, connect, destroy, diff, doctor, down, export, init, keys, lima, list, man, ports,
    profiles, prune, rebuild, run, secrets, sleep, ssh, status, trust, uninstall, up, watch,
};

const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    the operation failed
  2    usage or configuration
  3    refused to lose work (see `machine destroy --help`)
  4    busy: another `machine` holds this project (with --no-wait), or sessions
       are open (`down` without a terminal)
  5    configuration not trusted
  125  `machine` failed before the guest command of `run` or `ssh` started;
       otherwise that command's own code
  130  interrupted

Start with `machine up NAME`, in a git repository or anywhere. `machine man` prints the manual.";

/// The words after `machine`.
#[derive(Debug, Parser)]
#[command(name = "machine", version, about, after_help = AFTER_HELP, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The folder. clap itself would take a variable that is set and empty for one.
    #[arg(
        long = "config",
        value_name = "DIR",
        help = "Folder with projects.toml, instead of the repository's or ~/.config/machine [env: MACHINE_CONFIG_DIR]",
        global = true
    )]
    pub config: Option<PathBuf>,
    /// Print every command that is run
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Print warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Take the default answer of questions that lose nothing
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Fail with exit code 4 instead of waiting for another `machine`
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    pub no_wait: bool,
}

/// The commands. Their other names are hidden from clap, whose completion would offer one of them in a command's place;
/// `--help` names them all the same.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring projects up: from nothing, stopped, half-built or running to ready
    #[command(alias = "start")]
    Up(up::Args),
    /// Open a login shell in the project's first repository, starting the machine if it is stopped
    #[command(alias = "shell")]
    Ssh(ssh::Args),
    /// Run a command in the project's first repository; its exit code is passed on
    #[command(alias = "exec")]
    Run(run::Args),
    /// Stop machines; disks are kept
    #[command(alias = "stop")]
    Down(down::Args),
    /// Put machines to sleep: no memory, and everything in them goes on when they wake
    Sleep(sleep::Args),
    /// Fill the guest's memory with the project's secrets anew, empty it, or list names and ages
    Secrets(secrets::Args),
    /// List every project and machine
    #[command(alias = "ls")]
    List(list::Args),
    /// Show all that is known of a project and its machine; run its profiles' checks again
    Status(status::Args),
    /// Write a commented configuration, and let ssh know our hosts
    Init(init::Args),
    /// List a project's ports, open and close them on this computer
    Ports(ports::Args),
    /// List the profiles that projects can name, or write a new one
    Profiles(profiles::Args),
    /// Delete a machine, after showing what would be lost
    Destroy(destroy::Args),
    /// Delete machines that were not used for long, each as `destroy` does
    Prune(prune::Args),
    /// Make a fresh machine from today's configuration, in the place of the one that is there
    Rebuild(rebuild::Args),
    /// See and change what a machine may use of the ssh-agent, and what it has asked of it
    Keys(keys::Args),
    /// Compare what a machine was made from with what the configuration says now
    Diff(diff::Args),
    /// See, fill, empty and carry the cache of boxes that machines start from
    Box(boxes::Args),
    /// Build the box of a project's stack ahead of its machine; the same as `box bake`
    Bake(boxes::BakeArgs),
    /// Print a project as one file for plain Lima, which needs no `machine`
    Export(export::Args),
    /// Allow a repository's own files what they ask for beyond their machine; list it, take it back
    Trust(trust::Args),
    /// Check this computer, and say what to mend
    Doctor(doctor::Args),
    /// Show what crosses between this computer and a machine, each channel tried now
    Boundary(boundary::Args),
    /// Print the completion script of a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
    /// Run Lima's own command line on our machines
    Lima(lima::Args),
    /// Undo what `machine` added to this computer, and name what stays
    Uninstall(uninstall::Args),
    /// The ssh ProxyCommand of `Host machine-…`
    #[command(hide = true)]
    Connect(connect::Args),
    /// What runs beside a machine that rests when it is idle
    #[command(hide = true)]
    Watch(watch::Args),
}

/// The groups of `--help`, the daily commands first.
const GROUPS: [(&str, &[&str]); 3] = [
    ("Daily", &["up", "ssh", "run", "down", "sleep", "secrets", "list", "status"]),
    (
        "Projects and this computer",
        &[
            "init",
            "profiles",
            "keys",
            "ports",
            "diff",
            "rebuild",
            "destroy",
            "prune",
            "box",
            "bake",
            "trust",
            "doctor",
            "uninstall",
        ],
    ),
    ("Around it", &["boundary", "export", "lima", "completions", "man"]),
];

impl Cli {
    /// The clap command, with its commands in groups; clap itself knows one list only.
    pub fn grouped() -> clap::Command {
        let command = <Self as CommandFactory>::command();
        let groups: Vec<String> = GROUPS.iter().map(|(name, verbs)| group(&command, name, verbs)).collect();
        let template = format!(
            "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{}\nOptions:\n{{options}}{{after-help}}",
            groups.join("\n")
        );
        command.help_template(template)
    }
}

fn group(command: &clap::Command, name: &str, verbs: &[&str]) -> String {
    let lines = verbs.iter().filter_map(|verb| command.find_subcommand(verb)).map(|verb| {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let aliases: Vec<&str> = verb.get_all_aliases().collect();
        let aliases = if aliases.is_empty() { String::new() } else { format!(" [{}]", aliases.join(", ")) };
        format!("  {:<12} {about}{aliases}\n", verb.get_name())
    });
    format!("{name}:\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::{Cli, GROUPS};

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let command = Cli::grouped();
        let mut shown: Vec<&str> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(clap::Command::get_name)
            .collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        shown.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, shown);
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::grouped().debug_assert();
    }

    /// clap wraps a paragraph to the terminal's width, but what was wrapped by hand before breaks in mid-sentence.
    #[test]
    fn what_stands_below_the_options_wraps_at_any_width() {
        fn look(command: &clap::Command, odd: &mut Vec<String>) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for block in text.split("\n\n").filter(|block| block.contains('\n')) {
                let long = block.lines().filter(|line| line.chars().count() >= 80);
                odd.extend(long.map(|line| format!("{}: {line}", command.get_name())));
            }
            command.get_subcommands().for_each(|verb| look(verb, odd));
        }
        let mut odd = Vec::new();
        look(&Cli::grouped(), &mut odd);
        assert!(odd.is_empty(), "{odd:#?}");
    }
}
