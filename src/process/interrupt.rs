//! Remembers that a signal asked us to stop; nothing else happens in a handler.
//!
//! Enters: SIGINT, SIGTERM, SIGHUP. Leaves: a flag that waits look at. Ends nothing by itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A flag shared by everything that waits.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Registers the handlers; a second signal of a kind ends the program at once with status 130.
    pub fn install() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the shutdown looks at the flag as it was before this signal.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupt.asked))?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.asked))?;
        }
        Ok(interrupt)
    }

    /// The flag itself, for those who know nothing of processes.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Whether a signal arrived.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// As a signal would.
    #[cfg(test)]
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }
}
