//! What a machine is to be: everything the configuration says, resolved.
//!
//! Enters: values of the configuration. Leaves: one value with a digest, by which two goals are compared.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::guest::Step;
use crate::model::{ByteSize, GitHost, ImageSource, ProjectName, Repo, Setup};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The project.
    pub name: ProjectName,
    /// The projects.toml it stands in.
    pub config_file: PathBuf,
    /// Whether that file lies in a repository.
    pub in_repository: bool,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The size the disk may grow to.
    pub disk: ByteSize,
    /// Where a new machine's disk comes from.
    pub image: ImageSource,
    /// `debian-13 · base + python · 4 cpus · 6 GiB`.
    pub headline: String,
    /// Provisioning, in order.
    pub steps: Vec<Step>,
    /// Whether the base profile is among them, which takes minutes.
    pub installs_base: bool,
    /// Repositories, in order.
    pub repos: Vec<Repo>,
    /// How the guest reaches its git hosts.
    pub git_hosts: Vec<GitHost>,
    /// What runs in a fresh clone.
    pub setup: Setup,
    /// Whether sessions lend the agent.
    pub forward_agent: bool,
}

impl Goal {
    /// The folder, below the home folder, that sessions open in; empty for the home folder itself.
    pub fn folder(&self) -> String {
        self.repos.first().map_or_else(String::new, |repo| format!("code/{}", repo.dir))
    }

    /// The first repository, in the form by which two addresses are compared.
    pub fn origin(&self) -> Option<String> {
        self.repos.first().map(|repo| repo.url.normalised())
    }

    /// A digest of everything that `up` would bring about.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let stamps = self.steps.iter().map(|step| step.stamp.clone());
        let repos = self.repos.iter().map(|repo| format!("{repo:?}"));
        let rest = [
            format!("{:?}", self.setup),
            format!("{} {} {} {}", self.cpus, self.memory, self.disk, self.forward_agent),
        ];
        for part in stamps.chain(repos).chain(rest) {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        hasher.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }
}
