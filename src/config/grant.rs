//! Adds and removes grants in the text of a config.toml, leaving every other byte as it is.
//!
//! Enters: the text, a project or none, and what is to change. Leaves: the new text; the caller writes it.

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value, value};

use crate::failure::{Failure, Result};
use crate::model::{GitAccount, KeyAsk, KeyName, ProjectName};

/// A change of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// Adds an item to a list; one that is there already stays alone. `inherited` is what counted so far, which a list of
    /// the project's own takes the place of.
    Add { list: &'static str, item: String, inherited: Vec<String> },
    /// Takes an item out of a list. A list that has become empty stays: without it everything could be granted.
    Remove { list: &'static str, item: String, inherited: Vec<String> },
    /// Sets when the owner is asked.
    Ask(KeyAsk),
    /// Takes out all that is said of a project, so that the defaults count again; without one, those. What other projects
    /// have of their own stays.
    Forget,
}

/// Changes `[keys]`, or `[keys.for.NAME]`.
///
/// # Errors
/// When the text is no TOML, or has something else in that place, or what is to be removed is not in it.
pub fn change_keys(
    config_toml: &str,
    project: Option<&ProjectName>,
    changes: &[KeyChange],
) -> Result<String> {
    let mut document: DocumentMut = config_toml.parse().map_err(|cause: toml_edit::TomlError| {
        Failure::usage(cause).because("config.toml is no valid TOML")
    })?;
    for change in changes {
        apply(&mut document, project, change)?;
    }
    Ok(document.to_string())
}

fn apply(document: &mut DocumentMut, project: Option<&ProjectName>, change: &KeyChange) -> Result<()> {
    if *change == KeyChange::Forget {
        return forget(document, project);
    }
    let table = rules(document, project)?;
    match change {
        KeyChange::Add { list, item, inherited } => {
            let array = list_of(table, list, inherited)?;
            if position(array, item).is_none() {
                array.push(item.as_str());
            }
        }
        KeyChange::Remove { list, item, inherited } => {
            let array = list_of(table, list, inherited)?;
            let at = position(array, item).ok_or_else(|| {
                let place = project.map_or("every project", ProjectName::as_str);
                Failure::usage(format!("`{item}` is not in the list `{list}` for {place}"))
            })?;
            array.remove(at);
        }
        KeyChange::Ask(ask) => drop(table.insert("ask", value(ask.to_string()))),
        KeyChange::Forget => {}
    }
    Ok(())
}

fn misplaced(what: &str) -> Failure {
    Failure::usage(format!("config.toml: `{what}` is no table"))
}

fn child<'t>(
    table: &'t mut dyn TableLike,
    name: &str,
    whole: &str,
    is_implicit: bool,
) -> Result<&'t mut dyn TableLike> {
    let mut fresh = Table::new();
    fresh.set_implicit(is_implicit);
    let item = table.entry(name).or_insert(Item::Table(fresh));
    item.as_table_like_mut().ok_or_else(|| misplaced(whole))
}

fn rules<'d>(document: &'d mut DocumentMut, project: Option<&ProjectName>) -> Result<&'d mut dyn TableLike> {
    let keys = child(document.as_table_mut(), "keys", "keys", project.is_some())?;
    let Some(project) = project else { return Ok(keys) };
    let all = child(keys, "for", "keys.for", true)?;
    child(all, project.as_str(), &format!("keys.for.{project}"), false)
}

fn list_of<'t>(table: &'t mut dyn TableLike, list: &str, inherited: &[String]) -> Result<&'t mut Array> {
    let fresh: Array = inherited.iter().map(String::as_str).collect();
    let item = table.entry(list).or_insert(Item::Value(Value::Array(fresh)));
    item.as_array_mut().ok_or_else(|| Failure::usage(format!("config.toml: `{list}` is no list")))
}

/// Where an item stands, however it is written there.
fn position(array: &Array, item: &str) -> Option<usize> {
    array.iter().position(|value| value.as_str().is_some_and(|text| is_same(text, item)))
}

fn is_same(one: &str, other: &str) -> bool {
    let keys = |text: &str| text.parse::<KeyName>().ok();
    let accounts = |text: &str| text.parse::<GitAccount>().ok();
    one == other
        || keys(one).is_some_and(|key| Some(key) == keys(other))
        || accounts(one).is_some_and(|account| Some(account) == accounts(other))
}

fn forget(document: &mut DocumentMut, project: Option<&ProjectName>) -> Result<()> {
    let Some(project) = project else {
        match document.get_mut("keys") {
            Some(Item::Table(keys)) => {
                keys.retain(|name, _| name == "for");
                // Its own line goes with them.
                keys.set_implicit(true);
            }
            Some(Item::Value(Value::InlineTable(keys))) => keys.retain(|name, _| name == "for"),
            _ => {}
        }
        return Ok(());
    };
    let all = document.get_mut("keys").and_then(|keys| keys.get_mut("for")).and_then(Item::as_table_like_mut);
    match all.and_then(|all| all.remove(project.as_str())) {
        Some(_) => Ok(()),
        None => Err(Failure::usage(format!("`{project}` has no grants of its own"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
    const SAME: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me";

    fn change(text: &str, project: Option<&str>, change: KeyChange) -> String {
        let project = project.map(|name| name.parse().unwrap());
        change_keys(text, project.as_ref(), &[change]).unwrap()
    }

    fn add(list: &'static str, item: &str) -> KeyChange {
        KeyChange::Add { list, item: item.into(), inherited: Vec::new() }
    }

    fn remove(list: &'static str, item: &str) -> KeyChange {
        KeyChange::Remove { list, item: item.into(), inherited: vec!["git@a".into(), "git@b".into()] }
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let text = "# mine\naccelerator = \"tcg\" # slow\n\n[keys] # all\nhosts = [\"a\"] # one\n[lima]\n";
        let after = change(text, None, add("hosts", "git@b"));
        assert_eq!(after, text.replace("[\"a\"]", "[\"a\", \"git@b\"]"));
        assert_eq!(change(&after, None, remove("hosts", "b")), text);
    }

    #[test]
    fn a_project_gets_a_table_of_its_own() {
        assert_eq!(
            change("", Some("blog"), add("only", KEY)),
            format!("[keys.for.blog]\nonly = [\"{KEY}\"]\n")
        );
        let asked = change("a = 1\n", Some("blog"), KeyChange::Ask(KeyAsk::First));
        assert_eq!(asked, "a = 1\n\n[keys.for.blog]\nask = \"first\"\n");
        let inherited =
            KeyChange::Add { list: "hosts", item: "git@b".into(), inherited: vec!["git@a".into()] };
        assert_eq!(change("", Some("blog"), inherited), "[keys.for.blog]\nhosts = [\"git@a\", \"git@b\"]\n");
    }

    #[test]
    fn a_key_is_the_same_however_it_is_written() {
        let text = format!("[keys]\nonly = [\"{SAME}\"]\n");
        assert_eq!(change(&text, None, add("only", KEY)), text);
        assert_eq!(change(&text, None, remove("only", KEY)), "[keys]\nonly = []\n");
    }

    #[test]
    fn what_a_project_inherits_can_be_taken_from_it_alone() {
        let after = change("[keys]\nhosts = [\"a\", \"b\"]\n", Some("blog"), remove("hosts", "a"));
        assert_eq!(after, "[keys]\nhosts = [\"a\", \"b\"]\n\n[keys.for.blog]\nhosts = [\"git@b\"]\n");
    }

    #[test]
    fn a_project_is_forgotten() {
        let text = "[keys]\nask = \"first\"\n\n[keys.for.blog]\nask = \"never\"\n\n[lima]\n";
        assert_eq!(change(text, Some("blog"), KeyChange::Forget), "[keys]\nask = \"first\"\n\n[lima]\n");
        let all = change_keys(text, None, &[KeyChange::Forget]).unwrap();
        assert_eq!(all.parse::<DocumentMut>().unwrap()["keys"]["for"]["blog"]["ask"].as_str(), Some("never"));
        assert!(!all.contains("first"));
        let project = "shop".parse().unwrap();
        assert!(change_keys(text, Some(&project), &[KeyChange::Forget]).is_err());
        for bad in ["keys = 1\n", "[keys]\nfor = 1\n", "[keys.for]\nshop = []\n", "["] {
            assert!(change_keys(bad, Some(&project), &[add("hosts", "x")]).is_err(), "{bad}");
        }
        assert!(change_keys("[keys]\nhosts = 1\n", None, &[add("hosts", "x")]).is_err());
    }
}
