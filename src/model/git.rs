//! Who commits, and how git hosts are reached: the only facts about the host's owner that enter a guest.
//!
//! Enters: what the host's git and ssh say. Leaves: values. Knows nobody.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The configured identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitIdentity {
    /// `user.name`.
    pub name: Option<String>,
    /// `user.email`.
    pub email: Option<String>,
    /// A public ssh key that signs commits through the agent.
    pub signing_key: Option<String>,
}

/// A git host that repositories are cloned from over ssh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitHost {
    /// The name in the URL.
    pub alias: String,
    /// The name it stands for, when the host's ssh configuration says so.
    pub hostname: String,
    /// The port, when it is not 22.
    pub port: Option<u16>,
    /// The agent that the host's ssh configuration names for it (`IdentityAgent`); the path stays on the host.
    #[serde(default)]
    pub identity_agent: Option<PathBuf>,
    /// Lines for `known_hosts`, from the user's own.
    pub known_hosts: Vec<String>,
    /// The users that its repositories' addresses name.
    #[serde(default = "usual_users")]
    pub users: Vec<String>,
}

/// The one user of the large git hosts; also what records from before say.
pub fn usual_users() -> Vec<String> {
    vec!["git".into()]
}
