//! `machine ssh`: a login shell in the first repository, the agent lent for as long as it is open.
//!
//! Enters: a project. Leaves: the shell's exit code. Stays the parent, so that the agent ends with the session.

use std::io::IsTerminal;

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::Result;
use crate::model::PortForward;
use crate::ssh::Remote;
use crate::workspace::open_session;

/// Options of `ssh`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Open PORT, or HOST:GUEST, on this computer's 127.0.0.1 for as long as the session lasts
    #[arg(long, value_name = "PORT")]
    open: Vec<PortForward>,
}

/// Opens the shell. Like ssh itself, it gets a terminal when our standard input is one.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let terminal = std::io::stdin().is_terminal();
    open_session(context, args.project.as_deref(), "ssh", &Remote::Login, terminal, &args.open)
}
