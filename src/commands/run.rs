//! `machine run`: a command in the first repository; its exit code is ours.
//!
//! Enters: a project and an argv, any bytes. Leaves: the command's exit code, or 125 when it could not be started.

use std::ffi::OsString;
use std::io::IsTerminal;

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::Result;
use crate::model::PortForward;
use crate::ssh::Remote;
use crate::workspace::open_session;

/// Options of `run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Ask for a terminal, also when ours is none
    #[arg(short = 't', long, conflicts_with = "no_tty")]
    tty: bool,
    /// Ask for no terminal; default: one if both our input and output are
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Open PORT, or HOST:GUEST, on this computer's 127.0.0.1 for as long as the session lasts
    #[arg(long, value_name = "PORT")]
    open: Vec<PortForward>,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let terminal = args.tty || (on_terminal && !args.no_tty);
    let remote =
        if terminal { Remote::OnTerminal(args.command.clone()) } else { Remote::Plain(args.command.clone()) };
    open_session(context, args.project.as_deref(), "run", &remote, terminal, &args.open)
}
