//! Files of a folder that comes from elsewhere: plain ones only, and none larger than it may be.
//!
//! Enters: a path and a limit. Leaves: an open file, or its bytes. A link, a pipe or a device is refused before a byte of it
//! is read: it could be any file of this computer, or have no end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::failure::{Context, Failure, Result};
use crate::model::ByteSize;

/// What to do about a folder that is not as it was saved.
pub(super) const COPY_AGAIN: &str = "copy the folder again from where it was saved";

/// Opens a plain file of at most `limit_bytes`.
///
/// # Errors
/// When it is none, or larger, or cannot be read.
pub(super) fn open(path: &Path, limit_bytes: u64) -> Result<File> {
    // Not to wait for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(io::Error::from);
    let file = match file {
        Err(cause) if cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(not_plain(path));
        }
        opened => opened
            .because(|| format!("failed to read `{}`", path.display()))
            .map_err(|failure| failure.hint(COPY_AGAIN))?,
    };
    let metadata = file.metadata().because(|| format!("failed to look at `{}`", path.display()))?;
    if !metadata.is_file() {
        return Err(not_plain(path));
    }
    if metadata.len() > limit_bytes {
        return Err(too_large(path, limit_bytes));
    }
    Ok(file)
}

/// Reads a plain file of at most `limit_bytes`.
///
/// # Errors
/// As [`open`].
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // It may grow while it is read.
    let read = open(path, limit_bytes)?.take(limit_bytes + 1).read_to_end(&mut bytes);
    read.because(|| format!("failed to read `{}`", path.display()))?;
    if bytes.len() as u64 > limit_bytes { Err(too_large(path, limit_bytes)) } else { Ok(bytes) }
}

fn not_plain(path: &Path) -> Failure {
    Failure::operation(format!("`{}` is no plain file, so no file of a saved box", path.display()))
        .hint(COPY_AGAIN)
}

fn too_large(path: &Path, limit_bytes: u64) -> Failure {
    let limit = ByteSize::from_bytes(limit_bytes).human();
    Failure::operation(format!(
        "`{}` has more than {limit}, as no such file of a saved box has",
        path.display()
    ))
    .hint(COPY_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Interrupt, Runner};
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_plain_file_within_its_limit_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        crate::disk::write_atomic(&path("file"), b"abc", 0o600).expect("written");
        assert_eq!(read(&path("file"), 3).expect("read"), b"abc");
        let refused = |name: &str, limit| read(&path(name), limit).expect_err("refused").error.to_string();
        assert!(refused("file", 2).contains("has more than"), "{}", refused("file", 2));
        symlink(path("file"), path("link")).expect("a link");
        symlink("/dev/zero", path("endless")).expect("a link");
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        runner.run(&Cmd::new("mkfifo").arg(path("pipe"))).expect("a pipe");
        for name in ["link", "endless", "pipe", "."] {
            assert!(refused(name, 100).contains("is no plain file"), "{name}: {}", refused(name, 100));
        }
        assert!(refused("none", 100).contains("failed to read"));
    }
}
