//! The warm half of a box: what a machine was like that had just booted from it, as a memory and the changed blocks of
//! its disk.
//!
//! Enters: the disk of a machine that was stopped in mid-flight. Leaves: files beside the box, or that disk once more for
//! another machine. They are this computer's, one set a box: the newest size takes the place of the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::{BLOCK, next_data};
use super::store::{CachedBox, Store};
use crate::disk::{self, file_allocated_bytes};
use crate::failure::{Context, Failure, Result};
use crate::lima::Memory;
use crate::model::hex;
use crate::process::Interrupt;

/// The version of the file's meaning.
const SCHEMA: u32 = 1;
/// What the files are called in a box's folder; the note is written last.
const MEMORY: &str = "warm.memory";
const BLOCKS: &str = "warm.blocks";
const NOTE: &str = "warm.json";

/// `warm.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    schema: u32,
    /// The digest of the box's disk that it was made from.
    disk: String,
    /// Virtual processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The size of the disk while it was made.
    pub disk_bytes: u64,
    /// The public host key of that machine; whoever goes on has it until it gets its own.
    pub host_key: String,
    /// What is in its memory.
    pub memory: Memory,
    blocks: Blocks,
}

/// The blocks of a disk that are not as in the box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Blocks {
    /// The length of the whole disk's file.
    length: u64,
    /// Their numbers, in the order of their file.
    numbers: Vec<u64>,
    /// SHA-256 of that file.
    digest: String,
}

/// The machine that a warm box is made of.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Virtual processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The size of its disk.
    pub disk_bytes: u64,
    /// Its public host key.
    pub host_key: &'a str,
    /// Its disk, which nobody writes to any more.
    pub disk: &'a Path,
}

impl Store {
    /// Whether a box has a warm half, as far as that can be told without reading the box.
    pub fn is_warm(&self, key: &str) -> bool {
        self.place(key).join(NOTE).is_file()
    }
}

impl CachedBox {
    /// Its warm half, if there is one of this very disk.
    pub fn warm(&self) -> Option<Warm> {
        let bytes = disk::read_if_there(&self.folder.join(NOTE)).ok()??;
        let warm: Warm = serde_json::from_slice(&bytes).ok()?;
        let is_of_this = warm.schema == SCHEMA && warm.disk == self.manifest.disk.digest;
        (is_of_this && self.warm_memory().is_file()).then_some(warm)
    }

    /// Where its memory lies, or is to be written.
    pub fn warm_memory(&self) -> PathBuf {
        self.folder.join(MEMORY)
    }

    /// What its warm half takes on the host's disk.
    pub fn warm_bytes(&self) -> u64 {
        [MEMORY, BLOCKS].iter().map(|name| file_allocated_bytes(&self.folder.join(name))).sum()
    }

    /// Removes its warm half, finished or not.
    pub fn cool(&self) -> Result<()> {
        [NOTE, MEMORY, BLOCKS].iter().try_for_each(|name| disk::remove_file(&self.folder.join(name)))
    }

    /// Keeps what `source` was like when its memory was written to [`Self::warm_memory`].
    ///
    /// # Errors
    /// When the disk cannot be read or there is no room. Nobody takes for whole what is there then.
    pub fn keep_warm(&self, source: &Source, memory: Memory, interrupt: &Interrupt) -> Result<()> {
        let to = self.folder.join(BLOCKS);
        let blocks = write_blocks(&self.folder.join("disk"), source.disk, &to, interrupt);
        let blocks = blocks.because(|| format!("failed to write `{}`", to.display()))?;
        let warm = Warm {
            schema: SCHEMA,
            disk: self.manifest.disk.digest.clone(),
            cpus: source.cpus,
            memory_bytes: source.memory_bytes,
            disk_bytes: source.disk_bytes,
            host_key: source.host_key.to_string(),
            memory,
            blocks,
        };
        let text = serde_json::to_vec(&warm)
            .map_err(|cause| Failure::operation(format!("failed to write JSON: {cause}")))?;
        disk::write_atomic(&self.folder.join(NOTE), &text, 0o600)
    }

    /// Makes a fresh copy of the box's disk the one that `warm` has in mind.
    ///
    /// # Errors
    /// When what was kept is damaged: the copy is as it was then. When it cannot be written: it is good for nothing.
    pub fn warm_up(&self, warm: &Warm, copy: &Path) -> Result<()> {
        let applied = apply_blocks(&warm.blocks, &self.folder.join(BLOCKS), copy);
        applied.because(|| "the changed blocks of its disk cannot be used")
    }
}

/// Writes the blocks of `now` that are not as in `before`; what lies behind the end of a file is zeros.
fn write_blocks(before: &Path, now: &Path, to: &Path, interrupt: &Interrupt) -> io::Result<Blocks> {
    let (before, now) = (File::open(before)?, File::open(now)?);
    let mut to = disk::create_private(to).map_err(|failure| io::Error::other(failure.error.to_string()))?;
    let (length, old_length) = (now.metadata()?.len(), before.metadata()?.len());
    let (mut numbers, mut hasher) = (Vec::new(), Sha256::new());
    let next_of = |file: &File, offset: u64, end: u64| {
        next_data(file, offset, end).map(|next| if next < end { next } else { u64::MAX })
    };
    let next = |offset: u64| -> io::Result<u64> {
        Ok(next_of(&now, offset, length)?.min(next_of(&before, offset, old_length)?))
    };
    let mut offset = next(0)?;
    while offset < length {
        if interrupt.is_asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let block = read_block(&now, offset)?;
        if block != read_block(&before, offset)? {
            numbers.push(offset / BLOCK);
            hasher.update(&block);
            to.write_all(&block)?;
        }
        offset = next(offset + BLOCK)?;
    }
    Ok(Blocks { length, numbers, digest: hex(&hasher.finalize()) })
}

fn apply_blocks(blocks: &Blocks, from: &Path, disk: &Path) -> io::Result<()> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "they are not those that were written");
    let (mut from, disk) = (File::open(from)?, OpenOptions::new().write(true).open(disk)?);
    let mut block = vec![0; block_size()];
    let mut hasher = Sha256::new();
    for _ in &blocks.numbers {
        from.read_exact(&mut block)?;
        hasher.update(&block);
    }
    if from.read(&mut block)? != 0 || hex(&hasher.finalize()) != blocks.digest {
        return Err(damaged());
    }
    for (index, number) in (0u64..).zip(&blocks.numbers) {
        from.read_exact_at(&mut block, index * BLOCK)?;
        let offset =
            number.checked_mul(BLOCK).filter(|offset| *offset < blocks.length).ok_or_else(damaged)?;
        let length =
            usize::try_from(blocks.length - offset).map_or(block.len(), |rest| rest.min(block.len()));
        disk.write_all_at(&block[..length], offset)?;
    }
    disk.set_len(blocks.length)
}

/// A whole block, with zeros for what the file has not.
fn read_block(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut block = vec![0; block_size()];
    let mut length = 0;
    while length < block.len() {
        match file.read_at(&mut block[length..], offset + length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(block)
}

fn block_size() -> usize {
    usize::try_from(BLOCK).unwrap_or(65_536)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, parts: &[(u64, &[u8])], length: u64) -> PathBuf {
        let path = folder.join(name);
        let file = File::create(&path).expect("created");
        file.set_len(length).expect("sized");
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset).expect("written");
        }
        path
    }

    #[test]
    fn a_copy_of_the_box_becomes_the_disk_that_was_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let old: [(u64, &[u8]); 3] = [(0, b"same"), (200_000, b"was there"), (900_000, b"more")];
        let new: [(u64, &[u8]); 3] = [(0, b"same"), (200_000, b"is there "), (1_500_000, b"new")];
        for lengths in [(2_000_000, 2_000_000), (1_000_000, 1_600_001)] {
            let before = file(at, "before", &old, lengths.0);
            let now = file(at, "now", &new, lengths.1);
            let copy = file(at, "copy", &old, lengths.0);
            let blocks = write_blocks(&before, &now, &at.join("b"), &Interrupt::default()).expect("written");
            assert_eq!(blocks.numbers, [3, 13, 22]);
            apply_blocks(&blocks, &at.join("b"), &copy).expect("applied");
            assert!(std::fs::read(&copy).expect("read") == std::fs::read(&now).expect("read"));
        }
    }

    #[test]
    fn damaged_blocks_touch_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let before = file(at, "before", &[(5, b"old")], 100_000);
        let now = file(at, "now", &[(5, b"new")], 100_000);
        let blocks = write_blocks(&before, &now, &at.join("b"), &Interrupt::default()).expect("written");
        let whole = std::fs::read(at.join("b")).expect("read");
        let untouched = std::fs::read(&before).expect("read");
        let mut flipped = whole.clone();
        flipped[100] ^= 1;
        let longer = [whole.clone(), vec![0]].concat();
        for damage in [&whole[..whole.len() - 1], &flipped, &longer, b""] {
            disk::write_atomic(&at.join("b"), damage, 0o600).expect("written");
            apply_blocks(&blocks, &at.join("b"), &before).expect_err("damaged");
            assert!(std::fs::read(&before).expect("read") == untouched);
        }
    }
}
