//! The agent that a machine is lent: a socket that answers only while we serve it, and only what is granted.
//!
//! Enters: what is granted, the host's agent. Leaves: a server that ends when dropped, and a log of every request.
//! The guest is the enemy here: each of its bytes goes through `wire`, each of its wishes through `policy`.

mod exchange;
mod log;
mod policy;
#[cfg(test)]
mod recorded;
mod serve;
mod verify;
mod wire;

pub use log::{refused_since, timestamp};
#[cfg(test)]
pub use policy::fingerprint;
pub use policy::{Destination, Policy, key_bytes};
pub use serve::{AgentServer, Lend, Loan, Service};
