//! Whose machine it is: that of a repository's file is its name and that repository, that of a user's file its name and
//! that file.
//!
//! Enters: a record, and where a project was found. Leaves: yes, or an error that says to whom the machine belongs.
//! Must not look at what the project's file says of itself: a hostile one would claim the machines of others.

use std::path::Path;

use super::MachineRecord;
use super::machine::SCHEMA;
use crate::failure::{Failure, Kind};
use crate::model::{Repo, Repository};

/// The first version of the record whose `origin` is the repository itself, not the first one that its file lists.
const SCHEMA_OF_IDENTITY: u32 = 2;

impl MachineRecord {
    /// Notes to whom it belongs from now on.
    pub fn belong_to(&mut self, file: &Path, repository: Option<&Repository>) {
        self.schema = SCHEMA;
        file.clone_into(&mut self.config_file);
        self.in_repository = repository.is_some();
        self.origin = repository.map(Repository::identity);
    }

    /// Whether it belongs to the project of its name that was found in `file`. `repos` are the project's.
    pub fn is_of(&self, file: &Path, repository: Option<&Repository>, repos: &[Repo]) -> bool {
        match repository {
            None => !self.in_repository && self.config_file == file,
            Some(repository) => {
                self.is_of_repository(&repository.identity()) || self.was_of_file(file, repos)
            }
        }
    }

    fn is_of_repository(&self, identity: &str) -> bool {
        self.in_repository && self.origin.as_deref() == Some(identity)
    }

    /// A record from before repositories were told apart by their own remote: the same file must say the same.
    fn was_of_file(&self, file: &Path, repos: &[Repo]) -> bool {
        let first = repos.first().map(|repo| repo.url.normalised());
        let is_old = self.schema < SCHEMA_OF_IDENTITY && self.in_repository;
        is_old && self.config_file == file && self.origin == first
    }

    /// To whom it belongs, for messages.
    fn owner(&self) -> String {
        let file = self.config_file.display();
        match self.origin.as_ref().filter(|_| self.in_repository) {
            Some(origin) => format!("the repository `{origin}` (`{file}`)"),
            None => format!("`{file}`"),
        }
    }

    /// The error for a project of its name whose machine it is not.
    pub fn claimed_by(&self, file: &Path, repository: Option<&Repository>) -> Failure {
        let name = &self.name;
        let is_users = repository.is_none() && !self.in_repository;
        let claimant = match repository {
            Some(repository) => format!("the repository `{}`", repository.identity()),
            None => format!("`{}`", file.display()),
        };
        let sentence = format!("the machine `{name}` belongs to {}, not to {claimant}", self.owner());
        let rename = format!("give this project another name in `{}`", file.display());
        if is_users {
            let follow = format!("or let the machine follow that file from now on: `machine up {name}` asks");
            return Failure::usage(sentence).hint(rename).hint(follow);
        }
        Failure::new(Kind::NotTrusted, sentence)
            .hint(rename)
            .hint(format!("or delete the machine, if nobody wants it: `machine destroy {name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(origin: Option<&str>) -> Repository {
        Repository { root: "/r".into(), origin: origin.map(|url| url.parse().unwrap()) }
    }

    fn repos(url: &str) -> Vec<Repo> {
        vec![Repo { url: url.parse().unwrap(), dir: "blog".into(), branch: None }]
    }

    fn record_of(file: &str, repository: Option<&Repository>) -> MachineRecord {
        let mut record = MachineRecord::blank("blog");
        record.belong_to(Path::new(file), repository);
        record
    }

    #[test]
    fn a_repository_is_known_by_its_remote_and_not_by_what_it_lists() {
        let (mine, evil) = (repository(Some("git@h:you/blog")), repository(Some("git@h:evil/x")));
        let record = record_of("/r/projects.toml", Some(&mine));
        let yours = repos("git@h:you/blog");
        assert!(record.is_of(Path::new("/elsewhere/projects.toml"), Some(&mine), &[]));
        assert!(!record.is_of(Path::new("/r/projects.toml"), Some(&evil), &yours));
        assert!(!record.is_of(Path::new("/r/projects.toml"), None, &yours));
    }

    #[test]
    fn repositories_without_a_remote_are_told_apart() {
        let other = Repository { root: "/other".into(), origin: None };
        let record = record_of("/r/projects.toml", Some(&repository(None)));
        assert!(record.is_of(Path::new("/r/projects.toml"), Some(&repository(None)), &[]));
        assert!(!record.is_of(Path::new("/r/projects.toml"), Some(&other), &[]));
    }

    #[test]
    fn a_users_machine_is_its_file() {
        let record = record_of("/u/projects.toml", None);
        assert!(record.is_of(Path::new("/u/projects.toml"), None, &[]));
        assert!(!record.is_of(Path::new("/v/projects.toml"), None, &[]));
        assert!(!record.is_of(Path::new("/u/projects.toml"), Some(&repository(None)), &[]));
    }

    #[test]
    fn a_record_of_before_counts_for_the_file_it_names() {
        let old = MachineRecord {
            schema: 1,
            in_repository: true,
            config_file: "/r/projects.toml".into(),
            origin: Some("h/you/theme".into()),
            ..MachineRecord::blank("blog")
        };
        let mine = repository(Some("git@h:you/blog"));
        let (theme, file) = (repos("git@h:you/theme"), Path::new("/r/projects.toml"));
        assert!(old.is_of(file, Some(&mine), &theme));
        assert!(!old.is_of(Path::new("/evil/projects.toml"), Some(&mine), &theme));
        assert!(!old.is_of(file, Some(&mine), &[]));
        assert!(!MachineRecord { schema: SCHEMA, ..old }.is_of(file, Some(&mine), &theme));
    }
}
