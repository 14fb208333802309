//! `machine lima`: Lima's own command line, in our home and with our launcher.
//!
//! Enters: arguments for `limactl`. Leaves: its exit code. What would change a machine behind our back needs `--raw`.

use std::ffi::OsString;

use crate::commands::waiting;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::record::{MachineRecord, ProjectLock};
use crate::ui;
use crate::workspace::{Workspace, site};

/// Commands of Lima that change what we have recorded, by all their names.
const REFUSED: [&str; 11] = [
    "start",
    "restart",
    "delete",
    "remove",
    "rm",
    "factory-reset",
    "edit",
    "clone",
    "rename",
    "create",
    "snapshot",
];

/// Lima's options before a command that take a value of their own.
const VALUED: [&str; 2] = ["--log-level", "--log-format"];

/// Commands that talk with whoever sits at the terminal; what the others print is cleaned.
const INTERACTIVE: [&str; 6] = ["shell", "edit", "start", "create", "clone", "rename"];

/// Options of `lima`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Also run commands that change a machine behind `machine`'s back (start, restart, delete, factory-reset, edit, clone,
    /// rename, create, snapshot)
    #[arg(long)]
    raw: bool,
    /// Print the command that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Arguments for limactl
    #[arg(value_name = "ARGS", last = true, required = true)]
    arguments: Vec<OsString>,
}

/// Runs `limactl`.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let driver = site.driver();
    driver.check_version(site.accept_unknown_lima)?;
    let words: Vec<String> = args.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let verb = verb_of(&words);
    let ours = MachineRecord::load_all(&context.layout);
    let named: Vec<&MachineRecord> = ours.iter().filter(|record| words.contains(&record.name)).collect();
    if REFUSED.contains(&verb) && !args.raw && (!named.is_empty() || verb == "create") {
        return Err(Failure::usage(format!(
            "`limactl {verb}` would change a machine behind the back of `machine`"
        ))
        .hint(
            "`machine up`, `machine destroy` and the configuration do it; or say `machine lima --raw -- …`",
        ));
    }
    let cmd = driver.limactl.call().args(&args.arguments).in_folder(&context.cwd).inherit_input();
    if context.options.dry_run {
        ui::answer(&cmd.to_string());
        return Ok(0);
    }
    let lock = |record: &&MachineRecord| {
        ProjectLock::exclusive(&context.layout, &record.name, "lima", &waiting(context, &say))
    };
    let _locks = named.iter().map(lock).collect::<Result<Vec<_>>>()?;
    if INTERACTIVE.contains(&verb) {
        let _terminal = ui::TerminalGuard::new(context.dumb_terminal);
        return Ok(context.runner.interactive(&cmd)?.code());
    }
    Ok(context.runner.relay(&cmd, ui::terminal_sinks())?.code())
}

fn verb_of(words: &[String]) -> &str {
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        if VALUED.contains(&word) {
            rest.next();
        } else if !word.starts_with('-') {
            return word;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::verb_of;

    #[test]
    fn a_value_of_an_option_is_no_command() {
        let verb = |line: &str| verb_of(&line.split(' ').map(String::from).collect::<Vec<_>>()).to_string();
        assert_eq!(verb("--log-level debug delete blog"), "delete");
        assert_eq!(verb("--debug --log-format=json rm -f blog"), "rm");
        assert_eq!((verb("list --json"), verb("--version")), ("list".into(), String::new()));
    }
}
