//! A box as a folder that can be carried to another computer, and back into a cache.
//!
//! Enters: a box, or such a folder. Leaves: the other one. Everything is checked against `SHA256SUMS` before it is
//! used; whether its origin is trusted is asked above. `zstd` packs the disk, as a program of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::manifest::{MOST_DISK_BYTES, Manifest};
use super::plain;
use super::staging::Staging;
use super::store::{CachedBox, Store};
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::lima::image::{sha256_file, sha256_of};
use crate::model::hex;
use crate::process::{Cmd, Runner};

/// The list of checksums, in the form that `sha256sum --check` reads.
const SUMS: &str = "SHA256SUMS";
/// The packed disk.
const PACKED: &str = "disk.zst";
/// Every other file of a saved box, and the bytes that it may have: far more than any has.
const FILES: [(&str, u64); 5] = [
    ("box.json", 1 << 20),
    ("packages.txt", 16 << 20),
    ("vmlinuz", 1 << 30),
    ("initrd", 1 << 30),
    (PACKED, MOST_DISK_BYTES),
];
const MOST_SUMS_BYTES: u64 = 64 << 10;
/// How long packing or unpacking a disk may take.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// A saved box whose files are what its checksums say.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    /// What it says it is.
    pub manifest: Manifest,
    /// What was installed, one line a package.
    pub packages: String,
    /// Over the list of checksums, and so over everything.
    pub digest: String,
}

/// Writes a box into `folder`, which must be empty or new.
///
/// # Errors
/// When the folder is not empty, or there is no room. What was written is removed again.
pub fn save(cached: &CachedBox, folder: &Path, runner: &Runner) -> Result<String> {
    if !disk::names_in(folder).is_empty() {
        return Err(Failure::usage(format!("`{}` is not empty", folder.display()))
            .hint("name a folder that is empty, or is to be made"));
    }
    fs::create_dir_all(folder).because(|| format!("failed to make `{}`", folder.display()))?;
    let saved = write_all(cached, folder, runner);
    if saved.is_err() {
        for name in disk::names_in(folder) {
            disk::remove_file(&folder.join(name))?;
        }
    }
    saved
}

fn write_all(cached: &CachedBox, folder: &Path, runner: &Runner) -> Result<String> {
    let mut names = vec!["box.json", "packages.txt"];
    if cached.manifest.kernel.is_some() {
        names.extend(["vmlinuz", "initrd"]);
    }
    for name in &names {
        let bytes = disk::read_if_there(&cached.folder.join(name))?.unwrap_or_default();
        disk::write_atomic(&folder.join(name), &bytes, 0o644)?;
    }
    runner.run(&pack_command(&cached.folder.join("disk"), &folder.join(PACKED)))?;
    names.push(PACKED);
    let lines = names.iter().map(|name| Ok(format!("{}  {name}\n", sha256_file(&folder.join(name))?)));
    let sums = lines.collect::<Result<String>>()?;
    disk::write_atomic(&folder.join(SUMS), sums.as_bytes(), 0o644)?;
    sha256_file(&folder.join(SUMS))
}

/// The command that packs a disk.
pub fn pack_command(from: &Path, to: &Path) -> Cmd {
    Cmd::new("zstd").args(["-q", "-T0", "-f", "-o"]).arg(to).arg("--").arg(from).own_group().time_limit(LIMIT)
}

/// The command that unpacks a disk, holes as holes.
fn unpack_command(from: &Path, to: &Path) -> Cmd {
    let flags = ["-d", "-q", "-f", "--sparse", "-o"];
    Cmd::new("zstd").args(flags).arg(to).arg("--").arg(from).own_group().time_limit(LIMIT)
}

impl Archive {
    /// Reads a saved box and checks every file of it.
    ///
    /// # Errors
    /// When a file is missing, is not what its checksum says, is not a plain file, or is larger than any is.
    pub fn open(folder: &Path) -> Result<Self> {
        let sums = folder.join(SUMS);
        if fs::symlink_metadata(&sums).is_err() {
            return Err(Failure::usage(format!(
                "there is no saved box in `{}`: no `{SUMS}`",
                folder.display()
            ))
            .hint("save one: `machine box save DIR`"));
        }
        let text = plain::read(&sums, MOST_SUMS_BYTES)?;
        let digest = hex(&Sha256::digest(&text));
        let text = String::from_utf8_lossy(&text);
        let listed: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once("  ")).collect();
        for (sum, name) in &listed {
            check_file(folder, name, sum)?;
        }
        let not_whole = || {
            Failure::operation(format!(
                "the saved box in `{}` is not whole, or of another version",
                folder.display()
            ))
            .hint("copy the folder again from where it was saved, or save the box with this `machine`")
        };
        // What was compared above is read once more, and compared again: it may have been replaced since.
        let read = |name: &str| {
            let (sum, _) = listed.iter().find(|(_, listed)| *listed == name).ok_or_else(not_whole)?;
            let path = folder.join(name);
            let bytes = plain::read(&path, limit_bytes(name).ok_or_else(not_whole)?)?;
            compare(&path, &hex(&Sha256::digest(&bytes)), sum).map(|()| bytes)
        };
        let has = |name: &str| listed.iter().any(|(_, listed)| *listed == name);
        let manifest = Manifest::parse(&read("box.json")?)
            .filter(Manifest::is_sound)
            .filter(|manifest| has(PACKED) && (manifest.kernel.is_none() || has("vmlinuz") && has("initrd")))
            .ok_or_else(not_whole)?;
        let packages = String::from_utf8_lossy(&read("packages.txt")?).into_owned();
        Ok(Self { folder: folder.to_owned(), manifest, packages, digest })
    }

    /// Puts it into the cache.
    ///
    /// # Errors
    /// When its disk cannot be unpacked, or is not the one of the manifest. The cache is as it was then.
    pub fn load(&self, store: &Store, runner: &Runner) -> Result<()> {
        disk::ensure_private_folder(store.folder())?;
        let staging = Staging::of(store, &self.manifest.key);
        staging.begin()?;
        let loaded = self.unpack(&staging, runner).and_then(|()| staging.publish_as(store, &self.manifest));
        if loaded.is_err() {
            disk::remove_folder(&staging.path(""))?;
        }
        loaded
    }

    fn unpack(&self, staging: &Staging, runner: &Runner) -> Result<()> {
        disk::write_atomic(&staging.path("packages.txt"), self.packages.as_bytes(), 0o600)?;
        let kernel = self.manifest.kernel.is_some().then_some(["vmlinuz", "initrd"]);
        for name in kernel.into_iter().flatten() {
            let bytes = plain::read(&self.folder.join(name), limit_bytes(name).unwrap_or_default())?;
            disk::write_atomic(&staging.path(name), &bytes, 0o600)?;
        }
        runner.run(&unpack_command(&self.folder.join(PACKED), &staging.path("disk")))?;
        staging.describe(&self.manifest)
    }
}

/// What a file of this name may have; `None` for one that no saved box has.
fn limit_bytes(name: &str) -> Option<u64> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, limit)| *limit)
}

fn check_file(folder: &Path, name: &str, sum: &str) -> Result<()> {
    let path = folder.join(name);
    let Some(limit_bytes) = limit_bytes(name) else {
        return Err(Failure::operation(format!("`{}` is no file of a saved box", path.display()))
            .hint(plain::COPY_AGAIN));
    };
    let actual = sha256_of(&mut plain::open(&path, limit_bytes)?);
    compare(&path, &actual.because(|| format!("failed to read `{}`", path.display()))?, sum)
}

fn compare(path: &Path, actual: &str, expected: &str) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    Err(Failure::operation(format!("its SHA-256 is {actual}, expected {expected}"))
        .because(format!("`{}` is damaged", path.display()))
        .hint(plain::COPY_AGAIN))
}
