//! `zstd` between two pipes: memory is mostly text and zeros, and half of a sleep is writing it down.
//!
//! Enters: one end of a pipe. Leaves: the end of another. The program ends with its guard, whatever happens.

use std::io::{PipeReader, PipeWriter, pipe};
use std::process::{Child, Stdio};

use crate::failure::{Context, Failure, Result};
use crate::process::{Cmd, Runner};

/// A `zstd` that runs.
pub(super) struct Filter(Child);

/// Packs what is written into the first end; the second one has the packed bytes.
pub(super) fn packer(runner: &Runner) -> Result<(Filter, PipeWriter, PipeReader)> {
    start(&["-1", "-T0", "-q", "-c"], runner)
}

/// Unpacks what is written into the first end; the second one has the plain bytes.
pub(super) fn unpacker(runner: &Runner) -> Result<(Filter, PipeWriter, PipeReader)> {
    start(&["-d", "-q", "-c"], runner)
}

fn start(flags: &[&str], runner: &Runner) -> Result<(Filter, PipeWriter, PipeReader)> {
    let make = || pipe().because(|| "failed to make a pipe");
    let ((input, into), (out, output)) = (make()?, make()?);
    let child =
        runner.filter(&Cmd::new("zstd").args(flags).own_group(), Stdio::from(input), Stdio::from(output))?;
    Ok((Filter(child), into, out))
}

impl Filter {
    /// Waits for its end, which has come once its input has ended and its output was read.
    ///
    /// # Errors
    /// When it was not a good one: what came out is not all there is.
    pub fn finish(mut self) -> Result<()> {
        let status = self.0.wait().because(|| "failed to wait for `zstd`")?;
        if status.success() { Ok(()) } else { Err(Failure::operation(format!("`zstd` failed: {status}"))) }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
