//! `box.json`: what a box is, what went into it, and the digests by which it is known again.
//!
//! Enters: the file's text. Leaves: a manifest, or nothing where it cannot be read as one.

use serde::{Deserialize, Serialize};

use crate::model::ProjectName;

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

    /// Whether what it says can be used as a file name and a kernel's command line: a saved box comes from elsewhere.
    pub(super) fn is_sound(&self) -> bool {
        let is_key =
            self.key.len() == 32 && self.key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_line = |text: &str| !text.contains(char::is_control) && !text.contains("{{");
        is_key && is_line(&self.name) && self.kernel.iter().all(|kernel| is_line(&kernel.cmdline))
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
