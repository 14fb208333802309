//! One unit of provisioning: a name a person would use, a script, and a stamp over all that goes into it.
//!
//! Enters: shell text. Leaves: the script for the guest, whose last act is to leave the stamp. Runs nothing.

use sha2::{Digest, Sha256};

use crate::model::hex;

use super::shell::{AS_DEV, write_file, write_readable_file};

/// Part of every hash: raised when the guest's side of a step changes its meaning.
const CONTRACT: &str = "machine guest contract 1";
/// The slot of what git knows of its user, which no session has to be told.
pub(super) const IDENTITY: &str = "git";
/// Where a guest keeps the stamps of the steps that are done.
pub(super) const STAMPS: &str = "/var/lib/machine/steps";

/// A step of provisioning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What a person would call it, such as `apt: git, curl, +14`.
    pub name: String,
    /// The name of its stamp: a hash, behind a slot's name for a step that sets something anew.
    pub stamp: String,
    slot: Option<&'static str>,
    body: String,
    files: Vec<(String, Vec<u8>)>,
}

impl Step {
    /// A step that adds to what `previous` left: its hash covers that one's, so a change reruns all that follow.
    pub fn chained(
        name: String,
        body: String,
        files: Vec<(String, Vec<u8>)>,
        previous: Option<&Self>,
    ) -> Self {
        let before = previous.map_or("", |step| step.stamp.as_str());
        let stamp = hash(&[CONTRACT, before, &body], &files);
        Self { name, stamp, slot: None, body, files }
    }

    /// A step that sets something to a state: only its latest stamp counts.
    pub fn state(slot: &'static str, name: String, body: String, files: Vec<(String, Vec<u8>)>) -> Self {
        let stamp = format!("{slot}.{}", hash(&[CONTRACT, &body], &files));
        Self { name, stamp, slot: Some(slot), body, files }
    }

    /// Whether sessions of a connection that was open before see it only in part: groups, variables, the login shell.
    pub fn changes_sessions(&self) -> bool {
        self.slot != Some(IDENTITY)
    }

    /// The name of the transient unit it runs as, so that a cut connection leaves no second copy running.
    pub fn unit(&self) -> String {
        format!("machine-step-{}", self.stamp.replace('.', "-"))
    }

    /// Root's command line that runs [`Self::script`] from standard input. Safe for every login shell.
    pub fn command_line(&self) -> String {
        format!(
            "systemd-run --quiet --wait --pipe --collect --unit={} -p KillMode=control-group \
             -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s",
            self.unit()
        )
    }

    /// Root's command line that stops every step that may still run.
    pub const fn stop_line() -> &'static str {
        // The shell must not expand the star: systemd matches it against units, and fish fails on a glob without files.
        "systemctl stop machine-step-\\*"
    }

    /// The whole script: it is parsed to its end before anything runs, and leaves its stamp last.
    pub fn script(&self) -> String {
        self.script_with(write_file)
    }

    /// As [`Self::script`], for a person to read.
    pub(super) fn readable_script(&self) -> String {
        self.script_with(write_readable_file)
    }

    /// The step for guests of which nobody knows the architecture yet, from the same step of either.
    pub(super) fn for_either(amd64: &Self, arm64: &Self) -> Self {
        if amd64 == arm64 {
            return amd64.clone();
        }
        let body = if amd64.body == arm64.body {
            amd64.body.clone()
        } else {
            let (amd64, arm64) = (&amd64.body, &arm64.body);
            format!(
                "case $(dpkg --print-architecture) in\namd64)\n{amd64};;\narm64)\n{arm64};;\n\
                 *)\necho 'this step is for amd64 and arm64' >&2\nexit 1\n;;\nesac\n"
            )
        };
        // What stands before it in its chain is in these two.
        let both = hash(&[CONTRACT, &amd64.stamp, &arm64.stamp], &[]);
        let stamp = amd64.slot.map_or_else(|| both.clone(), |slot| format!("{slot}.{both}"));
        Self { name: amd64.name.clone(), stamp, slot: amd64.slot, body, files: amd64.files.clone() }
    }

    fn script_with(&self, write: fn(&str, &[u8]) -> String) -> String {
        let files: String = self.files.iter().map(|(name, bytes)| write(name, bytes)).collect();
        let forget = self.slot.map_or_else(String::new, |slot| format!("rm -f {STAMPS}/{slot}.*\n"));
        let (body, stamp) = (&self.body, &self.stamp);
        format!(
            "set -euo pipefail\n{{\n\
             export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive\n\
             [ ! -f /etc/machine/env.sh ] || . /etc/machine/env.sh\n\
             install -d -m 0755 /var/lib/machine {STAMPS}\n\
             rm -rf /var/lib/machine/work.*\n\
             work=$(mktemp -d /var/lib/machine/work.XXXXXX)\n\
             trap 'rm -rf \"$work\"' EXIT\n\
             chmod 0755 \"$work\"\ncd \"$work\"\n\
             {AS_DEV}{files}{body}\n\
             cd /\n{forget}: >{STAMPS}/{stamp}.new\nmv {STAMPS}/{stamp}.new {STAMPS}/{stamp}\nsync -f {STAMPS}\n\
             exit 0\n}} </dev/null\n"
        )
    }
}

fn hash(texts: &[&str], files: &[(String, Vec<u8>)]) -> String {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        // The length keeps `ab` + `c` apart from `a` + `bc`.
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    for text in texts {
        add(text.as_bytes());
    }
    for (name, bytes) in files {
        add(name.as_bytes());
        add(bytes);
    }
    hex(&hasher.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chained(body: &str, previous: Option<&Step>) -> Step {
        Step::chained("x".into(), body.into(), Vec::new(), previous)
    }

    #[test]
    fn a_change_reruns_the_step_and_all_that_follow() {
        let (a, b) = (chained("a", None), chained("b", None));
        assert_eq!(a.stamp, chained("a", None).stamp);
        assert_ne!(a.stamp, b.stamp);
        assert_ne!(chained("c", Some(&a)).stamp, chained("c", Some(&b)).stamp);
        let with_file = Step::chained("x".into(), "a".into(), vec![("f".into(), b"1".to_vec())], None);
        assert_ne!(with_file.stamp, a.stamp);
    }

    #[test]
    fn the_name_is_no_part_of_the_stamp() {
        assert_eq!(
            Step::chained("other".into(), "a".into(), Vec::new(), None).stamp,
            chained("a", None).stamp
        );
    }

    #[test]
    fn the_stamp_comes_last_and_a_state_forgets_its_older_ones() {
        let step = Step::state("environment", "env".into(), "true".into(), Vec::new());
        let script = step.script();
        let forget = script.find("rm -f /var/lib/machine/steps/environment.*").expect("forgets");
        let body = script.find("\ntrue\n").expect("the body");
        assert!(body < forget && forget < script.find("mv /var/lib/machine/steps").expect("stamps"));
        assert!(step.unit().chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    }
}
