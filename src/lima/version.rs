//! Lima's version: 2.2.0 is the first that keeps a guest's listeners off the host's ssh port (lima#5293).
//!
//! Enters: what `limactl --version` prints. Leaves: a judgement with its hint. Remembers nothing.

use std::fmt;

use crate::failure::{Failure, Result};
use crate::model::HostOs;

/// The oldest version that is accepted.
pub const MINIMUM: Version = Version { major: 2, minor: 2, patch: 0 };

/// A released version of Lima.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Reads `limactl version 2.2.0`, also with a `v`, a pre-release or a build behind it; `None` for `<unknown>`.
pub fn parse(output: &str) -> Option<Version> {
    let word = output.split_whitespace().last()?.trim_start_matches('v');
    let mut numbers = word.split(['.', '-', '+']).map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    Some(Version { major: next()?, minor: next()?, patch: next()? })
}

/// Refuses a Lima that is too old or does not say what it is.
pub fn judge(output: &str, accept_unknown: bool, os: HostOs) -> Result<()> {
    let upgrade = match os {
        HostOs::MacOs => "upgrade it: `brew upgrade lima`",
        HostOs::Linux => {
            "install a newer one: `brew install lima`, or see https://lima-vm.io/docs/installation/"
        }
    };
    match parse(output) {
        Some(version) if version >= MINIMUM => Ok(()),
        Some(version) => {
            let sentence = format!("Lima {version} is too old: `machine` needs {MINIMUM} or later");
            Err(Failure::operation(sentence).hint(upgrade))
        }
        None if accept_unknown => Ok(()),
        None => {
            let sentence =
                format!("`limactl --version` printed `{}`: no version to judge it by", output.trim());
            Err(Failure::operation(sentence)
                .hint(upgrade)
                .hint("to accept a build of your own, set `accept_unknown_version = true` below `[lima]` in config.toml"))
        }
    }
}

/// What to do when there is no `limactl` at all.
pub fn not_installed(os: HostOs) -> Failure {
    let failure = Failure::operation("`limactl` is not installed, or not on PATH: `machine` drives Lima");
    match os {
        HostOs::MacOs => failure.hint("install it: `brew install lima`"),
        HostOs::Linux => failure
            .hint("install it: `brew install lima`, or see https://lima-vm.io/docs/installation/")
            .hint("Lima needs QEMU here: `apt install qemu-system-x86 qemu-utils` or your system's own packages"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_versions() {
        let accepted = [
            "limactl version 2.2.0",
            "limactl version v2.3.1-rc.0",
            "limactl version 2.2.0-12-gabc.m",
            "3.0.0",
        ];
        for output in accepted {
            assert!(judge(output, false, HostOs::Linux).is_ok(), "{output}");
        }
        for output in ["limactl version 2.1.4", "limactl version 1.99.0", "limactl version <unknown>", ""] {
            assert!(judge(output, false, HostOs::Linux).is_err(), "{output}");
        }
        assert!(judge("limactl version <unknown>", true, HostOs::MacOs).is_ok());
        assert!(judge("limactl version 2.1.4", true, HostOs::MacOs).is_err());
    }

    #[test]
    fn says_how_to_upgrade_on_this_system() {
        let failure = judge("limactl version 2.1.4", false, HostOs::MacOs).expect_err("too old");
        assert_eq!(failure.error.to_string(), "Lima 2.1.4 is too old: `machine` needs 2.2.0 or later");
        assert_eq!(failure.hints, ["upgrade it: `brew upgrade lima`"]);
    }
}
