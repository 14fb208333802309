//! `state/machines/NAME/machine.json`: which machine this is, and for which boot of it everything was finished.
//!
//! Enters: the file's text. Leaves: a record, or a refusal of a newer schema. A truncated file is said, not guessed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::failure::{Failure, Result};
use crate::layout::Layout;
use crate::model::{GitHost, Idle, Isolation, Openings, PortForward};

/// The version of the file's meaning; a newer one is refused.
pub(super) const SCHEMA: u32 = 2;

/// A machine as we know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Version of this file's meaning.
    pub schema: u32,
    /// The project's name.
    pub name: String,
    /// The marker that also stands in lima.yaml, 32 hexadecimal digits.
    pub uuid: String,
    /// The projects.toml it was made from.
    pub config_file: PathBuf,
    /// Whether that file lies in a repository.
    #[serde(default)]
    pub in_repository: bool,
    /// The identity of that repository. In schema 1 the first one that the file lists; for a user's file too.
    pub origin: Option<String>,
    /// The port of 127.0.0.1 that reaches sshd.
    pub port: u16,
    /// The pinned public host key.
    pub host_key: String,
    /// The image it was created from, as rendered.
    pub image: PathBuf,
    /// Kernel, initrd and command line of a direct boot.
    pub kernel: Option<(PathBuf, PathBuf, String)>,
    /// The disk's size in bytes; it grows, never shrinks.
    pub disk_bytes: u64,
    /// Whether its login user is root in it; decided when it is made.
    #[serde(default)]
    pub isolation: Isolation,
    /// Whether its kernel clears memory that is freed, from its next boot on: secrets of its have passed through there.
    #[serde(default)]
    pub clears_freed: bool,
    /// Whether sessions lend the agent.
    pub forward_agent: bool,
    /// The folder, below the home folder, that sessions open in.
    pub folder: String,
    /// How the guest reaches its git hosts, so that an `up` with nothing to do need not ask ssh.
    #[serde(default)]
    pub git_hosts: Vec<GitHost>,
    /// What the names in `allow` were when they were last looked up.
    #[serde(default)]
    pub addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    /// The public key that signs its commits, as the guest was told.
    #[serde(default)]
    pub signing_key: Option<String>,
    /// What of the guest appears on the host's 127.0.0.1, as it was declared.
    #[serde(default)]
    pub ports: Vec<PortForward>,
    /// What does so until the machine stops, without being declared.
    #[serde(default)]
    pub opened: Vec<PortForward>,
    /// What of the host's side it may reach.
    #[serde(default)]
    pub openings: Openings,
    /// Whether the guest has answered since its last start; one that has can shut down cleanly, and is given the time.
    #[serde(default)]
    pub answered: bool,
    /// Counts the starts: a memory belongs to one of them.
    #[serde(default)]
    pub generation: u64,
    /// Put down or to sleep by hand: `connect` then does not start it.
    #[serde(default)]
    pub held: bool,
    /// Put down as it was idle, below a connection that would have brought it back; one of those that are held.
    #[serde(default)]
    pub held_idle: bool,
    /// What becomes of it when nobody uses it, as the last `up` found it configured.
    #[serde(default)]
    pub idle: Option<Idle>,
    /// Whether it is put to sleep or down by hand only.
    #[serde(default)]
    pub keep_awake: bool,
    /// For which boot all phases were finished, and what they covered.
    #[serde(default)]
    pub ready: Option<Ready>,
    /// What it was made from, and what was installed in it since.
    #[serde(default)]
    pub built: Option<Built>,
    /// Seconds since 1970 of the last command that used it.
    #[serde(default)]
    pub last_used: u64,
}

/// What a machine is made of, to tell what has changed in the configuration since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The image, as the configuration calls it.
    pub image: String,
    /// Which image that was; empty for machines that are older than this.
    #[serde(default)]
    pub image_origin: String,
    /// The box, when it was made from one.
    pub box_key: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// What the profiles have installed.
    pub layers: Vec<BuiltLayer>,
    /// What they installed earlier and do not list any more.
    pub left: Vec<String>,
    /// The project's own variables.
    pub env: BTreeMap<String, String>,
    /// Virtual processors.
    pub cpus: u32,
    /// Bytes.
    pub memory_bytes: u64,
    /// What of the host's side it may reach, as the configuration said it; empty for machines older than the floor.
    #[serde(default)]
    pub access: String,
}

/// What one profile installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltLayer {
    /// The profile, or `provision.toml`.
    pub name: String,
    /// Name and stamp of each step.
    pub steps: Vec<(String, String)>,
    /// What they install, such as `apt jq`.
    pub items: Vec<String>,
}

/// A boot for which everything was finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The host agent of that boot.
    pub host_agent: HostAgent,
    /// Digest of everything that was wanted.
    pub wanted: String,
}

/// One run of Lima's host agent: the pid alone could be anybody's after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAgent {
    /// Its pid.
    pub pid: i32,
    /// When it wrote its pid file, in nanoseconds since 1970.
    pub since: u64,
}

impl HostAgent {
    /// The host agent that wrote the pid file in an instance's folder.
    pub fn read(instance: &Path, pid: i32) -> Option<Self> {
        let modified =
            std::fs::metadata(instance.join("ha.pid")).and_then(|metadata| metadata.modified()).ok()?;
        // Nanoseconds fit until the year 2554, and JSON holds no larger number exactly.
        let since = u64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
        Some(Self { pid, since })
    }

    /// The host agent that an instance's folder names, whether it runs or not.
    pub fn named(instance: &Path) -> Option<Self> {
        let text = disk::read_text_if_there(&instance.join("ha.pid")).ok()??;
        Self::read(instance, text.trim().parse().ok()?)
    }
}

impl MachineRecord {
    /// A record that says nothing yet.
    pub fn blank(name: &str) -> Self {
        Self {
            schema: SCHEMA,
            name: name.into(),
            uuid: String::new(),
            config_file: PathBuf::new(),
            in_repository: false,
            origin: None,
            port: 0,
            host_key: String::new(),
            image: PathBuf::new(),
            kernel: None,
            disk_bytes: 0,
            isolation: Isolation::Standard,
            clears_freed: false,
            forward_agent: false,
            folder: String::new(),
            git_hosts: Vec::new(),
            addresses: BTreeMap::new(),
            signing_key: None,
            ports: Vec::new(),
            opened: Vec::new(),
            openings: Openings::default(),
            answered: false,
            generation: 0,
            held: false,
            held_idle: false,
            idle: None,
            keep_awake: false,
            ready: None,
            built: None,
            last_used: 0,
        }
    }

    /// Eight hexadecimal digits that name the machine's folder of sockets.
    pub fn id(&self) -> &str {
        self.uuid.get(..8).unwrap_or(&self.uuid)
    }

    /// The file of a machine's record.
    pub fn path(layout: &Layout, name: &str) -> PathBuf {
        layout.machine(name).join("machine.json")
    }

    /// Reads a machine's record; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read as one, or is from a newer `machine`. It is left as it is.
    pub fn load(layout: &Layout, name: &str) -> Result<Option<Self>> {
        let path = Self::path(layout, name);
        let Some(bytes) = disk::read_if_there(&path)? else { return Ok(None) };
        let damaged = |cause: serde_json::Error| {
            Failure::operation(format!("`{}` is damaged: {cause}", path.display()))
                .hint(format!("`machine up {name}` repairs it from the machine itself"))
        };
        let found: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        let schema = found.get("schema").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if schema > u64::from(SCHEMA) {
            let sentence = format!("`{}` was written by a newer `machine` (schema {schema})", path.display());
            return Err(Failure::operation(sentence).hint("upgrade `machine`"));
        }
        serde_json::from_value(found).map(Some).map_err(damaged)
    }

    /// Every record that can be read; damaged ones are left out.
    pub fn load_all(layout: &Layout) -> Vec<Self> {
        Self::load_each(layout).into_iter().filter_map(|(_, loaded)| loaded.ok()).collect()
    }

    /// Every record by its machine, or why it cannot be read.
    pub fn load_each(layout: &Layout) -> Vec<(String, Result<Self>)> {
        let names = disk::names_in(&layout.machines()).into_iter();
        let load = |name: String| Some((name.clone(), Self::load(layout, &name).transpose()?));
        names.filter_map(load).collect()
    }

    /// Writes the record.
    pub fn save(&self, layout: &Layout) -> Result<()> {
        let text = serde_json::to_vec_pretty(self);
        let text = text.map_err(|cause| Failure::operation(format!("failed to write a record: {cause}")))?;
        disk::ensure_private_folder(&layout.machine(&self.name))?;
        disk::write_atomic(&Self::path(layout, &self.name), &text, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> MachineRecord {
        MachineRecord {
            uuid: "0123456789abcdef0123456789abcdef".into(),
            config_file: "/c/projects.toml".into(),
            port: 20_000,
            host_key: "ssh-ed25519 AAAA".into(),
            image: "/i".into(),
            disk_bytes: 1 << 30,
            forward_agent: true,
            folder: "code/blog".into(),
            ready: Some(Ready { host_agent: HostAgent { pid: 1, since: u64::MAX }, wanted: "w".into() }),
            ..MachineRecord::blank("blog")
        }
    }

    #[test]
    fn survives_writing_and_reading() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path(), |_| None);
        assert_eq!(MachineRecord::load(&layout, "blog").expect("none"), None);
        record().save(&layout).expect("saved");
        assert_eq!(MachineRecord::load(&layout, "blog").expect("there"), Some(record()));
        assert_eq!(MachineRecord::load_all(&layout).len(), 1);
    }

    #[test]
    fn a_newer_or_damaged_record_is_refused_at_every_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path(), |_| None);
        MachineRecord { schema: SCHEMA + 1, ..record() }.save(&layout).expect("saved");
        assert!(MachineRecord::load(&layout, "blog").expect_err("newer").hints[0].contains("upgrade"));
        record().save(&layout).expect("saved");
        let path = MachineRecord::path(&layout, "blog");
        let whole = std::fs::read(&path).expect("bytes");
        for cut in 0..whole.len() - 1 {
            disk::write_atomic(&path, &whole[..cut], 0o600).expect("cut");
            assert!(MachineRecord::load(&layout, "blog").is_err(), "cut at {cut}");
        }
        let each = MachineRecord::load_each(&layout);
        assert!(matches!(&each[..], [(name, Err(_))] if name == "blog"), "{each:?}");
        assert!(MachineRecord::load_all(&layout).is_empty());
    }
}
