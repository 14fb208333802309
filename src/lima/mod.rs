//! All that knows the word `limactl`: what to call, what it answers, what of its behaviour must be made safe.
//!
//! Enters: a machine's values. Leaves: instances in a known state, or a failure that names what is wrong with them.
//! Facts about Lima are from its source at v2.2.0. Must not know what a project or a profile is.

mod activity;
mod asleep;
mod boot;
mod driver;
mod export;
mod forwards;
pub mod image;
pub mod launcher;
mod limactl;
mod list;
mod port;
mod qcow2;
mod resident;
mod starting;
mod stopping;
mod template;
mod user;
mod verify;
pub mod version;
mod yaml;

pub use activity::{Pulse, Taken};
pub use asleep::{Image, Memory, Note, Woken, check_key_folder, random};
pub use driver::Driver;
pub use export::{Export, PublicImage};
pub use forwards::{ports_in, with_ports};
pub use limactl::Limactl;
pub use list::{Instance, Status};
pub use port::{choose_port, is_free};
pub use resident::resident_bytes;
pub use starting::{Acceleration, Begin, Started, start_problem};
pub use template::{LocalImage, Machine, uuid_of};
pub use user::isolation_in;
pub use yaml::parse;
