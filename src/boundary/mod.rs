//! What crosses between host and guest: a table of channels, each judged by what was seen of a running machine.
//!
//! Enters: observations of the host and an answer of the guest, as values. Leaves: one line a channel. Nothing is said
//! that was not seen, and what could not be tried is never called closed. Changes nothing.

mod canary;
mod channels;
mod engine;
mod given;
mod guest;
mod host;
mod look;
mod network;
mod observed;

use std::fmt;
use std::path::PathBuf;

pub use canary::{Canaries, Heard, Stand, Words, own_addresses};
pub use channels::assess;
pub use look::{
    default_router, first_open_port, is_open, look_at_cidata, look_at_modes, look_at_ports, read_ssh_options,
};
pub use network::{METADATA_SERVICE, targets};
pub use observed::{
    AgentSeen, GuestPorts, KeyPin, MasterSeen, Neighbour, Observed, Private, Settings, Stated, TrustSeen,
};

/// What a channel came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Tried, and nothing came through.
    Closed,
    /// Something comes through, as this key of this file asks.
    Open {
        /// The key.
        key: String,
        /// The file.
        file: PathBuf,
    },
    /// Something comes through, and it is what README.md says.
    Crosses,
    /// Something comes through that should not.
    Failed,
    /// It could not be tried, which is neither good nor bad.
    NotProbed,
}

impl Verdict {
    /// Its name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open by configuration",
            Self::Crosses => "crosses",
            Self::Failed => "failed",
            Self::NotProbed => "not probed",
        }
    }
}

/// A verdict with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What it came to.
    pub verdict: Verdict,
    /// What was seen, for a person; may hold words of the guest.
    pub detail: String,
}

impl Judgement {
    fn closed(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Closed, detail: detail.into() }
    }

    fn open(key: &str, file: impl Into<PathBuf>, detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Open { key: key.into(), file: file.into() }, detail: detail.into() }
    }

    fn crosses(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Crosses, detail: detail.into() }
    }

    fn failed(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, detail: detail.into() }
    }

    fn not_probed(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotProbed, detail: detail.into() }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The channel's name, which stays the same.
    pub channel: &'static str,
    /// Its judgement.
    pub judgement: Judgement,
}

/// The verdict as a person reads it.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { key, file } => write!(f, "open by `{key}` in `{}`", file.display()),
            Self::Crosses => f.write_str("crosses, as stated"),
            Self::Failed => f.write_str("FAILED"),
            other => f.write_str(other.name()),
        }
    }
}
