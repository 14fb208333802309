//! Waits for the end of a process that is not our child.
//!
//! Enters: a pid. Leaves: whether it has ended within a time. On Linux nothing wakes us in between.

use std::time::Duration;

use rustix::process::Pid;

/// Waits for at most `limit`; a signal ends the wait early.
#[cfg(target_os = "linux")]
pub fn has_ended_within(pid: i32, limit: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};

    let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return true;
    };
    let mut watched = [PollFd::new(&handle, PollFlags::IN)];
    let limit = Timespec::try_from(limit).ok();
    poll(&mut watched, limit.as_ref()).is_ok_and(|ready| ready > 0)
}

/// As on Linux, but by a look each second.
#[cfg(not(target_os = "linux"))]
pub fn has_ended_within(pid: i32, limit: Duration) -> bool {
    let deadline = std::time::Instant::now() + limit;
    loop {
        if Pid::from_raw(pid).is_none_or(is_gone) {
            return true;
        }
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_secs(1)));
    }
}

/// One that we may not signal is there all the same.
#[cfg(not(target_os = "linux"))]
fn is_gone(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_runs_has_not_and_one_that_is_gone_has() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(!has_ended_within(own, Duration::from_millis(10)));
        assert!(has_ended_within(i32::MAX, Duration::from_secs(60)));
    }
}
