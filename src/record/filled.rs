//! `state/machines/NAME/secrets.json`: with which secrets the guest was filled last, and over which connection.
//!
//! Enters: a digest of where they come from, the connection. Leaves: whether they are still there, as far as that can be
//! known without asking. A boot of the guest ends its connections, and its secrets with it. No name and no value is in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::failure::{Failure, Result};
use crate::layout::Layout;

/// A set of secrets that was put into the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// Tells one set from another, by where its values come from.
    pub digest: String,
    /// The connection that was open then, or when the guest last said that it has them.
    pub connection: String,
}

impl Filled {
    fn path(layout: &Layout, name: &str) -> PathBuf {
        layout.machine(name).join("secrets.json")
    }

    /// What the guest was filled with; `None` when it was not, or nobody knows.
    pub fn load(layout: &Layout, name: &str) -> Option<Self> {
        serde_json::from_slice(&disk::read_if_there(&Self::path(layout, name)).ok()??).ok()
    }

    /// Writes it down.
    pub fn save(&self, layout: &Layout, name: &str) -> Result<()> {
        let text = serde_json::to_vec(self);
        let text = text.map_err(|cause| Failure::operation(format!("failed to write a record: {cause}")))?;
        disk::ensure_private_folder(&layout.machine(name))?;
        disk::write_atomic(&Self::path(layout, name), &text, 0o600)
    }

    /// Keeps only that the guest may have them: no connection has that name, so that the next session asks. Whether it may.
    pub fn doubt(layout: &Layout, name: &str) -> Result<bool> {
        let Some(filled) = Self::load(layout, name) else { return Ok(false) };
        Self { connection: String::new(), ..filled }.save(layout, name)?;
        Ok(true)
    }

    /// Forgets it: the guest has none, or will not have them when it runs again.
    pub fn forget(layout: &Layout, name: &str) -> Result<()> {
        disk::remove_file(&Self::path(layout, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path(), |_| None);
        assert_eq!(Filled::load(&layout, "blog"), None);
        let filled = Filled { digest: "ab".into(), connection: "7-8".into() };
        filled.save(&layout, "blog").expect("saved");
        assert_eq!(Filled::load(&layout, "blog"), Some(filled.clone()));
        assert!(Filled::doubt(&layout, "blog").expect("noted"));
        assert_eq!(Filled::load(&layout, "blog"), Some(Filled { connection: String::new(), ..filled }));
        disk::write_atomic(&Filled::path(&layout, "blog"), b"{\"digest\":", 0o600).expect("cut");
        assert_eq!(Filled::load(&layout, "blog"), None);
        Filled::forget(&layout, "blog").expect("forgotten");
        Filled::forget(&layout, "blog").expect("twice");
        assert!(!Filled::doubt(&layout, "blog").expect("none"));
    }
}
