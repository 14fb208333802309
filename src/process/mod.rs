//! The only room that starts other programs: a `Cmd` is a value, a `Runner` runs it in one of a few ways.
//!
//! Enters: commands as values. Leaves: their output, or a `Failure` that names the command, its status and last words.
//! Must not know what any program is for.

mod activity;
mod cmd;
mod companion;
mod core_files;
mod ending;
mod identity;
mod interrupt;
mod listeners;
mod memory;
mod peer;
mod resident;
mod runner;
mod session;
mod standing;
mod wait;

pub use activity::{
    Counters, connections_by_nettop, connections_by_ss, has_connection, interfaces_in_proc, moved,
    processor_time_by_ps,
};
pub use cmd::{Cmd, Input};
pub use companion::Companion;
pub use core_files::forbid_core_files;
pub use ending::has_ended_within;
pub use identity::{Identity, arguments_in_proc, terminate_verified};
pub use interrupt::Interrupt;
pub use listeners::{Listener, parse_listeners, port_owner};
pub use memory::{memory_left_percent, physical_memory_bytes};
pub use peer::peer_of;
pub use resident::{Resident, open_files, processor_time_in_proc, resident_by_ps, resident_in_proc};
pub use runner::{Finished, Runner, replace};
pub use session::leave_terminal;
pub use standing::{Standing, standing};
