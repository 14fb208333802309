//! `box.json`: what a box is, what went into it, and the digests by which it is known again.
//!
//! Enters: the file's text. Leaves: a manifest, or nothing where it cannot be read as one.

use serde::{Deserialize, Serialize};

use crate::model::ProjectName;

/// The largest disk that a box may have: boxes are built on 16 GiB, or on what a larger image takes.
pub(super) const MOST_DISK_BYTES: u64 = 1 << 40;
/// The largest kernel, or initrd, that a box may have.
pub const MOST_KERNEL_BYTES: u64 = 1 << 30;
/// The longest name, image, step or command line: one that fills a terminal says something else there.
const MOST_CHARACTERS: usize = 2048;

/// What a box is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this file's meaning.
    pub schema: u32,
    /// The box's key, 32 hexadecimal digits.
    pub key: String,
    /// `base + python`.
    pub name: String,
    /// The image below it, as configured, such as `debian-13`.
    pub image: String,
    /// `amd64` or `arm64`.
    pub arch: String,
    /// When it was built, in seconds since 1970.
    pub created: u64,
    /// After how many days it is called old.
    pub max_age_days: u64,
    /// Whether certificate authorities of this computer's network are in it, which belong on no other computer.
    pub has_ca_certs: bool,
    /// The names of the steps that were run.
    pub steps: Vec<String>,
    /// The disk.
    pub disk: FileNote,
    /// The box's own kernel, for hosts that boot it directly.
    pub kernel: Option<KernelNote>,
}

/// A file of a box.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    /// Its length, holes included.
    pub bytes: u64,
    /// Of its contents; see `digest.rs`.
    pub digest: String,
}

/// The kernel, its initrd and their command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelNote {
    /// The file `vmlinuz`.
    pub kernel: FileNote,
    /// The file `initrd`.
    pub initrd: FileNote,
    /// The kernel's command line.
    pub cmdline: String,
}

impl Manifest {
    /// The version of the file's meaning.
    pub const SCHEMA: u32 = 1;

    /// Reads a manifest; `None` for anything that is not one of this version.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(text).ok().filter(|manifest| manifest.schema == Self::SCHEMA)
    }

    /// Whether what it says can be used as a file name and a kernel's command line, and shown on a terminal as the lines
    /// it is: a saved box comes from elsewhere.
    pub(super) fn is_sound(&self) -> bool {
        let is_key =
            self.key.len() == 32 && self.key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_line = |text: &str| text.len() <= MOST_CHARACTERS && !text.contains(char::is_control);
        let is_plain = |text: &str| is_line(text) && !text.contains("{{");
        let fits = |note: &FileNote, most: u64| (1..=most).contains(&note.bytes) && is_line(&note.digest);
        let is_sound_kernel = |kernel: &KernelNote| {
            is_plain(&kernel.cmdline)
                && fits(&kernel.kernel, MOST_KERNEL_BYTES)
                && fits(&kernel.initrd, MOST_KERNEL_BYTES)
        };
        is_key
            && is_plain(&self.name)
            && is_plain(&self.image)
            && ["amd64", "arm64"].contains(&self.arch.as_str())
            && self.steps.iter().all(|step| is_line(step))
            && fits(&self.disk, MOST_DISK_BYTES)
            && self.kernel.iter().all(is_sound_kernel)
    }

    /// The files of the box with what is known of them.
    pub(super) fn files(&self) -> Vec<(&'static str, &FileNote)> {
        let kernel =
            self.kernel.iter().flat_map(|note| [("vmlinuz", &note.kernel), ("initrd", &note.initrd)]);
        std::iter::once(("disk", &self.disk)).chain(kernel).collect()
    }

    pub(super) fn files_mut(&mut self) -> Vec<(&'static str, &mut FileNote)> {
        let kernel = self
            .kernel
            .iter_mut()
            .flat_map(|note| [("vmlinuz", &mut note.kernel), ("initrd", &mut note.initrd)]);
        std::iter::once(("disk", &mut self.disk)).chain(kernel).collect()
    }

    /// The machine that builds it, whose lock is the box's too.
    pub fn machine(&self) -> String {
        ProjectName::of_bake(self.key.get(..8).unwrap_or(&self.key)).to_string()
    }

    /// Whole days since it was built.
    pub fn age_days(&self, now: u64) -> u64 {
        now.saturating_sub(self.created) / 86_400
    }

    /// Whether it is older than its profiles want.
    pub fn is_stale(&self, now: u64) -> bool {
        self.is_older_than(self.max_age_days, now)
    }

    /// Whether it is older than so many days.
    pub fn is_older_than(&self, days: u64, now: u64) -> bool {
        self.age_days(now) > days
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let note = FileNote { bytes: 1 << 20, digest: "ab".into() };
        Manifest {
            schema: Manifest::SCHEMA,
            key: "0123456789abcdef0123456789abcdef".into(),
            name: "base + python".into(),
            image: "debian-13".into(),
            arch: "amd64".into(),
            created: 0,
            max_age_days: 30,
            has_ca_certs: false,
            steps: vec!["guest".into(), "apt: ca-certificates, curl, +3".into()],
            disk: note.clone(),
            kernel: Some(KernelNote { kernel: note.clone(), initrd: note, cmdline: "root=/dev/vda1".into() }),
        }
    }

    fn is_refused(change: impl FnOnce(&mut Manifest)) -> bool {
        let mut changed = manifest();
        change(&mut changed);
        !changed.is_sound()
    }

    #[test]
    fn what_a_box_says_of_itself_is_shown_as_the_lines_it_is() {
        assert!(manifest().is_sound());
        let forged = || "debian-13\nkey     0\ndigest  sha256:0".to_string();
        assert!(is_refused(|manifest| manifest.image = forged()));
        assert!(is_refused(|manifest| manifest.name = forged()));
        assert!(is_refused(|manifest| manifest.steps.push(forged())));
        assert!(is_refused(|manifest| manifest.steps.push("\u{1b}[2J".into())));
        assert!(is_refused(|manifest| manifest.steps.push("x".repeat(MOST_CHARACTERS + 1))));
        for arch in ["../x", "", "amd64\n"] {
            assert!(is_refused(|manifest| manifest.arch = arch.into()), "{arch}");
        }
    }

    #[test]
    fn a_size_that_no_box_has_is_refused() {
        for bytes in [0, MOST_DISK_BYTES + 1, 1 << 63, u64::MAX] {
            assert!(is_refused(|manifest| manifest.disk.bytes = bytes), "{bytes}");
        }
        assert!(is_refused(|manifest| {
            manifest.kernel.get_or_insert_default().initrd.bytes = MOST_KERNEL_BYTES + 1;
        }));
    }
}
