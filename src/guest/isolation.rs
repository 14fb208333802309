//! What makes the login user of a strict machine no root, and the proof that nothing has undone it.
//!
//! Enters: nothing, or the steps before. Leaves: steps. Root's work goes over a way in of its own then; see
//! `ssh::Road` and templates/guest/host-key.sh.

use super::step::Step;

const CHECK: &str = include_str!("../../templates/guest/isolation-check.sh");

/// Comes before anything that a profile brings.
pub(super) fn isolation_step() -> Step {
    let body = include_str!("../../templates/guest/isolation.sh");
    Step::state("isolation", "isolation: strict".into(), body.into(), Vec::new())
}

/// Comes after `steps`, again whenever one of them is another, and so in every machine and not in its box alone: a profile's
/// script is root's, and could open what was closed.
pub(super) fn check_step(steps: &[Step]) -> Step {
    let stamps: Vec<&str> = steps.iter().map(|step| step.stamp.as_str()).collect();
    let stamps = ("steps".to_string(), stamps.join("\n").into_bytes());
    Step::chained("isolation: 1 check".into(), CHECK.into(), vec![stamps], None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Interrupt, Runner};

    /// What the check says of a guest in which the login user may run `allowed` and nothing else of what it tries.
    fn checked(allowed: &str, groups: &str, password: &str) -> Result<(), String> {
        let guest = format!(
            "as_dev() {{ [ \"$*\" = '{allowed}' ]; }}\nid() {{ echo {groups}; }}\ngetent() {{ echo 'dev:{password}:1::::::'; }}\n"
        );
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        let cmd = Cmd::new("bash").args(["-e", "-s"]).input(guest + CHECK);
        runner.run(&cmd).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn what_a_profile_opens_is_noticed() {
        assert_eq!(checked("nothing", "dev", "!"), Ok(()));
        assert_eq!(checked("nothing", "dev users", "*"), Ok(()));
        let refused = [
            ("sudo -n true", "dev", "!", "may use sudo"),
            ("nothing", "dev docker", "!", "in the group docker"),
            ("nothing", "dev", "$y$j9T$", "has a password"),
            ("nothing", "dev", "", "has a password"),
            ("test -w /usr/local/bin", "dev", "!", "may write to /usr/local/bin"),
        ];
        for (allowed, groups, password, word) in refused {
            let said = checked(allowed, groups, password).expect_err(word);
            assert!(said.contains(word), "{said}");
        }
    }
}
