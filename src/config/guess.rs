//! The profiles a repository most likely wants, by the files at its root.
//!
//! Enters: names of files. Leaves: names of bundled profiles. Reads nothing.

use super::bundled::Bundled;
use crate::model::ProfileName;

/// Beginnings of file names, and the profile they speak for. Node needs none: it is in `base`.
const SIGNS: &[(&str, &[&str])] = &[
    ("cypress", &["cypress.config.", "cypress.json"]),
    ("go", &["go.mod", "go.sum", "go.work"]),
    (
        "python",
        &["Pipfile", "pdm.lock", "poetry.lock", "pyproject.toml", "requirements.txt", "setup.py", "uv.lock"],
    ),
    ("rust", &["Cargo.lock", "Cargo.toml", "rust-toolchain"]),
    ("supabase-fly", &["fly.toml", "supabase"]),
];

/// Names the bundled profiles that the files at a repository's root speak for.
pub fn guess_profiles(file_names: &[String]) -> Vec<ProfileName> {
    guess(file_names, |name| Bundled::find(name).is_some())
}

fn guess(file_names: &[String], is_bundled: impl Fn(&str) -> bool) -> Vec<ProfileName> {
    let is_there =
        |signs: &[&str]| signs.iter().any(|sign| file_names.iter().any(|name| name.starts_with(sign)));
    let wanted = SIGNS.iter().filter(|(profile, signs)| is_bundled(profile) && is_there(signs));
    wanted.filter_map(|(profile, _)| profile.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        let files: Vec<String> = files.iter().map(ToString::to_string).collect();
        guess(&files, |_| true).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lock_files_speak_for_profiles() {
        assert_eq!(names(&["Cargo.lock", "README.md"]), ["rust"]);
        assert_eq!(names(&["uv.lock", "go.sum", "cypress.config.ts"]), ["cypress", "go", "python"]);
        assert_eq!(names(&["package-lock.json"]), [""; 0]);
        assert_eq!(names(&["fly.toml"]), ["supabase-fly"]);
    }

    #[test]
    fn only_bundled_profiles_are_named() {
        assert!(guess(&["Cargo.lock".to_owned()], |_| false).is_empty());
        for name in guess_profiles(
            &SIGNS.iter().flat_map(|(_, signs)| *signs).map(ToString::to_string).collect::<Vec<_>>(),
        ) {
            assert!(Bundled::find(name.as_str()).is_some());
        }
    }
}
