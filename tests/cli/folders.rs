//! Files of a test: lent to the unprivileged user, listed, looked through.
//!
//! Enters: paths. Leaves: files with the right owner, lines that two listings are compared by.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Nobody, as Debian, Fedora and Alpine number it.
pub const UNPRIVILEGED: u32 = 65_534;

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Links to a file, or copies it where the unprivileged user cannot go.
pub fn lend(from: &Path, to: &Path) {
    let is_open = |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    if !is_root() || from.ancestors().all(is_open) {
        symlink(from, to).expect("a link");
    } else {
        fs::copy(from, to).expect("copied");
    }
}

/// Writes a file of the test's own.
pub fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
}

/// Makes the unprivileged user the owner.
pub fn give_away(path: &Path) {
    if is_root() {
        chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("given away");
    }
}

/// Lists everything below a folder: mode, path, a digest of the text.
pub fn list(folder: &Path, home: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let below = path.strip_prefix(home).expect("below").display().to_string();
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        let mode = metadata.permissions().mode() & 0o777;
        if metadata.is_dir() {
            lines.push(format!("{mode:o} {below}/\n"));
            list(&path, home, lines);
        } else {
            let mut text = String::new();
            let _ = File::open(&path).and_then(|mut file| file.read_to_string(&mut text));
            let digest =
                text.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
            lines.push(format!("{mode:o} {below} {digest:x}\n"));
        }
    }
}

/// Finds the files that name a process.
pub fn find_pids(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_pids(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "pid") {
            files.push(path);
        }
    }
}
