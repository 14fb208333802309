//! What deleting a machine would lose: uncommitted, untracked, stashed and unpushed work of every repository.
//!
//! Enters: the lines of an answer, which a hostile guest may have written. Leaves: counts and names for a person.

use std::fmt;

/// A repository with work that exists nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtRisk {
    /// The folder, from the home folder on.
    pub folder: String,
    /// Files changed but not committed.
    pub modified: u64,
    /// Files git does not know.
    pub untracked: u64,
    /// Entries of the stash.
    pub stashed: u64,
    /// Commits no remote has.
    pub unpushed: u64,
    /// A merge, rebase or the like that is under way.
    pub in_progress: bool,
    /// Some of the file and commit names, as the guest gave them.
    pub examples: Vec<String>,
}

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Only repositories with something to lose.
    pub repositories: Vec<AtRisk>,
    /// The folders of repositories that git cannot read, for a person: nobody knows what is in them.
    pub unreadable: Vec<String>,
    /// How many were looked at.
    pub looked_at: u64,
}

/// Names shown for each repository.
const EXAMPLES: usize = 6;

/// The script that asks, run as the login user. It looks at every repository it finds, clean ones included.
pub fn inventory_script(mark: &str) -> String {
    format!("mark={mark}\n{SCRIPT}")
}

const SCRIPT: &str = include_str!("../../templates/guest/inventory.sh");

impl Inventory {
    /// Reads an answer; `None` when it is incomplete, since unknown is not safe.
    pub fn parse(answer: &str, mark: &str) -> Option<Self> {
        let frame = format!("{mark}\n");
        let mut parts = answer.split(&frame);
        let (_, framed, _) = (parts.next()?, parts.next()?, parts.next()?);
        let (mut all, mut unreadable): (Vec<AtRisk>, Vec<String>) = (Vec::new(), Vec::new());
        for line in framed.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (word, all.last_mut()) {
                ("unreadable", _) => unreadable.push(shown(rest)),
                ("repository", _) => all.push(AtRisk::new(rest)),
                (_, Some(current)) => current.note(word, rest)?,
                _ => {}
            }
        }
        let looked_at = all.len() as u64;
        let repositories = all.into_iter().filter(AtRisk::has_something).collect();
        Some(Self { repositories, unreadable, looked_at })
    }

    /// Whether nothing would be lost, as far as is known, and all is known.
    pub fn is_clean(&self) -> bool {
        self.repositories.is_empty() && self.unreadable.is_empty()
    }
}

impl AtRisk {
    fn new(folder: &str) -> Self {
        let folder = folder.to_string();
        Self {
            folder,
            modified: 0,
            untracked: 0,
            stashed: 0,
            unpushed: 0,
            in_progress: false,
            examples: Vec::new(),
        }
    }

    fn note(&mut self, word: &str, rest: &str) -> Option<()> {
        let count = || rest.trim().parse::<u64>().ok();
        match word {
            "modified" => self.modified = count()?,
            "untracked" => self.untracked = count()?,
            "stashed" => self.stashed = count()?,
            "unpushed" => self.unpushed = count()?,
            "in-progress" => self.in_progress = true,
            "example" if self.examples.len() < EXAMPLES => {
                self.examples.push(rest.chars().take(100).collect());
            }
            _ => {}
        }
        Some(())
    }

    fn has_something(&self) -> bool {
        self.in_progress || self.modified + self.untracked + self.stashed + self.unpushed > 0
    }
}

/// The work that was found; what is unreadable is not among it.
impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for repository in &self.repositories {
            let counts = [
                (repository.modified, "modified"),
                (repository.untracked, "untracked"),
                (repository.stashed, "stashed"),
                (repository.unpushed, "unpushed"),
            ];
            let mut words: Vec<String> = counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            if repository.in_progress {
                words.push("a merge or rebase under way".into());
            }
            writeln!(f, "  {}: {}", shown(&repository.folder), words.join(", "))?;
            for example in &repository.examples {
                writeln!(f, "      {example}")?;
            }
        }
        Ok(())
    }
}

/// A folder for a person; the guest gives those below the home folder without it, and that itself as `.`.
fn shown(folder: &str) -> String {
    match folder {
        "." => "~".into(),
        _ if folder.starts_with('/') => folder.into(),
        _ => format!("~/{folder}"),
    }
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod script_tests;

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "M\nrepository code/blog\nmodified 2\nuntracked 1\nstashed 0\nunpushed 3\n\
        example commit abc fix\nexample src/main.rs\nrepository code/theme\nmodified 0\nuntracked 0\nstashed 0\nunpushed 0\nM\n";

    #[test]
    fn lists_what_would_be_lost() {
        let inventory = Inventory::parse(ANSWER, "M").expect("whole");
        assert_eq!(inventory.looked_at, 2);
        let expected =
            "  ~/code/blog: 2 modified, 1 untracked, 3 unpushed\n      commit abc fix\n      src/main.rs\n";
        assert_eq!(inventory.to_string(), expected);
    }

    #[test]
    fn unknown_is_not_the_same_as_gone() {
        assert_eq!(Inventory::parse("M\nrepository code/blog\nmodified x\nM\n", "M"), None);
        let unreadable = Inventory::parse("M\nunreadable code/blog\nM\n", "M").expect("whole");
        assert!(!unreadable.is_clean() && unreadable.unreadable == ["~/code/blog"]);
        assert_eq!(Inventory::parse("M\nrepository code/blog\nmodified 1\n", "M"), None);
        assert!(Inventory::parse("M\nM\n", "M").expect("empty").is_clean());
    }
}
