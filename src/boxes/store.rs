//! The folder of boxes: looking one up, noticing that it is damaged, listing, removing.
//!
//! Enters: keys. Leaves: boxes whose files are the ones that were published. Whether they are is first asked of the
//! filesystem (size, times, inode), and only where that differs of their contents.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::digest::digest;
use super::manifest::Manifest;
use crate::disk::{self, file_allocated_bytes};
use crate::failure::{Failure, Result};
use crate::layout::Layout;
use crate::lima::LocalImage;

/// By what a file is known again without reading it.
type Print = (u64, u64, i64, i64);

/// The cache.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A box that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedBox {
    /// What it is.
    pub manifest: Manifest,
    /// Where it lies.
    pub folder: PathBuf,
}

/// What looking a box up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there, and what it was.
    Whole(Box<CachedBox>),
    /// Something of that name is there, and why it is no good.
    Damaged(String),
    /// There is none.
    Missing,
}

impl Store {
    /// The cache of this user.
    pub fn new(layout: &Layout) -> Self {
        Self { folder: layout.cache.join("boxes") }
    }

    /// Where all boxes lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of one box.
    pub fn place(&self, key: &str) -> PathBuf {
        self.folder.join(key)
    }

    /// Looks a box up. A damaged one stays where it is, and so does one that cannot be read: it is as little good.
    pub fn find(&self, key: &str) -> Found {
        let place = self.place(key);
        let Ok(metadata) = fs::metadata(&place).or_else(|_| fs::symlink_metadata(&place)) else {
            return Found::Missing;
        };
        if !metadata.is_dir() {
            return Found::Damaged("it is no folder".into());
        }
        let text = match disk::read_if_there(&place.join("box.json")) {
            Ok(text) => text.unwrap_or_default(),
            Err(failure) => return Found::Damaged(unreadable("box.json", &failure)),
        };
        let Some(manifest) = Manifest::parse(&text).filter(|manifest| manifest.key == key) else {
            return Found::Damaged("its `box.json` cannot be read".into());
        };
        match Self::find_fault(&place, &manifest) {
            Some(fault) => Found::Damaged(fault),
            None => Found::Whole(Box::new(CachedBox { manifest, folder: place })),
        }
    }

    /// What is wrong with the files of a box. Reads them only when they are not the ones it saw last.
    fn find_fault(place: &Path, manifest: &Manifest) -> Option<String> {
        for (name, note) in manifest.files() {
            let path = place.join(name);
            let Ok(metadata) = fs::metadata(&path) else { return Some(format!("its `{name}` is gone")) };
            if metadata.len() != note.bytes {
                return Some(format!("its `{name}` has {} bytes, not {}", metadata.len(), note.bytes));
            }
        }
        let prints = prints_of(place, manifest);
        if seen(place) == Some(prints) {
            return None;
        }
        for (name, note) in manifest.files() {
            match digest(&place.join(name)) {
                Ok(found) if found == note.digest => {}
                Ok(_) => return Some(format!("the contents of its `{name}` are not what they were")),
                Err(failure) => return Some(unreadable(name, &failure)),
            }
        }
        // Not noted, it is read again the next time.
        let _ = Self::remember(place);
        None
    }

    /// Notes how the files of a box look now, which is how they look when they are whole.
    pub(super) fn remember(place: &Path) -> Result<()> {
        let text = disk::read_if_there(&place.join("box.json"))?.unwrap_or_default();
        let Some(manifest) = Manifest::parse(&text) else { return Ok(()) };
        let prints = serde_json::to_vec(&prints_of(place, &manifest));
        let prints = prints.map_err(|cause| Failure::operation(format!("failed to write JSON: {cause}")))?;
        disk::write_atomic(&place.join("seen.json"), &prints, 0o600)
    }

    /// Every box, the damaged ones too, by key.
    pub fn list(&self) -> Vec<(String, Found)> {
        let keys = disk::names_in(&self.folder).into_iter().filter(|name| !name.starts_with('.'));
        keys.map(|key| (key.clone(), self.find(&key))).collect()
    }

    /// Removes a box, at once for those who look, then from the disk. Machines made from it have copies.
    pub fn remove(&self, key: &str) -> Result<()> {
        let (place, old) = (self.place(key), format!(".old-{key}"));
        self.remove_left(&old)?;
        match fs::rename(&place, self.folder.join(&old)) {
            Ok(()) => self.remove_left(&old),
            // There was none, or it cannot be renamed: then it cannot be removed either, which says why.
            Err(_) => self.remove_left(key),
        }
    }

    /// Removes what is called `name` in the folder of boxes, whatever it is.
    pub fn remove_left(&self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
            return disk::remove_file(&path);
        }
        // One that its owner may not enter could not be emptied; what is wrong beyond that, the removal says.
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
        disk::remove_folder(&path)
    }

    /// Notes that a box was used now.
    pub fn touch(&self, key: &str) -> Result<()> {
        disk::write_atomic(&self.place(key).join("used"), now().to_string().as_bytes(), 0o600)
    }
}

impl CachedBox {
    /// What Lima makes a machine from. Hosts that cannot boot the box's own kernel leave it out.
    pub fn image(&self, boots_kernel: bool) -> LocalImage {
        let kernel = self
            .manifest
            .kernel
            .as_ref()
            .filter(|_| boots_kernel)
            .map(|note| (self.folder.join("vmlinuz"), self.folder.join("initrd"), note.cmdline.clone()));
        LocalImage { location: self.folder.join("disk"), kernel }
    }

    /// What it takes on the host's disk.
    pub fn allocated_bytes(&self) -> u64 {
        self.manifest.files().iter().map(|(name, _)| file_allocated_bytes(&self.folder.join(name))).sum()
    }

    /// When a machine was last made from it, or it was built, in seconds since 1970.
    pub fn last_used(&self) -> u64 {
        let text = disk::read_text_if_there(&self.folder.join("used")).ok().flatten().unwrap_or_default();
        text.trim().parse().unwrap_or(self.manifest.created)
    }

    /// What was installed, one line a package; empty when nobody wrote it down.
    pub fn packages(&self) -> String {
        disk::read_text_if_there(&self.folder.join("packages.txt")).ok().flatten().unwrap_or_default()
    }
}

fn unreadable(name: &str, failure: &Failure) -> String {
    format!("its `{name}` cannot be read: {}", failure.error.root_cause())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn seen(place: &Path) -> Option<BTreeMap<String, Print>> {
    let bytes = disk::read_if_there(&place.join("seen.json")).ok()??;
    serde_json::from_slice(&bytes).ok()
}

fn prints_of(place: &Path, manifest: &Manifest) -> BTreeMap<String, Print> {
    let print = |name: &str| {
        let metadata = fs::metadata(place.join(name)).ok()?;
        // The time of the last change of the inode: nobody sets that back.
        let changed = metadata.ctime().saturating_mul(1_000_000_000) + metadata.ctime_nsec();
        let modified = metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec();
        Some((metadata.ino(), metadata.len(), changed, modified))
    };
    let files = manifest.files().into_iter();
    files.filter_map(|(name, _)| Some((name.to_string(), print(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::Staging;
    use crate::boxes::manifest::FileNote;
    use crate::process::Interrupt;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    struct Place {
        _home: tempfile::TempDir,
        store: Store,
        machine: PathBuf,
    }

    fn place() -> Place {
        let home = tempfile::tempdir().expect("a folder");
        let store = Store::new(&Layout::new(home.path(), |_| None));
        let machine = home.path().join("disk");
        disk::write_atomic(&machine, b"a disk with a system", 0o600).expect("written");
        Place { store, machine, _home: home }
    }

    fn manifest() -> Manifest {
        Manifest {
            schema: Manifest::SCHEMA,
            key: KEY.into(),
            name: "base".into(),
            image: "debian-13".into(),
            arch: "amd64".into(),
            created: now(),
            max_age_days: 30,
            has_ca_certs: false,
            steps: Vec::new(),
            disk: FileNote::default(),
            kernel: None,
        }
    }

    fn publish(place: &Place) -> Staging {
        let staging = Staging::of(&place.store, KEY);
        staging.begin().expect("begun");
        staging.describe(&manifest()).expect("described");
        assert!(!staging.has_disk());
        staging.take_disk(&place.machine, &Interrupt::default()).expect("taken");
        assert!(staging.has_disk() && !place.machine.exists());
        assert!(!whole(&place.store));
        staging.publish(&place.store).expect("published");
        staging
    }

    fn whole(store: &Store) -> bool {
        matches!(store.find(KEY), Found::Whole(_))
    }

    #[test]
    fn a_box_is_there_once_it_is_published() {
        let place = place();
        let staging = publish(&place);
        assert!(whole(&place.store));
        assert!(!staging.path("").exists());
        assert_eq!(place.store.list().len(), 1);
        place.store.remove(KEY).expect("removed");
        assert_eq!(place.store.find(KEY), Found::Missing);
        assert!(disk::names_in(place.store.folder()).is_empty());
    }

    #[test]
    fn a_changed_byte_and_a_cut_are_damage() {
        let place = place();
        publish(&place);
        let path = place.store.place(KEY).join("disk");
        disk::write_atomic(&path, b"a disk with a sYstem", 0o600).expect("written");
        let Found::Damaged(why) = place.store.find(KEY) else { panic!("not noticed") };
        assert_eq!(why, "the contents of its `disk` are not what they were");
        disk::write_atomic(&path, b"a disk", 0o600).expect("written");
        let Found::Damaged(why) = place.store.find(KEY) else { panic!("not noticed") };
        assert_eq!(why, "its `disk` has 6 bytes, not 20");
        disk::remove_file(&path).expect("removed");
        assert!(matches!(place.store.find(KEY), Found::Damaged(_)));
    }

    #[test]
    fn a_box_that_was_copied_elsewhere_and_back_is_whole() {
        let place = place();
        publish(&place);
        let path = place.store.place(KEY).join("disk");
        disk::write_atomic(&path, b"a disk with a system", 0o600).expect("written");
        let before = seen(&place.store.place(KEY));
        assert!(whole(&place.store));
        assert_ne!(seen(&place.store.place(KEY)), before, "it is not read again the next time");
    }

    #[test]
    fn a_damaged_or_newer_manifest_makes_no_box() {
        let place = place();
        publish(&place);
        let path = place.store.place(KEY).join("box.json");
        let text = fs::read(&path).expect("read");
        for cut in 0..text.len() - 1 {
            disk::write_atomic(&path, &text[..cut], 0o600).expect("cut");
            assert!(!whole(&place.store), "cut at {cut}");
        }
        let newer = Manifest { schema: Manifest::SCHEMA + 1, ..manifest() };
        disk::write_atomic(&path, &serde_json::to_vec(&newer).expect("JSON"), 0o600).expect("written");
        assert!(!whole(&place.store));
    }

    #[test]
    fn the_box_of_another_key_is_not_taken() {
        let place = place();
        publish(&place);
        fs::rename(place.store.place(KEY), place.store.place("ff")).expect("renamed");
        assert!(matches!(place.store.find("ff"), Found::Damaged(_)));
    }

    #[test]
    fn what_cannot_be_read_is_damaged_and_can_be_removed() {
        let place = place();
        let found = || match &place.store.list()[..] {
            [(_, Found::Damaged(why))] => why.clone(),
            other => panic!("{other:?}"),
        };
        publish(&place);
        let box_json = place.store.place(KEY).join("box.json");
        disk::remove_file(&box_json).expect("removed");
        fs::create_dir(&box_json).expect("a folder");
        assert!(found().starts_with("its `box.json` cannot be read: "), "{}", found());
        place.store.remove(KEY).expect("removed");
        disk::write_atomic(&place.store.place(KEY), b"", 0o600).expect("written");
        assert_eq!(found(), "it is no folder");
        // A box may take its place.
        disk::write_atomic(&place.machine, b"a disk with a system", 0o600).expect("written");
        publish(&place);
        assert!(whole(&place.store));
    }
}
