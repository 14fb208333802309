//! What came of one run of the program, as its reader sees it.
//!
//! Enters: status and output. Leaves: text for a snapshot.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Exit code and both streams.
pub struct Outcome {
    /// The exit code; 128 and more for a signal.
    pub code: i32,
    /// Standard output, masked.
    pub stdout: String,
    /// Standard error, masked.
    pub stderr: String,
}

/// The exit code as a shell has it.
pub fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit code {}", self.code)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "--- {name}\n{text}")?;
            }
        }
        Ok(())
    }
}
