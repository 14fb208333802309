//! `machine ssh`: a login shell in the first repository, the agent lent for as long as it is open.
//!
//! Enters: a project. Leaves: the shell's exit code. Stays the parent, so that the agent ends with the session.

use std::io::IsTerminal;

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::Result;
use crate::ssh::Remote;
use crate::workspace::open_session;

/// Options of `ssh`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
}

/// Opens the shell. Like ssh itself, it gets a terminal when our standard input is one.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    open_session(context, args.project.as_deref(), "ssh", &Remote::Login, std::io::stdin().is_terminal())
}
