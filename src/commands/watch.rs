//! `machine watch`: what runs beside a machine that rests when it is idle; started by what starts the machine.
//!
//! Enters: a machine. Leaves: when it does. Never waits for anybody.

use crate::context::Context;
use crate::failure::Result;
use crate::workspace::watch;

/// Options of `watch`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The machine
    #[arg(value_name = "PROJECT")]
    project: String,
}

/// Watches.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    watch(context, &args.project)?;
    Ok(0)
}
