//! Talks to an agent: that of the host, or the one that verifies.
//!
//! Enters: a socket, messages. Leaves: answers, within a time. Judges nothing.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::wire::{LIST, parse_identities, read_frame, write_frame};

/// How long an agent may take: it may be asking its owner.
pub(super) const OWNER: Duration = Duration::from_secs(120);
/// How long it may take where only its state is of interest.
const LOOK: Duration = Duration::from_secs(10);

/// A key that the host's agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Its bytes.
    pub key: Vec<u8>,
    /// The owner's own words.
    pub comment: String,
}

/// The keys of the agent at `socket`; one that is locked says that it has none.
///
/// # Errors
/// When nobody answers there, or not as an agent does.
pub fn held_keys(socket: &Path) -> std::io::Result<Vec<HeldKey>> {
    let answer = talk(&mut connect(socket, LOOK)?, &LIST)?;
    let keys = parse_identities(&answer).map_err(|_malformed| std::io::ErrorKind::InvalidData)?;
    let held = keys.iter().map(|held| HeldKey {
        key: held.key.to_vec(),
        comment: String::from_utf8_lossy(held.comment).into_owned(),
    });
    Ok(held.collect())
}

pub(super) fn connect(socket: &Path, limit: Duration) -> std::io::Result<UnixStream> {
    let agent = UnixStream::connect(socket)?;
    agent.set_read_timeout(Some(limit))?;
    agent.set_write_timeout(Some(limit))?;
    Ok(agent)
}

pub(super) fn talk(agent: &mut UnixStream, message: &[u8]) -> std::io::Result<Vec<u8>> {
    write_frame(agent, message)?;
    read_frame(agent)?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
