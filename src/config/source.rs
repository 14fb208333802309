//! Reads a configuration file into text, judging the file before its content.
//!
//! Enters: a path. Leaves: a `Source` that later complaints point into, or bytes of a file beside one.
//! Must not know what the text means.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ConfigFolder;
use crate::failure::{Failure, Result};

/// A repository's file is read without being asked for, so it gets little room.
const REPOSITORY_LIMIT_BYTES: u64 = 64 << 10;
/// Of everything else.
pub(super) const LIMIT_BYTES: u64 = 1 << 20;

/// The text of a configuration file.
#[derive(Debug)]
pub(super) struct Source {
    /// What messages call it: the path below the configuration folder.
    pub label: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Line and column of a byte, both from 1; columns count characters.
    pub fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line_range(at);
        let number = self.text[..line.start].matches('\n').count() + 1;
        let end = at.clamp(line.start, line.end.max(line.start));
        (number, self.text[line.start..floor_boundary(&self.text, end)].chars().count() + 1)
    }

    /// The bytes of the line that holds a byte, without its end.
    pub fn line_range(&self, at: usize) -> Range<usize> {
        let at = floor_boundary(&self.text, at.min(self.text.len()));
        let start = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        let end = start + self.text[start..end].trim_end_matches('\r').len();
        start..end
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Reads one of the TOML files of a folder; `None` when there is none.
pub(super) fn read_toml(folder: &ConfigFolder, path: &Path) -> Result<Option<Source>> {
    let label = path.strip_prefix(&folder.dir).unwrap_or(path).display().to_string();
    let found = if folder.in_repository { std::fs::symlink_metadata(path) } else { std::fs::metadata(path) };
    let metadata = match found {
        Ok(metadata) => metadata,
        Err(cause) if cause.kind() == ErrorKind::NotFound && !path.is_symlink() => return Ok(None),
        Err(cause) => return Err(unreadable(path, &cause)),
    };
    let limit = if folder.in_repository { REPOSITORY_LIMIT_BYTES } else { LIMIT_BYTES };
    if folder.in_repository {
        check_repository_file(path, &metadata, rustix::process::geteuid().as_raw())?;
    }
    let bytes = read_regular(path, &metadata, limit)?;
    let text = decode(&label, path, bytes)?;
    Ok(Some(Source { label, path: path.to_owned(), text }))
}

/// A file that others may change, or that points elsewhere, is not what the repository's owner wrote.
fn check_repository_file(path: &Path, metadata: &Metadata, user: u32) -> Result<()> {
    let shown = path.display();
    if metadata.file_type().is_symlink() {
        return Err(Failure::usage(format!(
            "`{shown}` is a symbolic link, which a repository's file may not be"
        )));
    }
    if metadata.uid() != user {
        return Err(Failure::usage(format!(
            "`{shown}` belongs to user {}, not to you (user {user})",
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(writable(path));
    }
    Ok(())
}

/// Others could put commands into the file.
pub(super) fn writable(path: &Path) -> Failure {
    let quoted = path.display().to_string();
    let quoted = shlex::try_quote(&quoted).unwrap_or_default();
    Failure::usage(format!("`{}` can be changed by other users", path.display()))
        .hint(format!("take that away: `chmod go-w {quoted}`"))
}

/// Reads a regular file that is not larger than the limit.
pub(super) fn read_regular(path: &Path, metadata: &Metadata, limit_bytes: u64) -> Result<Vec<u8>> {
    // Looked at before it is opened, since opening a pipe would wait for its other end.
    if !metadata.is_file() {
        return Err(Failure::usage(format!("`{}` is not a regular file", path.display())));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|cause| unreadable(path, &cause))?;
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|cause| unreadable(path, &cause))?;
    if bytes.len() as u64 > limit_bytes {
        let shown = path.display();
        return Err(Failure::usage(format!("`{shown}` is larger than {} KiB", limit_bytes >> 10)));
    }
    Ok(bytes)
}

pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::usage(cause).because(format!("cannot read `{}`", path.display()))
}

fn decode(label: &str, path: &Path, bytes: Vec<u8>) -> Result<String> {
    let refuse = |line: usize, column: usize, sentence: &str| {
        Failure::usage(format!("{label}:{line}:{column}: {sentence}"))
            .hint(format!("save `{}` as UTF-8 without a byte order mark", path.display()))
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || is_wide(&bytes) {
        return Err(refuse(1, 1, "the file is UTF-16, not UTF-8"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(refuse(1, 1, "the file starts with a byte order mark"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
        let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let byte = error.as_bytes()[at];
        refuse(valid.matches('\n').count() + 1, column, &format!("the byte 0x{byte:02x} is not UTF-8"))
    })
}

/// UTF-16 without a mark shows as a NUL in every other byte.
fn is_wide(bytes: &[u8]) -> bool {
    matches!(bytes, [0, first, 0, second, ..] | [first, 0, second, 0, ..] if *first != 0 && *second != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::config::testing::{put, report};

    fn folder(dir: &Path, in_repository: bool) -> ConfigFolder {
        ConfigFolder { dir: dir.to_owned(), in_repository }
    }

    fn refusal(dir: &Path, in_repository: bool) -> String {
        let failure = read_toml(&folder(dir, in_repository), &dir.join("projects.toml")).unwrap_err();
        report(&failure, dir)
    }

    #[test]
    fn a_missing_file_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_toml(&folder(dir.path(), true), &dir.path().join("projects.toml")).unwrap().is_none());
    }

    #[test]
    fn refuses_encodings() {
        let hint = "hint: save `DIR/projects.toml` as UTF-8 without a byte order mark\n";
        let cases: [(&[u8], &str); 5] = [
            (b"\xef\xbb\xbf[a]\n", "1:1: the file starts with a byte order mark"),
            (b"\xff\xfe[\0", "1:1: the file is UTF-16, not UTF-8"),
            (b"[\0a\0]\0", "1:1: the file is UTF-16, not UTF-8"),
            (b"\0[\0a", "1:1: the file is UTF-16, not UTF-8"),
            ("[a]\n# ä\n# ö\n".as_bytes(), ""),
        ];
        for (bytes, message) in cases {
            let dir = tempfile::tempdir().unwrap();
            put(dir.path(), "projects.toml", bytes);
            if message.is_empty() {
                assert!(read_toml(&folder(dir.path(), false), &dir.path().join("projects.toml")).is_ok());
            } else {
                assert_eq!(refusal(dir.path(), false), format!("error: projects.toml:{message}\n{hint}"));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "projects.toml", b"[a]\n# \xc3\xa4\xff\n");
        assert_eq!(
            refusal(dir.path(), false),
            format!("error: projects.toml:2:4: the byte 0xff is not UTF-8\n{hint}")
        );
    }

    #[test]
    fn a_repository_file_is_small_plain_and_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "projects.toml", vec![b'#'; (64 << 10) + 1]);
        assert_eq!(refusal(dir.path(), true), "error: `DIR/projects.toml` is larger than 64 KiB\n");
        assert!(read_toml(&folder(dir.path(), false), &dir.path().join("projects.toml")).is_ok());
        put(dir.path(), "projects.toml", vec![b'#'; (1 << 20) + 1]);
        assert_eq!(refusal(dir.path(), false), "error: `DIR/projects.toml` is larger than 1024 KiB\n");

        put(dir.path(), "projects.toml", b"");
        let path = dir.path().join("projects.toml");
        for mode in [0o664, 0o646] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                refusal(dir.path(), true),
                "error: `DIR/projects.toml` can be changed by other users\n\
                 hint: take that away: `chmod go-w DIR/projects.toml`\n"
            );
        }
        std::fs::rename(&path, dir.path().join("real.toml")).unwrap();
        symlink("real.toml", &path).unwrap();
        assert_eq!(
            refusal(dir.path(), true),
            "error: `DIR/projects.toml` is a symbolic link, which a repository's file may not be\n"
        );
        assert!(read_toml(&folder(dir.path(), false), &path).is_ok());
    }

    #[test]
    fn a_repository_file_belongs_to_the_user() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "projects.toml", "");
        let path = dir.path().join("projects.toml");
        let metadata = path.metadata().unwrap();
        let (owner, other) = (metadata.uid(), metadata.uid() + 1);
        assert!(check_repository_file(&path, &metadata, owner).is_ok());
        let failure = check_repository_file(&path, &metadata, other).unwrap_err();
        assert_eq!(
            report(&failure, dir.path()),
            format!("error: `DIR/projects.toml` belongs to user {owner}, not to you (user {other})\n")
        );
    }

    #[test]
    fn a_folder_or_a_dangling_link_is_not_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        symlink("nowhere", dir.path().join("projects.toml")).unwrap();
        assert_eq!(
            refusal(dir.path(), false),
            "error: cannot read `DIR/projects.toml`\ncaused by: No such file or directory (os error 2)\n"
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("projects.toml")).unwrap();
        assert_eq!(refusal(dir.path(), true), "error: `DIR/projects.toml` is not a regular file\n");
    }
}
