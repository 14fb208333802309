//! The files that lie beside a profile.toml or provision.toml: scripts, keys, and what scripts use.
//!
//! Enters: names of files. Leaves: their bytes, or a sentence that says what is wrong.
//! Must not know what the files are for.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ConfigFolder;
use super::bundled::Bundled;
use super::source::{LIMIT_BYTES, read_regular};
use crate::model::shown;

/// A profile is a few scripts; this many files are something else that was put there by mistake.
const FILES_LIMIT: usize = 100;
/// All of them together; they travel to the guest with each script.
const SUM_LIMIT_BYTES: usize = 8 << 20;

/// Where the files lie.
pub(super) enum Beside<'a> {
    /// In the binary.
    Bundled(&'static Bundled),
    /// In a folder of the user or a repository.
    Folder { dir: &'a Path, folder: &'a ConfigFolder },
}

/// Whether a text names a file of the same folder.
pub(super) fn is_file_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    !text.is_empty() && text.len() <= 100 && !text.starts_with(['.', '-']) && text.chars().all(is_plain)
}

impl Beside<'_> {
    /// The folder whose profiles may be named; a bundled profile knows bundled ones only.
    pub fn folder(&self) -> Option<&ConfigFolder> {
        match self {
            Self::Bundled(_) => None,
            Self::Folder { folder, .. } => Some(folder),
        }
    }

    /// The bytes of one file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Bundled(bundled) => {
                let found = bundled.files.iter().find(|(file, _)| *file == name);
                found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| missing(name))
            }
            Self::Folder { dir, folder } => read_file(&dir.join(name), name, dir, folder),
        }
    }

    /// Every file by name, profile.toml included.
    pub fn all(&self) -> Result<BTreeMap<String, Vec<u8>>, String> {
        self.others(&[])
    }

    /// Every other file by name, but those whose name starts with a dot, which editors and file managers leave behind.
    pub fn others(&self, named: &[String]) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let others = self.list()?.into_iter().filter(|name| !named.contains(name) && !name.starts_with('.'));
        let mut files = BTreeMap::new();
        let mut sum_bytes = 0;
        for name in others {
            let bytes = self.read(&name)?;
            sum_bytes += bytes.len();
            if sum_bytes > SUM_LIMIT_BYTES {
                return Err(format!("its folder has more than {} MiB in it", SUM_LIMIT_BYTES >> 20));
            }
            files.insert(name, bytes);
        }
        Ok(files)
    }

    fn list(&self) -> Result<Vec<String>, String> {
        let dir = match self {
            Self::Bundled(bundled) => {
                return Ok(bundled.files.iter().map(|(name, _)| (*name).into()).collect());
            }
            Self::Folder { dir, .. } => dir,
        };
        let fault = |cause: std::io::Error| format!("cannot read the folder: {cause}");
        let entries = std::fs::read_dir(dir).map_err(fault)?.collect::<Result<Vec<_>, _>>().map_err(fault)?;
        if entries.len() > FILES_LIMIT {
            return Err(format!("its folder has more than {FILES_LIMIT} files"));
        }
        let name = |entry: std::fs::DirEntry| {
            let odd = |name: std::ffi::OsString| {
                format!("the file `{}` has an odd name", shown(&name.to_string_lossy()))
            };
            let name = entry.file_name().into_string().map_err(odd)?;
            if is_file_name(&name) || name.starts_with('.') { Ok(name) } else { Err(odd(name.into())) }
        };
        entries.into_iter().map(name).collect()
    }
}

/// The mode bits that a file may not have. A group of one's own is usual, so only a repository's files must be closed
/// to the group.
pub(super) fn writable_by_others(folder: &ConfigFolder) -> u32 {
    if folder.in_repository { 0o022 } else { 0o002 }
}

fn missing(name: &str) -> String {
    format!("there is no file `{name}` beside this one")
}

fn read_file(path: &Path, name: &str, dir: &Path, folder: &ConfigFolder) -> Result<Vec<u8>, String> {
    let metadata = check_file(path, name, dir, folder)?;
    read_regular(path, &metadata, LIMIT_BYTES).map_err(|failure| failure.error.to_string())
}

/// Judges a file of a profile before anything of it is read.
pub(super) fn check_file(
    path: &Path,
    name: &str,
    dir: &Path,
    folder: &ConfigFolder,
) -> Result<Metadata, String> {
    let cannot = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::NotFound => missing(name),
        _ => format!("cannot read `{name}`: {cause}"),
    };
    let real = path.canonicalize().map_err(cannot)?;
    if !dir.canonicalize().is_ok_and(|dir| real.starts_with(dir)) {
        return Err(format!("`{name}` is a link that leads out of its folder"));
    }
    let metadata = real.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(format!("`{name}` is a folder, and a profile has files only"));
    }
    if metadata.mode() & writable_by_others(folder) != 0 {
        return Err(format!("`{name}` can be changed by other users; take that away with `chmod go-w`"));
    }
    Ok(metadata)
}
