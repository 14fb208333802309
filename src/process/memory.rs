//! How much memory this computer has, and has left.
//!
//! Enters: nothing. Leaves: bytes or hundredths, or nothing where the system does not say.

use std::time::Duration;

use super::{Cmd, Runner};
use crate::model::HostOs;

/// Physical memory in bytes.
#[cfg(target_os = "linux")]
pub fn physical_memory_bytes() -> Option<u64> {
    let info = rustix::system::sysinfo();
    info.totalram.checked_mul(u64::from(info.mem_unit))
}

/// Physical memory in bytes. macOS tells it by `sysctl`, which is a program: asked only where it matters, by `doctor`.
#[cfg(not(target_os = "linux"))]
pub fn physical_memory_bytes() -> Option<u64> {
    None
}

/// What is left of the memory, without what programs use, in hundredths of all.
pub fn memory_left_percent(os: HostOs, runner: &Runner) -> Option<u64> {
    match os {
        HostOs::Linux => parse_meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?),
        HostOs::MacOs => {
            let sysctl = Cmd::new("/usr/sbin/sysctl").args(["-n", "kern.memorystatus_level"]);
            runner.read(&sysctl.time_limit(Duration::from_secs(5))).ok()?.text().trim().parse().ok()
        }
    }
}

/// Reads `MemTotal` and `MemAvailable` of proc(5), which are in kibibytes.
fn parse_meminfo(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    (field("MemAvailable:")? * 100).checked_div(field("MemTotal:")?)
}

#[cfg(test)]
mod tests {
    use super::parse_meminfo;

    #[test]
    fn what_can_be_had_is_left_and_not_only_what_is_free() {
        let text = "MemTotal:       16000000 kB\nMemFree:          200000 kB\nMemAvailable:    4000000 kB\n";
        assert_eq!(parse_meminfo(text), Some(25));
        assert_eq!(parse_meminfo("MemTotal: 0 kB\nMemAvailable: 1 kB\n"), None);
        assert_eq!(parse_meminfo("MemFree: 1 kB\n"), None);
    }
}
