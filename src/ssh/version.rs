//! Which OpenSSH this computer has.
//!
//! Enters: what `ssh -V` says. Leaves: two numbers, or nothing when it is another program.

use std::time::Duration;

use crate::process::{Cmd, Runner};

/// The first OpenSSH that sends `session-bind` to the agent (its release notes).
pub const BINDS_SINCE: (u32, u32) = (8, 9);

/// Asks ssh for its version.
pub fn ssh_version(runner: &Runner) -> Option<(u32, u32)> {
    let found =
        runner.read_any_status(&Cmd::new("ssh").arg("-V").time_limit(Duration::from_secs(10))).ok()?;
    found.tail.iter().find_map(|line| parse(line))
}

/// `OpenSSH_9.2p1 Debian-2, OpenSSL 3.0` and the like; it says so on standard error.
fn parse(line: &str) -> Option<(u32, u32)> {
    let (major, rest) = line.strip_prefix("OpenSSH_")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_other_programs_are_none() {
        assert_eq!(parse("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026"), Some((9, 2)));
        assert_eq!(parse("OpenSSH_10.0p2, LibreSSL 3.3.6"), Some((10, 0)));
        assert!(parse("OpenSSH_8.8p1").is_some_and(|version| version < BINDS_SINCE));
        assert_eq!(parse("Dropbear v2022.83"), None);
    }
}
