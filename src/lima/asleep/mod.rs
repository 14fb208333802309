//! A machine whose memory lies on the disk: written encrypted when it falls asleep, read once when it wakes.
//!
//! Enters: a running instance, or a stopped one with such an image. Leaves: the other one. Whatever goes wrong costs the
//! image, never the disk: the machine goes on running, or boots cold and its user is told why.

mod filter;
mod key;
mod note;
mod qmp;
mod resume;
mod stream;
mod suspend;
mod warm;

use std::path::{Path, PathBuf};

use crate::disk;
use crate::failure::Result;
use crate::layout::Layout;

pub use key::{check as check_key_folder, random};
pub use note::Note;
pub use resume::Woken;
pub use warm::Memory;

/// The files of a sleeping machine, beside its disk: they go when Lima deletes the instance.
#[derive(Clone, Debug)]
pub struct Image {
    folder: PathBuf,
}

impl Image {
    /// That of an instance's folder, whether there is one or not.
    pub fn of(instance: &Path) -> Self {
        Self { folder: instance.to_owned() }
    }

    /// The encrypted memory, whole.
    pub fn memory(&self) -> PathBuf {
        self.folder.join("memory.image")
    }

    /// What is being written; nobody ever reads it.
    fn part(&self) -> PathBuf {
        self.folder.join("memory.part")
    }

    /// The memory of a machine that is about to go on: it is never read again.
    fn used(&self) -> PathBuf {
        self.folder.join("memory.used")
    }

    /// What the image belongs to.
    fn note(&self) -> PathBuf {
        self.folder.join("asleep.json")
    }

    /// What is written beside a whole image; `None` when there is none, or it cannot be read.
    pub fn read_note(&self) -> Option<Note> {
        let bytes = disk::read_if_there(&self.note()).ok()??;
        self.memory().is_file().then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// Whether anything of a sleep is left, finished or not.
    pub fn is_left(&self) -> bool {
        [self.memory(), self.part(), self.used(), self.note()].iter().any(|path| path.exists())
    }

    /// Removes what somebody could wake from, and leaves a mark: whoever comes next looks whether the guest stands still.
    fn cut_off(&self, layout: &Layout, uuid: &str) -> Result<()> {
        self.discard(layout, uuid)?;
        disk::create_private(&self.part()).map(drop)
    }

    /// Removes everything, the key as well: nothing can wake from it any more.
    pub fn discard(&self, layout: &Layout, uuid: &str) -> Result<()> {
        for path in [self.memory(), self.note(), self.used(), self.part()] {
            disk::remove_file(&path)?;
        }
        key::forget(layout, uuid)
    }
}
