//! Our own road into a machine: one pinned key, one short-lived master, an agent that answers only while we serve it.
//!
//! Enters: where a machine listens and what key it must show. Leaves: commands, the `Host` blocks, a served agent.
//! Never Lima's own connection, never trust on first use.

mod agent;
mod command;
mod forwards;
mod hosts;
mod include;
mod road;
mod version;

pub use agent::{
    AgentServer, Destination, Entry, HeldKey, Lend, Loan, Policy, Service, held_keys, read_log,
    refused_since, timestamp,
};
pub use command::Remote;
pub use hosts::{HostBlock, render_hosts};
pub use include::{IncludeState, ensure_include, include_state, remove_include};
pub use road::{Attempt, Road, check_path};
pub use version::{BINDS_SINCE, ssh_version};
