//! Keeps what this process holds out of files: no core file, and no look into it by other processes of the user.
//!
//! Enters: nothing. Leaves: a process that dies without a trace, and children without core files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Forbids core files to this process and those it starts from now on.
pub fn forbid_core_files() {
    let limit = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    // Lowering a limit is always allowed, and without it only a crash would tell.
    let _ = setrlimit(Resource::Core, limit);
    // The limit does not count where core files go to a program.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
