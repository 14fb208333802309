//! The one line we ever add to the user's own `~/.ssh/config`.
//!
//! Enters: the file as it is: missing, a link, with CRLF, without a final newline. Leaves: the same file with, or
//! without, that line. Everything else in it stays byte for byte.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::disk;
use crate::failure::{Context, Failure, Result};

/// Relative paths in an `Include` of the user's file are below `~/.ssh`.
const LINE: &str = "Include config.d/machine";

/// Whether ssh reads our blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludeState {
    /// The line is there, before any `Host` or `Match`.
    Present,
    /// The line is there, but inside somebody's `Host` or `Match`, where it counts only for those.
    TooLow,
    /// The line is not there.
    Missing,
}

/// Judges a configuration's text.
pub fn include_state(text: &str) -> IncludeState {
    let mut below_a_host = false;
    for line in text.lines().map(str::trim) {
        if is_ours(line) {
            return if below_a_host { IncludeState::TooLow } else { IncludeState::Present };
        }
        let keyword = line.split(|c: char| c.is_whitespace() || c == '=').next().unwrap_or_default();
        below_a_host |= keyword.eq_ignore_ascii_case("host") || keyword.eq_ignore_ascii_case("match");
    }
    IncludeState::Missing
}

fn is_ours(line: &str) -> bool {
    let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
    let keyword = words.next().unwrap_or_default();
    keyword.eq_ignore_ascii_case("include") && words.any(|word| word.trim_matches('"') == "config.d/machine")
}

/// Adds the line at the top unless it is there; true when the file was changed.
///
/// # Errors
/// When the file belongs to somebody else, or others may write it, or it cannot be written. It then is unchanged.
pub fn ensure_include(config: &Path) -> Result<bool> {
    let text = disk::read_text_if_there(config)?.unwrap_or_default();
    if include_state(&text) == IncludeState::Present {
        return Ok(false);
    }
    let rest = without_line(&text);
    let newline = if rest.contains("\r\n") { "\r\n" } else { "\n" };
    replace(config, &format!("{LINE}{newline}{rest}"))?;
    Ok(true)
}

/// Takes the line out again; true when the file was changed.
///
/// # Errors
/// As [`ensure_include`].
pub fn remove_include(config: &Path) -> Result<bool> {
    let text = disk::read_text_if_there(config)?.unwrap_or_default();
    let rest = without_line(&text);
    if rest == text {
        return Ok(false);
    }
    replace(config, &rest)?;
    Ok(true)
}

fn without_line(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !is_ours(line.trim())).collect()
}

/// Writes through a link to its target, as people who keep their dotfiles in a repository expect.
fn replace(config: &Path, text: &str) -> Result<()> {
    let folder = config.parent().unwrap_or(Path::new("/"));
    disk::ensure_private_folder(folder)?;
    let target: PathBuf = if config.is_symlink() {
        fs::canonicalize(config).because(|| format!("failed to follow the link `{}`", config.display()))?
    } else {
        config.to_owned()
    };
    let mut mode = 0o600;
    if let Ok(metadata) = fs::metadata(&target) {
        mode = metadata.permissions().mode() & 0o777;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(refused(&target, "it belongs to another user"));
        }
        if mode & 0o022 != 0 {
            return Err(refused(&target, "others may write it"));
        }
        if mode & 0o200 == 0 {
            return Err(refused(&target, "it is read-only"));
        }
    }
    disk::write_atomic(&target, text.as_bytes(), mode)
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::operation(format!("will not change `{}`: {why}", path.display()))
        .hint(format!("put this line at its top yourself: `{LINE}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_where_the_line_counts() {
        assert_eq!(include_state("Include config.d/machine\nHost *\n"), IncludeState::Present);
        assert_eq!(include_state("# mine\r\ninclude=\"config.d/machine\"\r\n"), IncludeState::Present);
        assert_eq!(include_state("Host *\n  Include config.d/machine\n"), IncludeState::TooLow);
        assert_eq!(include_state("Include config.d/*\n"), IncludeState::Missing);
        assert_eq!(include_state(""), IncludeState::Missing);
    }

    #[test]
    fn adds_and_removes_nothing_but_the_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("config");
        for text in
            ["", "Host *\n  User me", "Host a\r\n  User b\r\n", "Match all\n  Include config.d/machine\n"]
        {
            disk::write_atomic(&config, text.as_bytes(), 0o644).expect("written");
            assert!(ensure_include(&config).expect("added"));
            let with = fs::read_to_string(&config).expect("text");
            assert_eq!(include_state(&with), IncludeState::Present, "{with:?}");
            assert!(!ensure_include(&config).expect("there already"));
            assert!(remove_include(&config).expect("removed"));
            assert_eq!(fs::read_to_string(&config).expect("text"), without_line(text));
        }
        assert_eq!(fs::metadata(&config).expect("metadata").permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn writes_through_a_link_and_refuses_what_others_may_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("dotfiles"), folder.path().join("config"));
        disk::write_atomic(&real, b"Host *\n", 0o600).expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        assert!(ensure_include(&link).expect("added"));
        assert!(link.is_symlink());
        assert!(fs::read_to_string(&real).expect("text").starts_with(LINE));
        fs::set_permissions(&real, fs::Permissions::from_mode(0o666)).expect("mode");
        assert!(remove_include(&link).is_err());
    }
}
