//! A box on its way into the cache: files come together in a folder beside the others, which then gets its name.
//!
//! Enters: a manifest, a kernel, a disk. Leaves: a published box. What is cut off before that is finished by the next
//! try once the disk is there, and begun anew otherwise; nobody ever takes it for a box.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::digest::digest;
use super::file::move_file;
use super::manifest::Manifest;
use super::store::Store;
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::process::Interrupt;

/// The manifest while its digests are missing.
const DRAFT: &str = "draft.json";

/// The folder of a box that is not one yet.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    key: String,
}

impl Staging {
    /// The staging folder of a key, whatever is in it.
    pub fn of(store: &Store, key: &str) -> Self {
        Self { folder: store.folder().join(format!(".new-{key}")), key: key.to_string() }
    }

    /// Empties it.
    pub fn begin(&self) -> Result<()> {
        disk::remove_folder(&self.folder)?;
        disk::ensure_private_folder(&self.folder)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes down what the box will be, once everything but the disk is there.
    pub fn describe(&self, manifest: &Manifest) -> Result<()> {
        disk::write_atomic(&self.path(DRAFT), &to_json(manifest)?, 0o600)
    }

    /// Whether only the digests are missing.
    pub fn has_disk(&self) -> bool {
        self.path(DRAFT).exists() && self.path("disk").exists()
    }

    /// Takes the disk of a stopped machine, which is no machine any more after that.
    ///
    /// # Errors
    /// When there is no room for it; the machine then still has its disk.
    pub fn take_disk(&self, from: &Path, interrupt: &Interrupt) -> Result<()> {
        let disk = self.path("disk");
        move_file(from, &disk, interrupt)?;
        disk::set_private(&disk).because(|| format!("failed to change the mode of `{}`", disk.display()))
    }

    /// Works the digests out and gives the box its name.
    ///
    /// # Errors
    /// When a file cannot be read or written; the next try goes on from here.
    pub fn publish(&self, store: &Store) -> Result<()> {
        let draft = disk::read_if_there(&self.path(DRAFT))?.unwrap_or_default();
        let mut manifest = Manifest::parse(&draft)
            .ok_or_else(|| Failure::operation(format!("`{}` is damaged", self.path(DRAFT).display())))?;
        for (name, note) in manifest.files_mut() {
            let path = self.path(name);
            let synced = File::open(&path).and_then(|file| file.sync_all().and_then(|()| file.metadata()));
            note.bytes = synced.because(|| format!("failed to read `{}`", path.display()))?.len();
            note.digest = digest(&path)?;
        }
        disk::write_atomic(&self.path("box.json"), &to_json(&manifest)?, 0o600)?;
        disk::remove_file(&self.path(DRAFT))?;
        self.take_place(store)
    }

    /// As [`Self::publish`], for a box that comes from elsewhere and must be what its manifest says.
    ///
    /// # Errors
    /// When it is not.
    pub fn publish_as(&self, store: &Store, expected: &Manifest) -> Result<()> {
        for (name, note) in expected.files() {
            if digest(&self.path(name))? != note.digest {
                return Err(Failure::operation(format!(
                    "the box's `{name}` is not the one that its manifest names"
                )));
            }
        }
        self.publish(store)
    }

    fn take_place(&self, store: &Store) -> Result<()> {
        let place = store.place(&self.key);
        store.remove(&self.key)?;
        let renamed = fs::rename(&self.folder, &place)
            .and_then(|()| File::open(store.folder()))
            .and_then(|folder| folder.sync_all());
        renamed.because(|| format!("failed to write `{}`", place.display()))?;
        Store::remember(&place)
    }
}

fn to_json(manifest: &Manifest) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(manifest)
        .map_err(|cause| Failure::operation(format!("failed to write a manifest: {cause}")))
}
