//! The profiles that projects can name: bundled ones and the folders of one's own, to be listed and copied.
//!
//! Enters: configuration folders. Leaves: each profile or what is wrong with it, the files of one, a place for a new one.
//! Must not know how a profile is shown or written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::beside::Beside;
use super::bundled::{BUNDLED, Bundled};
use super::stack::{describe_missing, load_judged, load_profile, own_profiles};
use super::{ConfigFolder, Profile};
use crate::failure::{Failure, Result};
use crate::model::ProfileName;

/// A profile as it stands on the shelf.
#[derive(Debug)]
pub struct ListedProfile {
    /// Its name, or that of a folder that cannot be a profile.
    pub name: String,
    /// Where it lies; a bundled one is in the binary.
    pub dir: Option<PathBuf>,
    /// What it says, or why it cannot be used.
    pub profile: Result<Profile>,
}

/// Every profile, the bundled ones first, then those of each folder by name.
pub fn list_profiles(folders: &[&ConfigFolder]) -> Vec<ListedProfile> {
    let bundled = BUNDLED.iter().map(|bundled| ListedProfile {
        name: bundled.name.to_owned(),
        dir: None,
        profile: bundled.profile(),
    });
    bundled.chain(folders.iter().flat_map(|folder| list_own(folder))).collect()
}

fn list_own(folder: &ConfigFolder) -> Vec<ListedProfile> {
    let entries = std::fs::read_dir(folder.profiles_dir()).into_iter().flatten().flatten();
    // A README beside the profiles is none of them; a link may lead to one.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()));
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    let judge = |name: String| {
        let parsed: Result<ProfileName> = name.parse().map_err(Failure::usage);
        let profile = parsed.and_then(|parsed| load_judged(&parsed, folder));
        ListedProfile { dir: Some(folder.profiles_dir().join(&name)), name, profile }
    };
    names.into_iter().map(judge).collect()
}

/// The names alone, none of them judged.
pub fn profile_names(folders: &[&ConfigFolder]) -> Vec<String> {
    let own = folders.iter().flat_map(|folder| own_profiles(folder));
    let mut names: Vec<String> = BUNDLED.iter().map(|bundled| bundled.name.to_owned()).chain(own).collect();
    names.sort();
    names.dedup();
    names
}

/// Every file of a profile by name: of a bundled one, else of the first folder that has it.
pub fn files_to_copy(name: &ProfileName, folders: &[&ConfigFolder]) -> Result<BTreeMap<String, Vec<u8>>> {
    let of = |beside: &Beside<'_>| {
        beside.all().map_err(|sentence| Failure::usage(format!("profile `{name}`: {sentence}")))
    };
    if let Some(bundled) = Bundled::find(name.as_str()) {
        return of(&Beside::Bundled(bundled));
    }
    let has = |folder: &&&ConfigFolder| own_profiles(folder).iter().any(|own| own == name.as_str());
    let Some(folder) = folders.iter().find(has) else {
        let missing = folders.last().and_then(|folder| describe_missing(name, folder));
        let (sentence, hint) = missing.unwrap_or_default();
        return Err(Failure::usage(sentence).hint(hint));
    };
    // Judged first: what is broken would only be broken twice.
    load_profile(name, folder)?;
    of(&Beside::Folder { dir: &folder.profiles_dir().join(name.as_str()), folder })
}

/// Where a new profile of this name may be made.
///
/// # Errors
/// When a bundled profile has the name, or something is there already.
pub fn folder_for_new(name: &ProfileName, folder: &ConfigFolder) -> Result<PathBuf> {
    if Bundled::find(name.as_str()).is_some() {
        return Err(Failure::usage(format!("`{name}` is the name of a bundled profile"))
            .hint(format!("copy it under another name: `machine profiles new my-{name} --from {name}`")));
    }
    let shelf = folder.profiles_dir();
    if shelf.symlink_metadata().is_ok() && !shelf.is_dir() {
        return Err(Failure::usage(format!("`{}` is no folder", shelf.display()))
            .hint("move it away, then the same command again"));
    }
    let dir = shelf.join(name.as_str());
    if dir.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!("`{}` is there already", dir.display())).hint(in_use(&dir)));
    }
    Ok(dir)
}

fn in_use(dir: &Path) -> String {
    let toml = dir.join("profile.toml");
    if toml.is_file() {
        format!("edit `{}`, or choose another name", toml.display())
    } else {
        "choose another name".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use insta::assert_snapshot;

    use super::*;
    use crate::config::testing::{put, report};

    fn folder(dir: &Path) -> ConfigFolder {
        ConfigFolder { dir: dir.to_owned(), in_repository: false }
    }

    #[test]
    fn every_profile_is_listed_with_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("good/profile.toml", "description = \"Good\"\n"),
            ("circle/profile.toml", "requires = [\"circle\"]\n"),
            ("go/profile.toml", ""),
            ("My Tools/profile.toml", ""),
            (".git/HEAD", ""),
            ("README.md", ""),
        ] {
            put(dir.path(), &format!("profiles/{name}"), text);
        }
        let folder = folder(dir.path());
        let listed = list_profiles(&[&folder]);
        let (bundled, own) = listed.split_at(BUNDLED.len());
        assert!(bundled.iter().all(|listed| listed.profile.is_ok() && listed.dir.is_none()));
        let line = |listed: &ListedProfile| match &listed.profile {
            Ok(profile) => format!("{}: {}\n", listed.name, profile.description),
            Err(failure) => format!("{}: {}", listed.name, report(failure, dir.path())),
        };
        assert_snapshot!(own.iter().map(line).collect::<String>(), @"
        My Tools: error: expected a profile name of lower-case letters, digits and `-`, got `My Tools`: it has capital letters; did you mean `my-tools`?
        circle: error: profiles require each other in a circle: circle → circle
        hint: take one `requires` out in `DIR/profiles`
        go: error: `DIR/profiles/go` has the name of a bundled profile
        hint: give the folder another name
        good: Good
        ");
        let names = profile_names(&[&folder]);
        assert_eq!(names, ["base", "circle", "cypress", "go", "good", "python", "rust", "supabase-fly"]);
    }

    #[test]
    fn a_copy_has_every_file_and_is_of_what_works() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "profiles/good/profile.toml", "script = \"x.sh\"\n");
        put(dir.path(), "profiles/good/x.sh", "#!/bin/sh\n");
        put(dir.path(), "profiles/good/data", "1");
        put(dir.path(), "profiles/bad/profile.toml", "script = \"../x.sh\"\n");
        let folder = folder(dir.path());
        let names = |from: &str| {
            let files = files_to_copy(&from.parse().unwrap(), &[&folder]);
            files.map(|files| files.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(names("go").unwrap(), ["install.sh", "pins.txt", "profile.toml", "setup.sh"]);
        assert_eq!(names("good").unwrap(), ["data", "profile.toml", "x.sh"]);
        assert_snapshot!(report(&names("god").unwrap_err(), dir.path()), @"
        error: unknown profile `god`; did you mean `go`?
        hint: profiles are BUNDLED, bad, good; one of your own is a folder in `DIR/profiles`
        ");
        assert_snapshot!(report(&names("bad").unwrap_err(), dir.path()), @r#"
        error: profiles/bad/profile.toml:1:10: script: expected the name of a file beside this one, got `../x.sh`
          1 | script = "../x.sh"
            |          ^^^^^^^^^
        hint: edit `DIR/profiles/bad/profile.toml`
        "#);
    }

    #[test]
    fn a_new_profile_takes_nobodys_place() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "profiles/mine/profile.toml", "");
        symlink("nowhere", dir.path().join("profiles/link")).unwrap();
        let folder = folder(dir.path());
        let judge = |name: &str| {
            let refused = folder_for_new(&name.parse().unwrap(), &folder).unwrap_err();
            report(&refused, dir.path())
        };
        assert_snapshot!(judge("go"), @"
        error: `go` is the name of a bundled profile
        hint: copy it under another name: `machine profiles new my-go --from go`
        ");
        assert_snapshot!(judge("mine"), @"
        error: `DIR/profiles/mine` is there already
        hint: edit `DIR/profiles/mine/profile.toml`, or choose another name
        ");
        assert_snapshot!(judge("link"), @"
        error: `DIR/profiles/link` is there already
        hint: choose another name
        ");
    }
}
