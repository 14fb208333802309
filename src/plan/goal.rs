//! What a machine is to be: everything the configuration says, resolved.
//!
//! Enters: values of the configuration. Leaves: one value with a digest, by which two goals are compared.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::boxes::Level;
use crate::failure::{Failure, Result};
use crate::guest::{Layer, SecretValues, Step};
use crate::model::{
    ByteSize, GitHost, Idle, ImageSource, Isolation, Openings, PortForward, ProjectName, Proxy, Repo,
    Repository, Setup, hex,
};

/// How far the cache of boxes is used for a new machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoxUse {
    /// A cached box is taken, a missing one is built.
    #[default]
    Cached,
    /// `--refresh`: the boxes of the stack are built anew.
    Refreshed,
    /// `--no-cache`: the machine starts from the image.
    Without,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The project.
    pub name: ProjectName,
    /// The projects.toml it stands in.
    pub config_file: PathBuf,
    /// The repository that file was found in; `None` for the user's own file.
    pub repository: Option<Repository>,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The size the disk may grow to.
    pub disk: ByteSize,
    /// The image below everything.
    pub image: ImageSource,
    /// What it is called in the configuration.
    pub image_name: String,
    /// The boxes on the way to this machine's stack, the whole stack last; empty to do without the cache.
    pub levels: Vec<Level>,
    /// The level that this machine is to become, when it is none of a project's.
    pub bakes: Option<Level>,
    /// What the cache of boxes is good for.
    pub box_use: BoxUse,
    /// The size of the disk that boxes are built on.
    pub box_disk: ByteSize,
    /// Whether certificate authorities of the host's network go into the guest.
    pub has_ca_certs: bool,
    /// `debian-13 · base + python · 4 cpus · 6 GiB`.
    pub headline: String,
    /// Provisioning, in order.
    pub steps: Vec<Step>,
    /// Those of the steps that belong to a profile, by profile.
    pub layers: Vec<Layer>,
    /// The project's own variables.
    pub env: BTreeMap<String, String>,
    /// Whether the base profile is the first of the stack, which takes minutes.
    pub starts_with_base: bool,
    /// The command that goes on when something failed.
    pub again: String,
    /// Repositories, in order.
    pub repos: Vec<Repo>,
    /// How the guest reaches its git hosts.
    pub git_hosts: Vec<GitHost>,
    /// What runs in a fresh clone.
    pub setup: Setup,
    /// What of the guest appears on the host's 127.0.0.1. No part of the digest: they are looked at by themselves.
    pub ports: Vec<PortForward>,
    /// Whether sessions lend the agent.
    pub forward_agent: bool,
    /// Whether the login user is root.
    pub isolation: Isolation,
    /// What of the host's side it may reach, as the configuration says it.
    pub access: String,
    /// The same in addresses.
    pub openings: Openings,
    /// The proxy that it reaches the internet by.
    pub proxy: Option<Proxy>,
    /// What its names were looked up to be.
    pub addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    /// The public key that signs commits.
    pub signing_key: Option<String>,
    /// Digest of where its secrets come from; `None` when it has none.
    pub secrets: Option<String>,
    /// Their values, once they have been read.
    pub secret_values: SecretValues,
    /// What becomes of it when nobody uses it. No part of the digest, as the next: both count at once.
    pub idle: Option<Idle>,
    /// Whether it is put to sleep or down by hand only.
    pub keep_awake: bool,
}

impl Goal {
    /// The folder, below the home folder, that sessions open in; empty for the home folder itself.
    pub fn folder(&self) -> String {
        self.repos.first().map_or_else(String::new, |repo| format!("code/{}", repo.dir))
    }

    /// What a machine starts from is decided when it is made: an option that comes later would do nothing.
    pub(super) fn refuse_box_options(&self) -> Result<()> {
        let name = &self.name;
        let option = match self.box_use {
            BoxUse::Cached => return Ok(()),
            BoxUse::Refreshed => "--refresh",
            BoxUse::Without => "--no-cache",
        };
        let sentence = format!("`{option}` is for a machine that is to be made, and `{name}` is there");
        Err(Failure::usage(sentence).hint(format!("make it anew: `machine rebuild {name} {option}`")))
    }

    /// A machine is strict from its first boot on, or it is not: where the login user was root, nothing is proven by
    /// taking that away.
    ///
    /// # Errors
    /// When `present`, that of a machine that is there, is another one. Nothing has been done then.
    pub(super) fn refuse_other_isolation(&self, present: Isolation) -> Result<()> {
        if present == self.isolation {
            return Ok(());
        }
        let (name, wanted) = (&self.name, self.isolation);
        let sentence = format!(
            "`{name}` was made with `isolation = \"{present}\"`, and is to have \"{wanted}\", which only a fresh machine has"
        );
        Err(Failure::operation(sentence).hint(format!("make it anew: `machine rebuild {name}`")))
    }

    /// A digest of everything that `up` would bring about.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let stamps = self.steps.iter().map(|step| step.stamp.clone());
        let repos = self.repos.iter().map(|repo| format!("{repo:?}"));
        let rest = [
            format!("{:?}", self.setup),
            format!("{} {} {} {}", self.cpus, self.memory, self.disk, self.forward_agent),
            self.secrets.clone().unwrap_or_default(),
        ];
        for part in stamps.chain(repos).chain(rest) {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        hex(&hasher.finalize())
    }
}
