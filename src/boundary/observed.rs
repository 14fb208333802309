//! All that was seen of one machine, as values, so that every verdict is a test.
//!
//! Enters: nothing. Leaves: the types. Where something could not be looked at, its place is empty; no default looks like
//! a good observation.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::canary::{Heard, Stand};
use crate::guest::Probed;
use crate::model::{HostOs, Isolation, Openings};
use crate::process::Standing;

/// What the configuration says may cross.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// The machine's name.
    pub name: String,
    /// The file that its project is in.
    pub file: PathBuf,
    /// Whether sessions lend the agent.
    pub forward_agent: bool,
    /// Whether its login user is root.
    pub isolation: Isolation,
    /// What the guest may reach of the host's side, as of the last `up`.
    pub openings: Openings,
    /// The single doors among them, as written.
    pub doors: Vec<String>,
}

/// Lima's effective settings against ours.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The effective ones.
    pub config: serde_json::Value,
    /// Why a start would be refused, if it would.
    pub foreign: Option<String>,
}

/// A text that must not be found in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Private {
    /// What it is, such as `your home folder`.
    pub what: String,
    /// The text itself.
    pub text: String,
}

/// What stands on the disk that Lima hands the guest at each boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidata {
    /// Whether the login user's name was found, which always stands in it: what is looked for can be found.
    pub readable: bool,
    /// Which private texts were found.
    pub leaks: Vec<String>,
}

/// A file or folder on the host, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Its path.
    pub path: PathBuf,
    /// Its permission bits.
    pub bits: u32,
    /// Whether it is ours.
    pub own: bool,
}

/// A session over Lima's own connection, with the agent asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterSeen {
    /// There is none.
    Absent,
    /// The session had no agent.
    NoAgent,
    /// It had one.
    Agent,
}

/// Two connections to sshd: with the pinned key expected, and with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPin {
    /// Whether the pinned key was accepted.
    pub right: bool,
    /// Whether another one was.
    pub wrong: bool,
}

/// Another machine of ours that answers on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// The port of its sshd.
    pub port: u16,
}

/// What became of ports on which the guest listened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPorts {
    /// Whether the guest's listener answered through our own connection: it was there.
    pub heard: bool,
    /// Addresses of this computer at which it answered.
    pub appeared: Vec<SocketAddr>,
}

/// What a session sees of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSeen {
    /// Keys of this computer's agent; `None` without one.
    pub host_keys: Option<Vec<String>>,
    /// Keys that a session with the agent lent saw; `None` when it saw no agent.
    pub session_keys: Option<Vec<String>>,
    /// Whether such a session got a signature that has nothing to do with git.
    pub signed_anything: bool,
    /// Other sessions of this machine that are open, and so may serve the agent.
    pub other_sessions: usize,
    /// Whether it is held for this machine with no session open.
    pub is_held: bool,
}

/// Whose word a machine's project is, and what of the user's was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSeen {
    /// The user's own file.
    Own,
    /// A repository's file, which asks for nothing.
    Inert,
    /// It asks, and the user has said yes.
    Allowed {
        /// The keys that ask.
        keys: Vec<String>,
    },
    /// It asks, and nobody has said yes to what it says now.
    Asking {
        /// The keys that ask.
        keys: Vec<String>,
        /// Whether the agent is lent although nobody has ever said yes.
        lent: bool,
    },
    /// What is trusted cannot be relied on, and why.
    Damaged(String),
    /// It could not be looked at, and why.
    Unknown(String),
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What is stated.
    pub stated: Stated,
    /// The host's system.
    pub os: HostOs,
    /// Lima's settings.
    pub settings: Settings,
    /// The process that runs the machine, as far as the system shows it.
    pub engine: Option<Standing>,
    /// What `ssh -G machine-NAME` prints: option and value.
    pub ssh_options: Vec<(String, String)>,
    /// Files and folders of ours.
    pub modes: Vec<Mode>,
    /// The disk with Lima's data.
    pub cidata: Option<Cidata>,
    /// What must not be in the guest.
    pub private: Vec<Private>,
    /// The project's secrets by name, and whether each is a variable of every session; `None` when that is not known.
    pub secrets: Option<Vec<(String, bool)>>,
    /// The repository's file.
    pub trust: TrustSeen,
    /// Lima's own connection.
    pub lima_master: MasterSeen,
    /// The pinned key.
    pub key: KeyPin,
    /// Where our listeners stood.
    pub stands: Vec<Stand>,
    /// Whom they heard.
    pub heard: Heard,
    /// The router and one of its ports that answers this computer.
    pub router: Option<SocketAddr>,
    /// Whether a cloud's metadata service answers this computer.
    pub metadata: bool,
    /// Other machines that run.
    pub neighbours: Vec<Neighbour>,
    /// The guest's ports.
    pub guest_ports: GuestPorts,
    /// The agent.
    pub agent: AgentSeen,
    /// What the guest said.
    pub guest: Probed,
    /// The guest's escape sequences after the sanitizer.
    pub cleaned: String,
}
