//! The terminal's hold on a process.
//!
//! Enters: nothing. Leaves: this process in a session of its own, so that a terminal that closes does not end it.

/// Leaves the terminal's session; one that leads a process group already keeps its own.
pub fn leave_terminal() {
    // A leader of a group cannot make a session: then it has been detached already, and no terminal signals it.
    let _ = rustix::process::setsid();
}
