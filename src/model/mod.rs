//! Words of the domain as types whose only door in is a parser, so that a wrong value cannot exist.
//!
//! Enters: text. Leaves: valid values. Knows nobody: no file, no process, no other room.

mod access;
mod age;
mod git;
mod hex;
mod hold_time;
mod host;
mod idle;
mod isolation;
mod keys;
mod name;
mod port;
mod project;
mod proxy;
mod refused;
mod repo_url;
mod repository;
mod secret;
mod size;
mod trust;

pub use access::{Access, Door, GUEST_NETWORK, Network, Opening, Openings, Place};
pub use age::MaxAge;
pub use git::{GitHost, GitIdentity};
pub use hex::hex;
pub use hold_time::HoldTime;
pub use host::{Arch, Host, HostOs};
pub use idle::{Idle, IdleAction, IdleTime};
pub use isolation::Isolation;
pub use keys::{GitAccount, KeyAsk, KeyGrants, KeyName, KeyRules, key_bytes};
pub use name::{EnvName, ImageName, ProfileName, ProjectName};
pub use port::{PortForward, SSH_PORTS, list_ports};
pub use project::*;
pub use proxy::Proxy;
pub use refused::{Refused, credential_ranges, push_visible, shown};
pub use repo_url::{RepoUrl, Transport, is_folder_name};
pub use repository::Repository;
pub use secret::{GitToken, Secret, SecretSource, SecretSpec, Secrets, redact, redact_text};
pub use size::ByteSize;
pub use trust::{Ask, Caps};
