//! Files of our own: written whole or not at all, locked, with modes set at open; every error names its path.
//!
//! Enters: paths and bytes. Leaves: files, locks. Knows no format and no other room but `failure`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::{Builder, NamedTempFile};

use crate::failure::{Context, Result};

/// Replaces `path` by `bytes` with `mode`: a reader sees the old file or the new one, also after a power cut.
///
/// # Errors
/// When the folder cannot be written; the old file then is as it was, and no temporary one is left.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let persist = |file: NamedTempFile| file.persist(path).map(drop).map_err(|failed| failed.error);
    write_and(path, bytes, mode, persist).because(|| format!("failed to write `{}`", path.display()))
}

/// Writes a file as [`write_atomic`] does, unless something is there already: then it says `false` and stays away.
pub fn create_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let persist = |file: NamedTempFile| file.persist_noclobber(path).map(drop).map_err(|failed| failed.error);
    match write_and(path, bytes, mode, persist) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(false),
        done => done.map(|()| true).because(|| format!("failed to write `{}`", path.display())),
    }
}

fn write_and(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    persist: impl FnOnce(NamedTempFile) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mode = fs::Permissions::from_mode(mode);
    let mut file = Builder::new().prefix(".tmp-").permissions(mode.clone()).tempfile_in(folder)?;
    // The umask has been at the mode given above.
    file.as_file().set_permissions(mode)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    persist(file)?;
    File::open(folder)?.sync_all()
}

/// Reads a whole file; `None` when there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(cause) => Err(cause).because(|| format!("failed to read `{}`", path.display())),
    }
}

/// Reads a whole text file; `None` when there is none, foreign bytes are replaced.
pub fn read_text_if_there(path: &Path) -> Result<Option<String>> {
    Ok(read_if_there(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Makes a folder that only its owner may enter, and repairs the mode of one that is there.
pub fn ensure_private_folder(path: &Path) -> Result<()> {
    let attempt = || {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    };
    let attempted: std::io::Result<()> = attempt();
    attempted.because(|| format!("failed to make the folder `{}`", path.display()))
}

/// The bytes that the files of a folder take on the disk, which for sparse ones is less than their size. `None` when there
/// is no such folder; what lies in folders below is not counted.
pub fn allocated_bytes(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.filter_map(std::result::Result::ok);
    let files = entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
    // The unit of `st_blocks` is 512 bytes on Linux and macOS alike, whatever the filesystem's own is.
    Some(files.map(|file| file.blocks() * 512).sum())
}

/// Makes a folder with files in it, each with its mode: a reader sees all of it or nothing.
///
/// # Errors
/// When its parent cannot be written; nothing is left there then.
pub fn create_folder<'f>(
    path: &Path,
    files: impl IntoIterator<Item = (&'f str, &'f [u8], u32)>,
) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let made = Builder::new().prefix(".tmp-").tempdir_in(parent);
    let made = made.because(|| format!("failed to make a folder in `{}`", parent.display()))?;
    for (name, bytes, mode) in files {
        write_atomic(&made.path().join(name), bytes, mode)?;
    }
    let attempt = || -> std::io::Result<()> {
        fs::set_permissions(made.path(), fs::Permissions::from_mode(0o755))?;
        fs::rename(made.path(), path)?;
        File::open(parent)?.sync_all()
    };
    attempt().because(|| format!("failed to make the folder `{}`", path.display()))
}

/// Lets nobody but its owner use a file or socket, whatever the umask was when it was made.
pub fn set_private(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Removes a file; one that is not there is removed already.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(cause).because(|| format!("failed to remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it; one that is not there is removed already.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(cause).because(|| format!("failed to remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// The names in a folder, sorted; none when it is not there.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Opens a file for appending, private to its owner.
pub fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .because(|| format!("failed to open `{}`", path.display()))
}

/// Makes a file anew, private to its owner.
pub fn create_private(path: &Path) -> Result<File> {
    remove_file(path)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.because(|| format!("failed to write `{}`", path.display()))
}

/// The last `limit` bytes of a file that another program writes, as text; empty when it cannot be read.
pub fn read_tail(path: &Path, limit: u64) -> String {
    let attempt = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(std::io::SeekFrom::Start(length.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&attempt().unwrap_or_default()).into_owned()
}

/// What one file takes on its disk: holes take nothing, and neither does one that is not there.
pub fn file_allocated_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

/// An advisory lock, given back when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// A lock somebody else holds.
#[derive(Debug)]
pub struct Held {
    /// What the holder wrote about itself, such as `up (process 4711)`.
    pub holder: String,
}

impl Lock {
    /// Tries to take the lock for one holder alone, whose `label` others are shown.
    pub fn try_exclusive(path: &Path, label: &str) -> Result<Result<Self, Held>> {
        let mut lock = Self::open(path)?;
        match lock.file.try_lock() {
            Ok(()) => {
                let attempt = lock.label(label);
                attempt.because(|| format!("failed to write `{}`", path.display()))?;
                Ok(Ok(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(Err(lock.held())),
            Err(TryLockError::Error(cause)) => {
                Err(cause).because(|| format!("failed to lock `{}`", path.display()))
            }
        }
    }

    /// Tries to take the lock together with others that share it.
    pub fn try_shared(path: &Path) -> Result<Result<Self, Held>> {
        let mut lock = Self::open(path)?;
        match lock.file.try_lock_shared() {
            Ok(()) => Ok(Ok(lock)),
            Err(TryLockError::WouldBlock) => Ok(Err(lock.held())),
            Err(TryLockError::Error(cause)) => {
                Err(cause).because(|| format!("failed to lock `{}`", path.display()))
            }
        }
    }

    /// Waits for the lock; for short critical sections only.
    pub fn wait_exclusive(path: &Path) -> Result<Self> {
        let lock = Self::open(path)?;
        lock.file.lock().because(|| format!("failed to lock `{}`", path.display()))?;
        Ok(lock)
    }

    /// Sets the locked file's time of change: a note that others can read.
    pub fn set_time(&self, time: SystemTime) -> std::io::Result<()> {
        self.file.set_modified(time)
    }

    /// The locked file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(path: &Path) -> Result<Self> {
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let file = file.because(|| format!("failed to open `{}`", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    fn label(&mut self, label: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(label.as_bytes())
    }

    fn held(&mut self) -> Held {
        let mut holder = String::new();
        // An empty or unreadable label only makes the message shorter.
        let _ = Read::by_ref(&mut self.file).take(200).read_to_string(&mut holder);
        Held { holder: if holder.is_empty() { "another machine process".into() } else { holder } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_takes_what_is_written_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(allocated_bytes(&folder.path().join("none")), None);
        assert_eq!(allocated_bytes(folder.path()), Some(0));
        let disk = File::create(folder.path().join("disk")).expect("a file");
        disk.set_len(1 << 30).expect("sparse");
        std::os::unix::fs::symlink("disk", folder.path().join("link")).expect("a link");
        let before = allocated_bytes(folder.path()).expect("counted");
        assert!(before < 1 << 20, "{before}");
        write_atomic(&folder.path().join("cidata"), &vec![1; 1 << 20], 0o600).expect("written");
        let after = allocated_bytes(folder.path()).expect("counted");
        assert!((1 << 20..2 << 20).contains(&(after - before)), "{before} {after}");
    }

    #[test]
    fn a_write_replaces_the_file_with_its_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        write_atomic(&path, b"one", 0o644).expect("first");
        write_atomic(&path, b"two", 0o600).expect("second");
        assert_eq!(fs::read(&path).expect("content"), b"two");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(names_in(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_new_file_takes_no_other_ones_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blog.yaml");
        assert!(create_atomic(&path, b"one", 0o644).expect("first"));
        assert!(!create_atomic(&path, b"two", 0o644).expect("second"));
        assert_eq!(fs::read(&path).expect("content"), b"one");
        assert_eq!(names_in(folder.path()), ["blog.yaml"]);
        create_atomic(&folder.path().join("no/x"), b"", 0o644).expect_err("no such folder");
    }

    #[test]
    fn a_failed_write_names_the_path() {
        let failure = write_atomic(Path::new("/nowhere/at/all"), b"", 0o600).expect_err("no such folder");
        assert!(format!("{failure:?}").contains("`/nowhere/at/all`"));
    }

    #[test]
    fn the_second_taker_learns_who_holds_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = Lock::try_exclusive(&path, "up (process 1)").expect("open").expect("free");
        let held = Lock::try_exclusive(&path, "down").expect("open").expect_err("taken");
        assert_eq!(held.holder, "up (process 1)");
        assert!(Lock::try_shared(&path).expect("open").is_err());
        drop(first);
        let shared = Lock::try_shared(&path).expect("open").expect("free");
        assert!(Lock::try_shared(&path).expect("open").is_ok());
        assert!(Lock::try_exclusive(&path, "x").expect("open").is_err());
        drop(shared);
    }
}
