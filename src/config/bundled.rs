//! The profiles that come with `machine`, embedded from `profiles/` at compile time.
//!
//! Enters: nothing. Leaves: their files and names. A test compares the table with the folder.

use super::Profile;
use super::beside::Beside;
use super::profile::parse_profile;
use super::source::Source;
use crate::failure::{Failure, Result};

/// A bundled profile.
pub(super) struct Bundled {
    pub name: &'static str,
    /// Every file of its folder, by name.
    pub files: &'static [(&'static str, &'static [u8])],
}

/// Embeds the named files of `profiles/NAME/`.
macro_rules! bundled {
    ($name:literal: $($file:literal),+) => {
        Bundled {
            name: $name,
            files: &[$(($file, include_bytes!(concat!("../../profiles/", $name, "/", $file)))),+],
        }
    };
}

/// Every bundled profile, `base` first.
pub(super) const BUNDLED: &[Bundled] = &[
    bundled!("base": "profile.toml", "install.sh", "agents.sh", "agents.txt", "setup.sh", "pins.txt"),
    bundled!("cypress": "profile.toml"),
    bundled!("supabase-fly": "profile.toml", "setup.sh"),
    bundled!("python": "profile.toml"),
    bundled!("rust": "profile.toml", "install.sh", "setup.sh"),
    bundled!("go": "profile.toml", "install.sh", "setup.sh", "pins.txt"),
];

impl Bundled {
    /// The bundled profile of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        BUNDLED.iter().find(|bundled| bundled.name == name)
    }

    /// Its profile.toml, as a file that messages can point into.
    pub fn source(&self) -> Source {
        let label = format!("profiles/{}/profile.toml", self.name);
        let toml = self.files.iter().find(|(name, _)| *name == "profile.toml");
        let text = String::from_utf8_lossy(toml.map_or(&[], |(_, bytes)| *bytes)).into_owned();
        Source { path: label.clone().into(), label, text }
    }

    /// The profile itself.
    pub fn profile(&'static self) -> Result<Profile> {
        let name = self.name.parse().map_err(Failure::usage)?;
        parse_profile(&self.source(), Some(name), &Beside::Bundled(self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_table_is_the_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let mut on_disk = BTreeMap::new();
        let entries = std::fs::read_dir(root).unwrap().map(Result::unwrap);
        for profile in entries.filter(|entry| entry.path().is_dir()) {
            for file in std::fs::read_dir(profile.path()).unwrap().map(Result::unwrap) {
                let name = format!("{}/{}", profile.file_name().display(), file.file_name().display());
                on_disk.insert(name, std::fs::read(file.path()).unwrap());
            }
        }
        let files = |bundled: &'static Bundled| {
            let named =
                move |(file, bytes): &(&str, &[u8])| (format!("{}/{file}", bundled.name), bytes.to_vec());
            bundled.files.iter().map(named)
        };
        let embedded: BTreeMap<_, _> = BUNDLED.iter().flat_map(files).collect();
        assert_eq!(embedded, on_disk, "extend BUNDLED when profiles/ grows");
    }

    #[test]
    fn every_bundled_profile_is_valid_and_described() {
        assert_eq!(BUNDLED[0].name, "base");
        for bundled in BUNDLED {
            let profile = bundled.profile().unwrap();
            assert!(!profile.description.is_empty() && !profile.check.is_empty(), "{}", bundled.name);
            assert!(bundled.source().text.lines().count() <= 30, "{} is one to copy", bundled.name);
            for required in profile.requires {
                assert!(Bundled::find(required.as_str()).is_some(), "{} requires {required}", bundled.name);
            }
        }
    }
}
