//! A program that runs beside us for a while.
//!
//! Enters: a started child. Leaves: a guard that ends it; should we be killed, the end of its input tells it.

use std::process::Child;

/// Ends its program when dropped.
#[derive(Debug)]
pub struct Companion {
    child: Child,
}

impl Companion {
    pub(super) const fn new(child: Child) -> Self {
        Self { child }
    }

    /// Whether the program runs still.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and is only fetched.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
