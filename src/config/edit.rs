//! Adds a project to the text of a projects.toml, or changes its ports, leaving every other byte as it is.
//!
//! Enters: the text and the project. Leaves: the new text; the caller writes it.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::failure::{Failure, Result};
use crate::model::{PortForward, ProfileName, ProjectName, RepoUrl};

/// Adds a table for a project at the end.
pub fn add_project(
    projects_toml: &str,
    name: &ProjectName,
    repos: &[RepoUrl],
    profiles: &[ProfileName],
) -> Result<String> {
    let mut document = read(projects_toml)?;
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
    append(&mut document, name, table);
    Ok(document.to_string())
}

/// Makes these the ports of a project. A list that is there keeps its comments; without one, or without a table of the
/// project, it is added.
pub fn set_ports(projects_toml: &str, name: &ProjectName, ports: &[PortForward]) -> Result<String> {
    let mut document = read(projects_toml)?;
    if let Some(table) = document.get_mut(name.as_str()).and_then(Item::as_table_like_mut) {
        set_list(table, ports);
    } else {
        let mut table = Table::new();
        set_list(&mut table, ports);
        append(&mut document, name, table);
    }
    Ok(document.to_string())
}

fn read(projects_toml: &str) -> Result<DocumentMut> {
    projects_toml.parse().map_err(|cause: toml_edit::TomlError| {
        Failure::usage(cause).because("projects.toml is no valid TOML")
    })
}

fn set_list(table: &mut dyn TableLike, ports: &[PortForward]) {
    let Some(list) = table.get_mut("ports").and_then(Item::as_array_mut) else {
        table.insert("ports", Item::Value(Value::Array(ports.iter().map(|port| item(*port)).collect())));
        return;
    };
    let of = |value: &Value| match value {
        Value::Integer(number) => number.value().to_string().parse::<PortForward>().ok(),
        other => other.as_str().and_then(|text| text.parse().ok()),
    };
    for index in (0..list.len()).rev() {
        if !list.get(index).and_then(of).is_some_and(|port| ports.contains(&port)) {
            remove(list, index);
        }
    }
    for port in ports {
        if !list.iter().any(|value| of(value) == Some(*port)) {
            push(list, *port);
        }
    }
}

fn item(port: PortForward) -> Value {
    let both = i64::from(port.host);
    if port.host == port.guest { both.into() } else { port.to_string().into() }
}

/// Adds an item behind the comment of the one before it, on a line of its own where the list has lines.
fn push(list: &mut Array, port: PortForward) {
    let before = list.iter().last().and_then(|item| item.decor().prefix()?.as_str()).unwrap_or_default();
    let indent = before.rsplit_once('\n').map(|(_, indent)| indent.to_owned());
    let trailing = list.trailing().as_str().unwrap_or_default().to_owned();
    let Some(indent) = indent else { return list.push(item(port)) };
    let mut value = item(port);
    let comment = trailing.trim_end();
    value.decor_mut().set_prefix(format!("{comment}\n{indent}"));
    list.push_formatted(value);
    list.set_trailing("\n");
    list.set_trailing_comma(true);
}

/// Takes an item out with the comment behind it, which stands before the next one.
fn remove(list: &mut Array, index: usize) {
    let removed = list.remove(index);
    let own = removed.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let before = own.split('\n').next().unwrap_or_default().to_owned();
    let joined = |after: &str| after.split_once('\n').map(|(_, below)| format!("{before}\n{below}"));
    if let Some(next) = list.get_mut(index) {
        let after = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
        next.decor_mut().set_prefix(joined(&after).unwrap_or_else(|| own.to_owned()));
    } else if let Some(trailing) = joined(list.trailing().as_str().unwrap_or_default()) {
        list.set_trailing(trailing);
    }
}

/// Adds a table at the end.
fn append(document: &mut DocumentMut, name: &ProjectName, mut table: Table) {
    // What follows the last table would be printed after the new one, and so change its place.
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    document.set_trailing("");
    let is_first = document.is_empty() && trailing.trim().is_empty();
    let separator = if is_first || trailing.ends_with("\n\n") { "" } else { "\n" };
    let line_end = if trailing.is_empty() || trailing.ends_with('\n') { "" } else { "\n" };
    table.decor_mut().set_prefix(format!("{trailing}{line_end}{separator}"));
    document.insert(name.as_str(), Item::Table(table));
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

    fn ports(text: &str, ports: &[&str]) -> String {
        let ports: Vec<PortForward> = ports.iter().map(|port| port.parse().unwrap()).collect();
        set_ports(text, &"blog".parse().unwrap(), &ports).unwrap()
    }

    #[test]
    fn a_port_is_added_to_the_list_or_with_the_list_or_with_the_table() {
        let cases = [
            ("[blog]\nports = [3000] # mine\n", "[blog]\nports = [3000, \"8080:80\"] # mine\n"),
            ("[blog]\ncpus = 1\n\n[b]\n", "[blog]\ncpus = 1\nports = [3000, \"8080:80\"]\n\n[b]\n"),
            ("blog = { cpus = 1 }\n", "blog = { cpus = 1 , ports = [3000, \"8080:80\"] }\n"),
            ("# own\n[b]\n", "# own\n[b]\n\n[blog]\nports = [3000, \"8080:80\"]\n"),
            ("", "[blog]\nports = [3000, \"8080:80\"]\n"),
            ("[blog]\nports = [\"3000:3000\", 4000]\n", "[blog]\nports = [\"3000:3000\", \"8080:80\"]\n"),
        ];
        for (before, after) in cases {
            assert_eq!(ports(before, &["3000", "8080:80"]), after, "{before:?}");
        }
    }

    #[test]
    fn comments_stay_with_their_ports() {
        let list = "[blog]\nports = [ # all\n  3000, # web\n  # the API\n  8080, # api\n]\n";
        insta::assert_snapshot!(ports(list, &["3000", "8080", "5173"]), @"
        [blog]
        ports = [ # all
          3000, # web
          # the API
          8080, # api
          5173,
        ]
        ");
        insta::assert_snapshot!(ports(list, &["8080"]), @"
        [blog]
        ports = [ # all
          # the API
          8080, # api
        ]
        ");
        insta::assert_snapshot!(ports(list, &["3000"]), @"
        [blog]
        ports = [ # all
          3000, # web
        ]
        ");
        insta::assert_snapshot!(ports(list, &[]), @"
        [blog]
        ports = [ # all
        ]
        ");
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
