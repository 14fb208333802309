//! Large files: moved where the filesystem allows it, cloned where it can, else copied without their holes.
//!
//! Enters: paths. Leaves: a whole file at the new place, or none. A full disk is said with the numbers.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{SeekFrom, seek, statvfs};
use rustix::io::Errno;

use crate::disk::{self, file_allocated_bytes};
use crate::failure::{Context, Failure, Result};
use crate::model::ByteSize;
use crate::process::Interrupt;

const BUFFER: usize = 1 << 20;

/// Moves a file, by name where both places are on one filesystem.
///
/// # Errors
/// When there is no room, or on an interrupt; the file then is where it was, and nothing is at the new place.
pub(super) fn move_file(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<()> {
    match fs::rename(from, to) {
        Err(cause) if cause.kind() == ErrorKind::CrossesDevices => {
            copy_file(from, to, interrupt)?;
            disk::remove_file(from)
        }
        moved => moved.because(|| format!("failed to move `{}` to `{}`", from.display(), to.display())),
    }
}

/// Copies a file, holes as holes, to a name that appears only when it is whole.
fn copy_file(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<()> {
    check_room(from, to)?;
    let part = to.with_extension("part");
    disk::remove_file(&part)?;
    let copied = copy_data(from, &part, interrupt);
    if copied.is_err() {
        disk::remove_file(&part)?;
    }
    copied?;
    fs::rename(&part, to).because(|| format!("failed to write `{}`", to.display()))
}

fn copy_data(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<()> {
    let attempt = || -> std::io::Result<bool> {
        let source = File::open(from)?;
        let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        let length = source.metadata()?.len();
        target.set_len(length)?;
        let mut offset = 0;
        while let Some((start, end)) = next_extent(&source, offset, length)? {
            if !copy_extent(&source, &target, start, end, interrupt)? {
                return Ok(false);
            }
            offset = end;
        }
        target.sync_all()?;
        Ok(true)
    };
    match attempt() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::interrupted()),
        Err(cause) if cause.kind() == ErrorKind::StorageFull => Err(no_room(from, to)),
        Err(cause) => {
            Err(cause).because(|| format!("failed to copy `{}` to `{}`", from.display(), to.display()))
        }
    }
}

/// The next part of a file that holds data, from `offset` on.
fn next_extent(file: &File, offset: u64, length: u64) -> std::io::Result<Option<(u64, u64)>> {
    if offset >= length {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A filesystem that knows no holes.
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((offset, length))),
        Err(cause) => return Err(cause.into()),
    };
    Ok(Some((start, seek(file, SeekFrom::Hole(start))?)))
}

/// Copies one extent; false when it was interrupted.
fn copy_extent(
    source: &File,
    target: &File,
    start: u64,
    end: u64,
    interrupt: &Interrupt,
) -> std::io::Result<bool> {
    let mut buffer = vec![0; BUFFER];
    let mut offset = start;
    while offset < end {
        if interrupt.is_asked() {
            return Ok(false);
        }
        let wanted = usize::try_from(end - offset).map_or(BUFFER, |left| left.min(BUFFER));
        source.read_exact_at(&mut buffer[..wanted], offset)?;
        target.write_all_at(&buffer[..wanted], offset)?;
        offset += wanted as u64;
    }
    Ok(true)
}

/// Refuses a copy that the target's filesystem has no room for, before anything is written.
fn check_room(from: &Path, to: &Path) -> Result<()> {
    let needed = file_allocated_bytes(from);
    match free_bytes(to) {
        Some(free) if free < needed => Err(no_room(from, to)),
        _ => Ok(()),
    }
}

fn no_room(from: &Path, to: &Path) -> Failure {
    let needed = ByteSize::from_bytes(file_allocated_bytes(from)).human();
    let folder = to.parent().unwrap_or(to).display();
    let free = free_bytes(to).map_or_else(|| "less".to_string(), |free| ByteSize::from_bytes(free).human());
    Failure::operation(format!("the box takes {needed}, and `{folder}` has {free} left"))
        .hint("make room there, such as by `machine box prune`, then run the command again")
}

/// What users may still write to the filesystem of `path`; `None` where that cannot be asked.
fn free_bytes(path: &Path) -> Option<u64> {
    let room = statvfs(path.parent()?).ok()?;
    Some(room.f_bavail * room.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_holes_and_appears_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::create(&from).expect("created");
        file.set_len(64 << 20).expect("sized");
        file.write_all_at(b"first", 0).expect("written");
        file.write_all_at(b"last", 40 << 20).expect("written");
        copy_file(&from, &to, &Interrupt::default()).expect("copied");
        assert_eq!(fs::read(&from).expect("read"), fs::read(&to).expect("read"));
        assert!(file_allocated_bytes(&to) < 8 << 20, "{} bytes", file_allocated_bytes(&to));
        assert_eq!(disk::names_in(folder.path()), ["from", "to"]);
    }

    #[test]
    fn an_interrupted_copy_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        disk::write_atomic(&from, &[1; 100], 0o600).expect("written");
        let interrupt = Interrupt::default();
        interrupt.ask();
        let failure = copy_file(&from, &to, &interrupt).expect_err("interrupted");
        assert_eq!(failure.kind, crate::failure::Kind::Interrupted);
        assert_eq!(disk::names_in(folder.path()), ["from"]);
    }

    #[test]
    fn a_full_disk_is_said_with_the_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        let from = folder.path().join("from");
        disk::write_atomic(&from, &vec![1; 3 << 20], 0o600).expect("written");
        let failure = no_room(&from, &folder.path().join("to"));
        let said = failure.error.to_string();
        assert!(said.starts_with("the box takes 3 MiB, and `"), "{said}");
        assert!(failure.hints[0].contains("machine box prune"));
    }
}
