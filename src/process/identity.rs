//! Who a process id belongs to: a pid alone proves nothing, since the system hands it out again.
//!
//! Enters: a pid. Leaves: its start time and command line, or nothing. Kills only what was identified.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Cmd, Runner};

/// What makes a process the same one as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its process id.
    pub pid: i32,
    /// When it started, in the system's own notation; compared only for equality.
    pub started: String,
    /// Its command line.
    pub command: String,
}

impl Identity {
    /// Looks a process up with `ps`, which Linux and macOS share; `None` when there is none.
    pub fn of(pid: i32, runner: &Runner) -> Option<Self> {
        let ps = Cmd::new("ps").env("LC_ALL", "C").args(["-ww", "-o", "lstart=", "-o", "args=", "-p"]);
        let output = runner.read(&ps.arg(pid.to_string()).time_limit(Duration::from_secs(5))).ok()?;
        Self::parse(pid, output.text().lines().next()?)
    }

    /// Reads `Mon Nov 23 14:37:00 2026 /usr/bin/qemu …`: `lstart` is always five words.
    fn parse(pid: i32, line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (started, command) = words.split_at_checked(5)?;
        (!command.is_empty()).then(|| Self { pid, started: started.join(" "), command: command.join(" ") })
    }
}

/// The words of a process's command line, as Linux tells them; `None` when there is no such process.
pub fn arguments_in_proc(pid: i32) -> Option<Vec<OsString>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    Some(words.map(|word| OsString::from_vec(word.to_vec())).collect())
}

/// Ends `expected` if it still is that very process: SIGTERM, then SIGKILL after `patience`.
pub fn terminate_verified(expected: &Identity, patience: Duration, runner: &Runner) {
    let Some(pid) = Pid::from_raw(expected.pid) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        if Identity::of(expected.pid, runner).as_ref() != Some(expected) {
            return;
        }
        // It may end between the look and the signal; both outcomes are what was wanted.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && rustix::process::test_kill_process(pid).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn reads_what_ps_prints() {
        let identity = Identity::parse(7, "Mon Nov 23 14:37:00 2026 /usr/bin/qemu-system-x86_64 -m 4096");
        let identity = identity.expect("five words of time and a command");
        assert_eq!(identity.started, "Mon Nov 23 14:37:00 2026");
        assert_eq!(identity.command, "/usr/bin/qemu-system-x86_64 -m 4096");
        assert_eq!(Identity::parse(7, "Mon Nov 23 14:37:00 2026"), None);
        assert_eq!(Identity::parse(7, ""), None);
    }
}
