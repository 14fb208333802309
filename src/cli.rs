//! The command line: words → values. Nothing is done here.
//!
//! Enters: argv. Leaves: a `Cli`. The order of the commands is the order of `--help`: the daily ones first.

use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::commands::{
    completions, connect, destroy, doctor, down, init, lima, list, man, run, ssh, uninstall, up,
};

const AFTER_HELP: &str = "\
Daily:      up, ssh, run, down, list
Projects:   init, destroy, doctor
Around it:  completions, man, lima, uninstall

Exit codes:
  0    done
  1    the operation failed
  2    usage or configuration
  3    refused to lose work (see `machine destroy --help`)
  4    busy: another `machine` holds this project (with --no-wait), or sessions are open (`down` without a terminal)
  5    configuration not trusted
  125  `machine` failed before the guest command of `run` or `ssh` started; otherwise that command's own code
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
    /// Folder with projects.toml, instead of the repository's or ~/.config/machine
    #[arg(
        long = "config",
        value_name = "DIR",
        env = "MACHINE_CONFIG_DIR",
        hide_env_values = true,
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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring projects up: from nothing, stopped, half-built or running to ready
    #[command(visible_alias = "start")]
    Up(up::Args),
    /// Open a login shell in the project's first repository, starting the machine if it is stopped
    #[command(visible_alias = "shell")]
    Ssh(ssh::Args),
    /// Run a command in the project's first repository; its exit code is passed on
    #[command(visible_alias = "exec")]
    Run(run::Args),
    /// Stop machines; disks are kept
    #[command(visible_alias = "stop")]
    Down(down::Args),
    /// List every project and machine
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Write a commented configuration, and let ssh know our hosts
    Init(init::Args),
    /// Delete a machine, after showing what would be lost
    Destroy(destroy::Args),
    /// Check this computer, and say what to mend
    Doctor(doctor::Args),
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
}

impl Cli {
    /// The clap command, for completions and the manual.
    pub fn for_generators() -> clap::Command {
        <Self as CommandFactory>::command()
    }
}
