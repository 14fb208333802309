//! Checks a host's signature of its ssh session, by an agent of OpenSSH's own that holds no key.
//!
//! Enters: a bind, as it came. Leaves: whether it is true. OpenSSH's agent checks each kind of host key before it takes a
//! bind (ssh-agent.c, `process_ext_session_bind`), and each computer that can send binds has it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::client::{connect, talk};
use super::wire::SUCCESS;
use crate::failure::{Context, Result};
use crate::process::{Cmd, Runner};

/// How long the agent may take to start and to answer; both take milliseconds.
const LIMIT: Duration = Duration::from_secs(5);
/// How many binds are remembered: that of the machine's own connection comes with every request.
const REMEMBERED: usize = 64;

/// Verifies, and remembers what was true.
pub(super) struct Verifier {
    runner: Runner,
    folder: PathBuf,
    verified: Mutex<Vec<[u8; 32]>>,
}

impl Verifier {
    /// A verifier with its sockets below `folder`.
    pub fn new(runner: Runner, folder: &Path) -> Self {
        Self { runner, folder: folder.to_owned(), verified: Mutex::default() }
    }

    /// Whether the message is a bind that its host has signed. What cannot be checked is false.
    pub fn is_true(&self, message: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(message).into();
        let remembered = || self.verified.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if remembered().contains(&digest) {
            return true;
        }
        let is_true = self.ask(message).is_ok_and(|answer| answer == [SUCCESS]);
        if is_true {
            let mut verified = remembered();
            verified.truncate(REMEMBERED - 1);
            verified.insert(0, digest);
        }
        is_true
    }

    fn ask(&self, message: &[u8]) -> Result<Vec<u8>> {
        let folder = tempfile::Builder::new().prefix("v").tempdir_in(&self.folder);
        let folder = folder.because(|| format!("failed to make a folder in `{}`", self.folder.display()))?;
        let socket = folder.path().join("a");
        let cmd = Cmd::new("ssh-agent").arg("-D").arg("-a").arg(&socket).own_group();
        let _agent = self.runner.accompany(&cmd)?;
        let deadline = Instant::now() + LIMIT;
        let answer = loop {
            match connect(&socket, LIMIT) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                connected => break connected.and_then(|mut agent| talk(&mut agent, message)),
            }
        };
        answer.because(|| "failed to ask ssh-agent for a host's signature")
    }
}
