//! Adds a project to the text of a projects.toml, leaving every other byte as it is.
//!
//! Enters: the text and the project. Leaves: the new text; the caller writes it.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

use crate::failure::{Failure, Result};
use crate::model::{ProfileName, ProjectName, RepoUrl};

/// Adds a table for a project at the end.
pub fn add_project(
    projects_toml: &str,
    name: &ProjectName,
    repos: &[RepoUrl],
    profiles: &[ProfileName],
) -> Result<String> {
    let mut document: DocumentMut = projects_toml.parse().map_err(|cause: toml_edit::TomlError| {
        Failure::usage(cause).because("projects.toml is no valid TOML")
    })?;
    if document.contains_key(name.as_str()) {
        return Err(Failure::usage(format!("projects.toml has a project `{name}` already")));
    }
    let mut table = Table::new();
    if !repos.is_empty() {
        table.insert("repos", Item::Value(Value::Array(repos_array(repos))));
    }
    if !profiles.is_empty() {
        let names: Array = profiles.iter().map(ProfileName::as_str).collect();
        table.insert("profiles", Item::Value(Value::Array(names)));
    }
    // What follows the last table would be printed after the new one, and so change its place.
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    document.set_trailing("");
    let is_first = document.is_empty() && trailing.trim().is_empty();
    let separator = if is_first || trailing.ends_with("\n\n") { "" } else { "\n" };
    let line_end = if trailing.is_empty() || trailing.ends_with('\n') { "" } else { "\n" };
    table.decor_mut().set_prefix(format!("{trailing}{line_end}{separator}"));
    document.insert(name.as_str(), Item::Table(table));
    Ok(document.to_string())
}

/// Addresses whose folders would be the same get another one, by their owner's name.
fn repos_array(repos: &[RepoUrl]) -> Array {
    let mut array = Array::new();
    let mut taken: Vec<String> = Vec::new();
    for repo in repos {
        let dir = repo.default_dir();
        let is_taken = |dir: &str| taken.iter().any(|earlier| earlier.eq_ignore_ascii_case(dir));
        if is_taken(&dir) {
            let owned = repo.short().replace('/', "-");
            let mut counted = (2..).map(|count| format!("{owned}-{count}"));
            let free = if is_taken(&owned) { counted.find(|dir| !is_taken(dir)) } else { Some(owned) };
            let free = free.unwrap_or(dir);
            let mut table = InlineTable::new();
            table.insert("url", repo.as_str().into());
            table.insert("dir", free.as_str().into());
            array.push(table);
            taken.push(free);
        } else {
            array.push(repo.as_str());
            taken.push(dir);
        }
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str, name: &str, repos: &[&str], profiles: &[&str]) -> Result<String> {
        let repos: Vec<RepoUrl> = repos.iter().map(|url| url.parse().unwrap()).collect();
        let profiles: Vec<ProfileName> = profiles.iter().map(|name| name.parse().unwrap()).collect();
        add_project(text, &name.parse().unwrap(), &repos, &profiles)
    }

    #[test]
    fn keeps_what_is_there() {
        let url = "git@github.com:you/blog.git";
        let table = format!("[blog]\nrepos = [\"{url}\"]\nprofiles = [\"base\"]\n");
        let cases = [
            ("", ""),
            ("# mine\n", "# mine\n\n"),
            ("# mine", "# mine\n\n"),
            ("[a]\ncpus = 1 # one\n", "[a]\ncpus = 1 # one\n\n"),
            ("[a]\ncpus = 1\n\n# the end\n\n", "[a]\ncpus = 1\n\n# the end\n\n"),
            ("[a]\ncpus = 1", "[a]\ncpus = 1\n\n"),
            ("[a] # x\n[a.env]\nB = \"1\"\n", "[a] # x\n[a.env]\nB = \"1\"\n\n"),
        ];
        for (before, kept) in cases {
            let after = add(before, "blog", &[url], &["base"]).unwrap();
            assert_eq!(after, format!("{kept}{table}"), "{before:?}");
        }
    }

    #[test]
    fn an_empty_project_is_a_header() {
        assert_eq!(add("", "hello", &[], &[]).unwrap(), "[hello]\n");
    }

    #[test]
    fn two_repositories_of_one_name_get_two_folders() {
        assert_eq!(
            add("", "blog", &["git@h:a/x.git", "git@h:b/x", "git@g:b/x"], &[]).unwrap(),
            "[blog]\nrepos = [\"git@h:a/x.git\", { url = \"git@h:b/x\", dir = \"b-x\" }, \
             { url = \"git@g:b/x\", dir = \"b-x-2\" }]\n"
        );
    }

    #[test]
    fn a_name_is_added_once() {
        for text in ["[blog]\n", "blog.cpus = 1\n", "[blog.env]\nA = \"1\"\n", "[\"blog\"]\n"] {
            let failure = add(text, "blog", &[], &[]).unwrap_err();
            assert_eq!(failure.error.to_string(), "projects.toml has a project `blog` already");
        }
        assert!(add("[a\n", "blog", &[], &[]).is_err());
    }
}
