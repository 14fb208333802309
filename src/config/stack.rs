//! Which profiles a project gets, in which order.
//!
//! Enters: a project, its folder's provision.toml and profiles. Leaves: the stack, each profile once, after what it
//! requires. Must not know how a profile is installed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::beside::{Beside, check_file, writable_by_others};
use super::bundled::{BUNDLED, Bundled};
use super::profile::parse_profile;
use super::source::{read_toml, unreadable, writable};
use super::suggest::nearest;
use super::{ConfigFolder, Profile, Project, Provision};
use crate::failure::{Failure, Result};
use crate::model::ProfileName;

const BASE: &str = "base";

/// The profiles of a project: base, its own in order and each after what it requires, provision.toml last.
pub fn profile_stack(
    project: &Project,
    provision: &Provision,
    folder: &ConfigFolder,
) -> Result<Vec<Profile>> {
    let mut stack = Stack { folder, profiles: Vec::new(), open: Vec::new() };
    if !provision.without_base {
        stack.push(&BASE.parse().map_err(Failure::usage)?)?;
    }
    for name in &project.profiles {
        stack.push(name)?;
    }
    for name in &provision.profile.requires {
        stack.push(name)?;
    }
    if provision.profile != Profile::default() {
        stack.profiles.push(provision.profile.clone());
    }
    Ok(stack.profiles)
}

/// Whether a profile comes with `machine`.
pub fn is_bundled(name: &ProfileName) -> bool {
    Bundled::find(name.as_str()).is_some()
}

struct Stack<'a> {
    folder: &'a ConfigFolder,
    profiles: Vec<Profile>,
    /// The profiles whose requirements are being placed, outermost first.
    open: Vec<ProfileName>,
}

impl Stack<'_> {
    /// Places a profile after what it requires, unless it has its place.
    fn push(&mut self, name: &ProfileName) -> Result<()> {
        if self.profiles.iter().any(|profile| profile.name.as_ref() == Some(name)) {
            return Ok(());
        }
        if let Some(start) = self.open.iter().position(|open| open == name) {
            let names = self.open[start..].iter().chain([name]).map(ProfileName::as_str);
            let cycle = names.collect::<Vec<_>>().join(" → ");
            return Err(Failure::usage(format!("profiles require each other in a circle: {cycle}"))
                .hint(format!("take one `requires` out in `{}`", self.folder.profiles_dir().display())));
        }
        let profile = load_profile(name, self.folder)?;
        self.open.push(name.clone());
        for required in &profile.requires {
            self.push(required)?;
        }
        self.open.pop();
        self.profiles.push(profile);
        Ok(())
    }
}

/// One profile, judged together with all that it requires.
pub(super) fn load_judged(name: &ProfileName, folder: &ConfigFolder) -> Result<Profile> {
    Stack { folder, profiles: Vec::new(), open: Vec::new() }.push(name)?;
    load_profile(name, folder)
}

/// One profile by its name alone.
pub(super) fn load_profile(name: &ProfileName, folder: &ConfigFolder) -> Result<Profile> {
    let dir = folder.profiles_dir().join(name.as_str());
    if let Some(bundled) = Bundled::find(name.as_str()) {
        if dir.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!("`{}` has the name of a bundled profile", dir.display()))
                .hint("give the folder another name"));
        }
        return bundled.profile();
    }
    if let Some((sentence, hint)) = describe_missing(name, folder) {
        return Err(Failure::usage(sentence).hint(hint));
    }
    check_shelf(folder)?;
    check_folder(&dir, folder)?;
    let path = dir.join("profile.toml");
    if path.symlink_metadata().is_ok() {
        check_file(&path, "profile.toml", &dir, folder)
            .map_err(|sentence| Failure::usage(format!("profile `{name}`: {sentence}")))?;
    }
    let Some(source) = read_toml(folder, &path)? else {
        return Err(Failure::usage(format!("the profile `{name}` has no file `{}`", path.display())));
    };
    parse_profile(&source, Some(name.clone()), &Beside::Folder { dir: &dir, folder })
}

/// Who may write here can put a profile in the place of another.
fn check_shelf(folder: &ConfigFolder) -> Result<()> {
    let dir = folder.profiles_dir();
    let real = dir.canonicalize().map_err(|cause| unreadable(&dir, &cause))?;
    let metadata = real.metadata().map_err(|cause| unreadable(&dir, &cause))?;
    // One's own may lie among one's other dotfiles; a repository's is what was cloned.
    if folder.in_repository && !folder.dir.canonicalize().is_ok_and(|parent| real.starts_with(parent)) {
        return Err(Failure::usage(format!("`{}` is a link that leads out of its folder", dir.display())));
    }
    if metadata.mode() & writable_by_others(folder) != 0 {
        return Err(writable(&dir));
    }
    Ok(())
}

/// A profile's folder must be what its place says, and closed to others.
fn check_folder(dir: &Path, folder: &ConfigFolder) -> Result<()> {
    let real = dir.canonicalize().map_err(|cause| unreadable(dir, &cause))?;
    let is_inside = folder.profiles_dir().canonicalize().is_ok_and(|parent| real.starts_with(parent));
    if !is_inside {
        return Err(Failure::usage(format!("`{}` is a link that leads out of its folder", dir.display())));
    }
    let metadata = real.metadata().map_err(|cause| unreadable(dir, &cause))?;
    if !metadata.is_dir() {
        return Err(Failure::usage(format!("`{}` is no folder", dir.display())));
    }
    if metadata.mode() & writable_by_others(folder) != 0 {
        return Err(writable(dir));
    }
    Ok(())
}

/// Says that a profile is neither bundled nor in the folder, and which ones are.
pub(super) fn describe_missing(name: &ProfileName, folder: &ConfigFolder) -> Option<(String, String)> {
    let own = own_profiles(folder);
    let known: Vec<&str> =
        BUNDLED.iter().map(|bundled| bundled.name).chain(own.iter().map(String::as_str)).collect();
    if known.contains(&name.as_str()) {
        return None;
    }
    let guess = nearest(name.as_str(), known.iter().copied());
    let guess = guess.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let place = folder.profiles_dir();
    let hint =
        format!("profiles are {}; one of your own is a folder in `{}`", known.join(", "), place.display());
    Some((format!("unknown profile `{name}`{guess}"), hint))
}

/// The names in the folder's `profiles/`, in order; what cannot be a profile's name is none.
pub(super) fn own_profiles(folder: &ConfigFolder) -> Vec<String> {
    let entries = std::fs::read_dir(folder.profiles_dir()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.parse::<ProfileName>().is_ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
