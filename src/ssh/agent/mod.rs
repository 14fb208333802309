//! The agent that a machine is lent: a socket that answers only while we serve it, and only what is granted.
//!
//! Enters: what is granted, the host's agent. Leaves: a server that ends when dropped, and a log of every request.
//! The guest is the enemy here: each of its bytes goes through `wire`, each of its wishes through `policy`.

mod ask;
mod client;
mod exchange;
mod log;
mod policy;
#[cfg(test)]
mod recorded;
mod serve;
mod verify;
mod wire;

pub use client::{HeldKey, held_keys};
pub use log::{Entry, read_log, refused_since, timestamp};
pub use policy::{Destination, Policy};
pub use serve::{AgentServer, Lend, Loan, Service};
