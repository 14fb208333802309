//! One question to a guest that just booted, and the reading of its answer.
//!
//! Enters: the lines of an answer, which a hostile guest may have written. Leaves: known words only, as sets.

use std::collections::BTreeSet;

use super::shell::quote;
use super::step::STAMPS;
use crate::model::Repo;

/// What a guest says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Whether Lima's boot script has finished in this boot.
    pub booted: bool,
    /// Stamps of the steps that are done.
    pub stamps: BTreeSet<String>,
    /// Folders of the repositories that are cloned.
    pub cloned: BTreeSet<String>,
    /// Folders of the repositories whose setup is done.
    pub set_up: BTreeSet<String>,
}

/// The script that asks; `mark` frames the answer, since a login shell's startup files may print as well. Its last line
/// tells a box that the first command is done: templates/guest/machine-later.path.
pub fn observe_script(repos: &[Repo], mark: &str) -> String {
    let dirs: Vec<String> = repos.iter().map(|repo| quote(&repo.dir)).collect();
    let loop_over_repos = if dirs.is_empty() {
        String::new()
    } else {
        format!(
            "for dir in {}; do\n  [ ! -d ~/code/\"$dir\" ] || echo \"cloned $dir\"\n  \
             [ ! -e ~/code/\"$dir\"/.git/machine-setup ] || echo \"setup $dir\"\ndone\n",
            dirs.join(" ")
        )
    };
    format!(
        "echo {mark}\n[ ! -s /run/lima-boot-done ] || echo booted\n\
         for stamp in {STAMPS}/*; do [ ! -e \"$stamp\" ] || echo \"stamp ${{stamp##*/}}\"; done\n{loop_over_repos}echo {mark}\n\
         [ ! -e /etc/machine/sealed ] || : >/run/lock/machine-first\n"
    )
}

impl Observation {
    /// Reads an answer; `None` when its end is missing.
    pub fn parse(answer: &str, mark: &str) -> Option<Self> {
        let frame = format!("{mark}\n");
        let mut parts = answer.split(&frame);
        let (_, framed, _) = (parts.next()?, parts.next()?, parts.next()?);
        let mut observation = Self::default();
        for line in framed.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("booted", "") => observation.booted = true,
                ("stamp", stamp) => drop(observation.stamps.insert(stamp.to_string())),
                ("cloned", dir) => drop(observation.cloned.insert(dir.to_string())),
                ("setup", dir) => drop(observation.set_up.insert(dir.to_string())),
                _ => {}
            }
        }
        Some(observation)
    }
}

#[cfg(test)]
mod tests {
    use super::Observation;
    use proptest::prelude::*;

    #[test]
    fn reads_what_stands_between_the_marks() {
        let answer =
            "Welcome!\nM1\nbooted\nstamp abc\nstamp env.def\ncloned blog\nsetup blog\nrm -rf /\nM1\n";
        let observation = Observation::parse(answer, "M1").expect("framed");
        assert!(observation.booted);
        assert_eq!(observation.stamps.iter().collect::<Vec<_>>(), ["abc", "env.def"]);
        assert!(observation.cloned.contains("blog") && observation.set_up.contains("blog"));
    }

    #[test]
    fn half_an_answer_is_none() {
        assert_eq!(Observation::parse("M1\nbooted\n", "M1"), None);
        assert_eq!(Observation::parse("", "M1"), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in any::<String>()) {
            let _ = Observation::parse(&answer, "M1");
        }
    }
}
