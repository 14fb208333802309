//! What a guest prints on its consoles, which Lima keeps in files until the next start: only the end of it stays on the disk.
//!
//! Enters: an instance's folder, from time to time. Leaves: files whose beginning takes no room any more. Their size stays,
//! since QEMU writes at its own place.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// Lima's files, one a console (qemu.go, `Cmdline`).
const FILES: [&str; 3] = ["serial.log", "serialp.log", "serialv.log"];
/// The most that one may take, as long as nobody looks.
const MOST_BYTES: u64 = 16 << 20;
/// What is kept of one that takes more.
const KEPT_BYTES: u64 = 1 << 20;

/// Gives back what is too much. Where the filesystem cannot do that, a file goes on growing.
pub(super) fn bound(instance: &Path) {
    for name in FILES {
        let opened = OpenOptions::new().write(true).open(instance.join(name));
        let _ = opened.and_then(|file| empty_beginning(&file, MOST_BYTES, KEPT_BYTES));
    }
}

fn empty_beginning(file: &File, most_bytes: u64, kept_bytes: u64) -> std::io::Result<()> {
    let metadata = file.metadata()?;
    let taken = metadata.blocks() * 512;
    if taken <= most_bytes {
        return Ok(());
    }
    let goes = metadata.len().saturating_sub(kept_bytes);
    Ok(fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, goes)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    #[test]
    fn the_end_stays_and_the_beginning_takes_no_room() {
        let mut file = tempfile::tempfile().expect("a file");
        let text: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        file.write_all(&text).expect("written");
        file.sync_all().expect("on the disk");
        let taken = |file: &File| file.metadata().expect("metadata").blocks() * 512;
        empty_beginning(&file, 2 << 20, 100_000).expect("looked at");
        assert!(taken(&file) >= 1_200_000, "not too much yet");
        empty_beginning(&file, 1 << 20, 100_000).expect("emptied");
        assert!(taken(&file) < 200_000, "{}", taken(&file));
        // Whoever goes on writing does so at the same place.
        file.write_all(b"end").expect("written");
        assert_eq!(file.metadata().expect("metadata").len(), 1_200_003);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(1_100_000)).expect("there");
        file.read_to_end(&mut end).expect("read");
        assert_eq!(end[..100_000], text[1_100_000..]);
    }
}
