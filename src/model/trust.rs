//! What a repository's file asks for beyond its own machine, and how much it may take without asking.
//!
//! Enters: values of the configuration. Leaves: the same, for the question that is put to the user.

use super::{ByteSize, Host};

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The key that asks.
    pub key: &'static str,
    /// What saying yes means, in a few words.
    pub what: String,
}

/// `[caps]` in config.toml: the most that a repository's file gets of this computer without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Virtual processors; default half of the computer's, at least 2.
    pub cpus: Option<u32>,
    /// Memory; default half of the computer's, at least 4 GiB.
    pub memory: Option<ByteSize>,
    /// The size that a disk may grow to; default 100 GiB.
    pub disk: Option<ByteSize>,
}

impl Caps {
    /// Virtual processors.
    pub fn cpus(&self, host: &Host) -> u32 {
        self.cpus.unwrap_or_else(|| (host.cpus / 2).max(2))
    }

    /// Memory.
    pub fn memory(&self, host: &Host) -> ByteSize {
        let half = ByteSize::from_bytes(host.memory_bytes.unwrap_or_default() / 2);
        self.memory.unwrap_or_else(|| half.max(ByteSize::from_gib(4)))
    }

    /// The size of a disk.
    pub fn disk(&self) -> ByteSize {
        self.disk.unwrap_or(ByteSize::from_gib(100))
    }
}
