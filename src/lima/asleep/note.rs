//! `asleep.json`: what a memory belongs to, so that it is never given to another disk, QEMU or processor.
//!
//! Enters: what there is now. Leaves: the first thing that is not as it was. Pure but for the looking itself.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk;
use crate::failure::{Context, Result};
use crate::lima::launcher::Engine;
use crate::model::hex;

/// The version of the file's meaning, and of the image's.
const SCHEMA: u32 = 1;

/// What is known of a machine that sleeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    schema: u32,
    /// When it fell asleep, in seconds since 1970.
    pub since: u64,
    /// The image's length in bytes.
    pub image_bytes: u64,
    /// Whether everything was finished for the boot that fell asleep.
    pub was_ready: bool,
    /// The command line of QEMU, as a digest: the launcher compares it once Lima has made the next one.
    pub(super) shape: String,
    /// For messages.
    pub(super) qemu_version: String,
    pub(super) belongs_to: Belonging,
}

/// What a memory can be given back to, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Belonging {
    /// The machine.
    uuid: String,
    /// Which start of the machine it was: one that came later has changed the disk.
    generation: u64,
    /// The boot of the host.
    boot: String,
    /// The host's processor, as a digest of its model and features.
    processor: String,
    engine: Engine,
    /// QEMU's path, size and time.
    qemu: String,
    /// The lima.yaml, as a digest; its port may change.
    settings: String,
    /// The disk's inode, size and time of change.
    disk: String,
}

/// Where to look.
pub(super) struct Look<'a> {
    pub uuid: &'a str,
    pub generation: u64,
    pub engine: Engine,
    pub qemu: &'a Path,
    pub instance: &'a Path,
}

impl Note {
    /// That of a machine that falls asleep now.
    pub(super) fn new(
        shape: String,
        qemu_version: String,
        belongs_to: Belonging,
        image_bytes: u64,
        was_ready: bool,
    ) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let since = since.unwrap_or_default().as_secs();
        Self { schema: SCHEMA, since, image_bytes, was_ready, shape, qemu_version, belongs_to }
    }

    /// Why the image is not for what there is now; `None` when it is.
    pub(super) fn misfit(&self, now: &Belonging, image_bytes: u64) -> Option<String> {
        let then = &self.belongs_to;
        let qemu = format!("QEMU is another one than the {} it fell asleep with", self.qemu_version);
        let checks = [
            (self.schema != SCHEMA, "its memory was written by another version of `machine`"),
            (then.uuid != now.uuid, "its memory is that of another machine"),
            (
                then.boot != now.boot,
                "this computer was restarted while it slept, so the key of its memory is gone",
            ),
            (then.generation != now.generation, "its memory was used before"),
            (self.image_bytes != image_bytes, "the image of its memory has another size than was written"),
            (then.disk != now.disk, "its disk has changed since it fell asleep"),
            (then.settings != now.settings, "its lima.yaml has changed since it fell asleep"),
            (then.qemu != now.qemu, qemu.as_str()),
            (then.engine != now.engine, "it fell asleep with another accelerator"),
            (then.processor != now.processor, "the processor of this computer is another one"),
        ];
        checks.iter().find(|(differs, _)| *differs).map(|(_, why)| (*why).to_string())
    }
}

impl Belonging {
    /// Looks at what there is now.
    pub(super) fn look(at: &Look) -> Result<Self> {
        let yaml = disk::read_text_if_there(&at.instance.join("lima.yaml"))?.unwrap_or_default();
        let settings: String =
            yaml.lines().filter(|line| !line.trim_start().starts_with("localPort:")).collect();
        let boot = disk::read_text_if_there(Path::new("/proc/sys/kernel/random/boot_id"))?;
        let cpuinfo = disk::read_text_if_there(Path::new("/proc/cpuinfo"))?.unwrap_or_default();
        Ok(Self {
            uuid: at.uuid.to_string(),
            generation: at.generation,
            boot: boot.unwrap_or_default().trim().to_string(),
            processor: digest(&processor(&cpuinfo)),
            engine: at.engine,
            qemu: format!("{} {}", at.qemu.display(), print_of(at.qemu, false)?),
            settings: digest(&settings),
            disk: print_of(&at.instance.join("disk"), true)?,
        })
    }
}

/// Size and time of a file, and which one it is where that matters.
pub(super) fn print_of(path: &Path, with_inode: bool) -> Result<String> {
    let metadata = std::fs::metadata(path).because(|| format!("failed to look at `{}`", path.display()))?;
    let inode = if with_inode { metadata.ino() } else { 0 };
    Ok(format!("{inode} {} {}.{:09}", metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

/// The lines of the first processor that say what a guest may have come to rely on.
pub(super) fn processor(cpuinfo: &str) -> String {
    const KEYS: [&str; 7] =
        ["vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part", "CPU variant"];
    let first = cpuinfo.lines().take_while(|line| !line.trim().is_empty());
    first.filter(|line| KEYS.iter().any(|key| line.starts_with(key))).collect::<Vec<_>>().join("\n")
}

/// A SHA-256 in hexadecimal digits.
pub(super) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn belonging() -> Belonging {
        Belonging {
            uuid: "u".into(),
            generation: 3,
            boot: "b".into(),
            processor: "p".into(),
            engine: Engine::Kvm,
            qemu: "q".into(),
            settings: "s".into(),
            disk: "d".into(),
        }
    }

    #[test]
    fn every_difference_is_named_and_none_is_none() {
        let note = Note::new("shape".into(), "7.2.22".into(), belonging(), 100, true);
        assert_eq!(note.misfit(&belonging(), 100), None);
        let said = |now: Belonging| note.misfit(&now, 100).unwrap_or_default();
        let other = || "other".to_string();
        assert!(said(Belonging { uuid: other(), ..belonging() }).contains("another machine"));
        assert!(said(Belonging { boot: other(), ..belonging() }).contains("restarted"));
        assert!(said(Belonging { generation: 4, ..belonging() }).contains("used before"));
        assert!(said(Belonging { disk: other(), ..belonging() }).contains("disk"));
        assert!(said(Belonging { settings: other(), ..belonging() }).contains("lima.yaml"));
        assert!(said(Belonging { qemu: other(), ..belonging() }).contains("7.2.22"));
        assert!(said(Belonging { engine: Engine::Tcg, ..belonging() }).contains("accelerator"));
        assert!(said(Belonging { processor: other(), ..belonging() }).contains("processor"));
        assert!(note.misfit(&belonging(), 99).unwrap_or_default().contains("size"));
        let newer = Note { schema: 2, ..note };
        assert!(newer.misfit(&belonging(), 100).unwrap_or_default().contains("version"));
    }

    #[test]
    fn a_moved_port_is_no_difference_and_a_written_disk_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            disk::write_atomic(&folder.path().join(name), text.as_bytes(), 0o600).expect("written");
        };
        write("lima.yaml", "cpus: 2\nssh:\n  localPort: 20000\n");
        write("disk", "a");
        write("qemu", "q");
        let qemu = folder.path().join("qemu");
        let look = || {
            let instance = folder.path();
            let at = Look { uuid: "u", generation: 1, engine: Engine::Tcg, qemu: &qemu, instance };
            Belonging::look(&at).expect("looked")
        };
        let then = look();
        write("lima.yaml", "cpus: 2\nssh:\n  localPort: 20001\n");
        assert_eq!(look(), then);
        write("lima.yaml", "cpus: 3\nssh:\n  localPort: 20001\n");
        assert_ne!(look().settings, then.settings);
        write("disk", "b");
        assert_ne!(look().disk, then.disk);
    }

    #[test]
    fn a_processor_is_its_model_and_features() {
        let one =
            "processor\t: 0\nmodel name\t: X\ncpu MHz\t: 2000\nflags\t: a b\n\nprocessor\t: 1\nflags\t: c\n";
        assert_eq!(processor(one), "model name\t: X\nflags\t: a b");
    }
}
