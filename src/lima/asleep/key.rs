//! The key of a machine's memory: fresh for each sleep, in the user's runtime folder only, which the end of the boot or
//! of the log-in takes away.
//!
//! Enters: a machine's uuid. Leaves: a key, or why there is none. Never printed, never on the disk beside the image.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use orion::hazardous::aead::streaming::SecretKey;

use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::layout::Layout;

/// Its length in bytes.
const LENGTH: usize = 32;

/// Whether there is a place for a key.
///
/// # Errors
/// When there is none; what to do about it is in the hint.
pub fn check(layout: &Layout) -> Result<()> {
    folder(layout).map(drop).map_err(|failure| {
        failure.hint(
            "log in so that XDG_RUNTIME_DIR is set (a desktop, ssh and `su -` do), or use `machine down`",
        )
    })
}

/// Makes a new key and keeps it; the one before is gone.
///
/// # Errors
/// When there is no folder that only this user may enter, and that ends with the boot. Nothing is left then.
pub(super) fn create(layout: &Layout, uuid: &str) -> Result<SecretKey> {
    check(layout)?;
    let folder = folder(layout)?;
    let bytes: [u8; LENGTH] = random()?;
    disk::ensure_private_folder(&folder)?;
    disk::write_atomic(&path(&folder, uuid), &bytes, 0o600)?;
    to_key(&bytes)
}

/// The key of a machine that sleeps; `None` when it is gone: its folder has none of its length, or is gone itself, as after
/// the last log-in has ended.
///
/// # Errors
/// When nobody can tell: this process has no runtime folder, or may not read the key. It may well be there for another.
pub(super) fn load(layout: &Layout, uuid: &str) -> Result<Option<SecretKey>> {
    let is_gone = |folder: &PathBuf| folder.parent().is_some_and(|above| !above.exists());
    if layout.runtime.as_ref().is_some_and(is_gone) {
        return Ok(None);
    }
    let bytes = disk::read_if_there(&path(&folder(layout)?, uuid))?;
    Ok(bytes.and_then(|bytes| to_key(&bytes).ok()))
}

/// Removes the key, if there is one.
pub(super) fn forget(layout: &Layout, uuid: &str) -> Result<()> {
    layout.runtime.as_ref().map_or(Ok(()), |folder| disk::remove_file(&path(folder, uuid)))
}

/// Bytes that nobody can guess.
pub fn random<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0u8; COUNT];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.because(|| "failed to read `/dev/urandom`")?;
    Ok(bytes)
}

fn to_key(bytes: &[u8]) -> Result<SecretKey> {
    SecretKey::try_from(bytes).map_err(|_refused| Failure::operation("a key has another length"))
}

fn path(folder: &Path, uuid: &str) -> PathBuf {
    folder.join(format!("{uuid}.key"))
}

/// Our folder below `XDG_RUNTIME_DIR`, which must be as its standard asks: this user's, and nobody else's.
fn folder(layout: &Layout) -> Result<PathBuf> {
    let refuse = |why: String| {
        Failure::operation(why)
            .because("the memory of a machine is encrypted with a key that must not outlive the boot")
    };
    let Some(folder) = &layout.runtime else {
        return Err(refuse("there is no runtime folder: XDG_RUNTIME_DIR is not set".into()));
    };
    let above = folder.parent().unwrap_or(folder);
    let Ok(metadata) = std::fs::metadata(above) else {
        return Err(refuse(format!("the runtime folder `{}` is not there", above.display())));
    };
    let is_open = !metadata.is_dir() || metadata.mode() & 0o077 != 0;
    if is_open || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse(format!("others may enter the runtime folder `{}`", above.display())));
    }
    Ok(folder.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn layout(runtime: Option<&Path>) -> Layout {
        let home = Path::new("/nowhere");
        Layout::new(home, |name| (name == "XDG_RUNTIME_DIR").then(|| runtime.map(Path::to_owned)).flatten())
    }

    #[test]
    fn a_key_is_private_fresh_and_can_be_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("mode");
        let layout = layout(Some(folder.path()));
        let first = create(&layout, "u").expect("made");
        let again = load(&layout, "u").expect("read").expect("there");
        assert!(first == again);
        assert!(create(&layout, "u").expect("made") != first);
        let ours = folder.path().join("machine");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&ours), mode(&ours.join("u.key"))), (0o700, 0o600));
        forget(&layout, "u").expect("gone");
        forget(&layout, "u").expect("still gone");
        assert!(load(&layout, "u").expect("looked").is_none());
    }

    #[test]
    fn a_folder_that_others_may_enter_holds_no_key() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
        assert!(load(&layout(Some(Path::new("/nowhere/at/all"))), "u").expect("looked").is_none());
        create(&layout(Some(Path::new("/nowhere/at/all"))), "u").expect_err("refused");
        for runtime in [None, Some(folder.path())] {
            let failure = create(&layout(runtime), "u").expect_err("refused");
            assert!(failure.hints[0].contains("XDG_RUNTIME_DIR"), "{failure:?}");
            // That is no word on whether there is a key.
            load(&layout(runtime), "u").expect_err("nobody can tell");
        }
        assert!(disk::names_in(folder.path()).is_empty());
    }
}
