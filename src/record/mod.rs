//! What we remember of a machine between two commands: its record, its journal, its open sessions, its lock.
//!
//! Enters: values. Leaves: files below the state folder, each written whole. Knows no Lima and no guest.

mod filled;
mod hold;
mod journal;
mod machine;
mod owner;
mod project_lock;
mod sessions;
mod trust;
mod watch;

pub use filled::Filled;
pub use hold::{Hold, held_until, release};
pub use journal::Journal;
pub use machine::{Built, BuiltLayer, HostAgent, MachineRecord, Ready};
pub use project_lock::{ProjectLock, Waiting};
pub use sessions::{CONNECT, OpenSession, Session, last_used, open_sessions};
pub use trust::{TrustStore, Trusted, digest_lines};
pub use watch::{Watch, is_watched, last_active};

use crate::disk::{self, Lock};
use crate::failure::Result;
use crate::layout::Layout;

/// Waits for the turn to change a file of the user's configuration: who reads, changes and writes it holds this all along.
///
/// # Errors
/// When the state folder cannot be written.
pub fn take_turn_to_edit(layout: &Layout) -> Result<Lock> {
    disk::ensure_private_folder(&layout.state)?;
    Lock::wait_exclusive(&layout.edits_lock())
}
