//! `op.json`: what a verb was doing to a machine, written before its first effect and removed after its last.
//!
//! Enters: the operation. Leaves: a file that the next command finds when this one was cut off.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::failure::{Failure, Result};
use crate::layout::Layout;

/// An operation under way, or cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The verb.
    pub operation: String,
    /// What it was doing.
    pub phase: String,
    /// The uuid of the machine it concerns.
    pub uuid: String,
    /// The process.
    pub pid: u32,
}

impl Journal {
    fn path(layout: &Layout, name: &str) -> PathBuf {
        layout.machine(name).join("op.json")
    }

    /// What a command that was cut off left behind. A damaged file says only that there was one.
    pub fn left_behind(layout: &Layout, name: &str) -> Result<Option<Self>> {
        let Some(bytes) = disk::read_if_there(&Self::path(layout, name))? else { return Ok(None) };
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Notes that `phase` of `operation` begins.
    pub fn note(layout: &Layout, name: &str, operation: &str, phase: &str, uuid: &str) -> Result<()> {
        let pid = std::process::id();
        let journal = Self { operation: operation.into(), phase: phase.into(), uuid: uuid.into(), pid };
        let text = serde_json::to_vec(&journal);
        let text = text.map_err(|cause| Failure::operation(format!("failed to write a journal: {cause}")))?;
        disk::ensure_private_folder(&layout.machine(name))?;
        disk::write_atomic(&Self::path(layout, name), &text, 0o600)
    }

    /// Notes that the operation is over.
    pub fn close(layout: &Layout, name: &str) -> Result<()> {
        disk::remove_file(&Self::path(layout, name))
    }
}
