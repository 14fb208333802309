//! What a disk image holds, as a digest that does not depend on how its file is laid out on the host.
//!
//! Enters: a file. Leaves: hexadecimal digits. Blocks of zeros count the same whether they are holes or written, since
//! a copy may turn one into the other; so a large and mostly empty disk is read in the time its contents take.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::failure::{Context, Result};
use crate::model::hex;

/// How much is hashed, or left out, at a time.
pub(super) const BLOCK: u64 = 64 * 1024;

/// SHA-256 over the length and over every block of 64 KiB that is not zero, with its offset.
pub(super) fn digest(path: &Path) -> Result<String> {
    digest_blocks(path).because(|| format!("failed to read `{}`", path.display()))
}

fn digest_blocks(path: &Path) -> std::io::Result<String> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut hasher = Sha256::new();
    hasher.update(length.to_be_bytes());
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(65_536)];
    let mut offset = next_data(&file, 0, length)?;
    while offset < length {
        let wanted = usize::try_from(BLOCK.min(length - offset)).unwrap_or(buffer.len());
        let block = &mut buffer[..wanted];
        file.read_exact_at(block, offset)?;
        if block.iter().any(|byte| *byte != 0) {
            hasher.update(offset.to_be_bytes());
            hasher.update(&*block);
        }
        offset = next_data(&file, offset + BLOCK, length)?;
    }
    Ok(hex(&hasher.finalize()))
}

/// The beginning of the first block at or behind `offset` that may hold data.
pub(super) fn next_data(file: &File, offset: u64, length: u64) -> std::io::Result<u64> {
    if offset >= length {
        return Ok(length);
    }
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(data / BLOCK * BLOCK),
        // Only a hole is left.
        Err(Errno::NXIO) => Ok(length),
        // A filesystem that knows no holes: everything may be data.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(offset),
        Err(cause) => Err(cause.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, parts: &[(u64, &[u8])], length: u64) -> std::path::PathBuf {
        let path = folder.join(name);
        let file = File::create(&path).expect("created");
        file.set_len(length).expect("sized");
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset).expect("written");
        }
        path
    }

    #[test]
    fn holes_and_zeros_are_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let length = 3_000_001;
        let data: (u64, &[u8]) = (1_000_000, b"data");
        let holes = file(folder.path(), "holes", &[data], length);
        let zeros = vec![0; 900_000];
        let written = file(folder.path(), "written", &[(0, &zeros), data, (2_000_000, &zeros)], length);
        assert_eq!(digest(&holes).expect("a digest"), digest(&written).expect("a digest"));
    }

    #[test]
    fn every_change_shows() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str, offset, bytes: &[u8], length| {
            digest(&file(folder.path(), name, &[(offset, bytes)], length)).expect("a digest")
        };
        let usual = at("a", 200_000, b"data", 400_000);
        assert_eq!(usual, at("same", 200_000, b"data", 400_000));
        assert_ne!(usual, at("byte", 200_000, b"dbta", 400_000));
        assert_ne!(usual, at("moved", 265_536, b"data", 400_000));
        assert_ne!(usual, at("cut", 200_000, b"data", 399_999));
        assert_ne!(usual, at("empty", 0, b"", 400_000));
    }
}
