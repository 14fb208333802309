//! The cache of boxes: sealed disk images with the tools of a stack in them, good for every project that wants them.
//!
//! Enters: a stack as values, the disk of a machine that was sealed and stopped. Leaves: boxes that are whole, or none.
//! Boots nothing and knows no `limactl`: which machine makes a box is decided in `plan`.

mod archive;
mod digest;
mod file;
mod level;
mod manifest;
mod plain;
mod staging;
mod store;
mod warm;

pub use archive::{Archive, pack_command, save};
pub use level::{Foundation, Level, disk_class};
pub use manifest::{FileNote, KernelNote, MOST_KERNEL_BYTES, Manifest};
pub use staging::Staging;
pub use store::{CachedBox, Found, Store};
pub use warm::{Source, Warm};
