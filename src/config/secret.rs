//! The keys `secrets` and `git` of a project: where its secrets come from, and which of them git logs in with.
//!
//! Enters: their values, from a user's own file. Leaves: typed sources. A value itself is never in a file: what looks
//! like one is refused, and hidden in the complaint. Must not know what a source gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::walk::{Schema, Table, Value, Walk};
use crate::model::{EnvName, GitToken, SecretSource, SecretSpec};

const EXPECTED: &str = "a reference such as `op://vault/item/field`, or a table such as `{ command = [\"pass\", \"show\", \"npm\"] }`";
const SECRET: Schema = Schema {
    what: "a secret",
    keys: &[
        "op",
        "op_environment",
        "variable",
        "command",
        "env",
        "file",
        "keychain",
        "account",
        "export",
        "timeout",
    ],
    later: &[],
    elsewhere: &[],
};
const SOURCES: &str = "`op`, `op_environment`, `command`, `env`, `file` or `keychain`";
const GIT: Schema = Schema {
    what: "a project's `git`",
    keys: &["token", "username"],
    later: &[],
    elsewhere: &[("name", "config.toml"), ("email", "config.toml"), ("signing_key", "config.toml")],
};
/// Most hosts take any name with a token; this is the one GitHub documents.
const USERNAME: &str = "x-access-token";
const LONGEST_SECONDS: i128 = 600;

/// Reads `secrets`.
pub(super) fn read_secrets(value: &Value<'_>, walk: &mut Walk<'_>) -> BTreeMap<EnvName, SecretSpec> {
    let mut secrets = BTreeMap::new();
    let Some(table) = value.table("a table such as `[blog.secrets]`", walk) else { return secrets };
    for (key, value) in table.entries() {
        let spec = read_secret(key, &value, walk);
        match key.parse::<EnvName>() {
            Ok(name) => secrets.extend(spec.map(|spec| (name, spec))),
            Err(refused) => walk.problems.add(value.key_span.clone(), format!("secrets: {refused}")),
        }
    }
    secrets
}

fn read_secret(name: &str, value: &Value<'_>, walk: &mut Walk<'_>) -> Option<SecretSpec> {
    if !value.is_table() {
        return Some(plain(SecretSource::OnePassword(read_reference(value, walk)?)));
    }
    let table = value.table(EXPECTED, walk)?;
    let before = walk.problems.count();
    table.check_keys(&SECRET, walk);
    let found: Vec<SecretSource> = sources(name, &table, walk);
    let time_limit = table.get("timeout").and_then(|value| read_seconds(&value, walk));
    let export = table.get("export").and_then(|value| value.flag(walk)).unwrap_or_default();
    if walk.problems.count() > before {
        return None;
    }
    let [source] = found.as_slice() else {
        let sentence = format!("expected one of {SOURCES}, got {}", found.len());
        value.fault(&sentence, walk);
        return None;
    };
    let time_limit = time_limit.unwrap_or(SecretSpec::TIME_LIMIT);
    Some(SecretSpec { export, time_limit, ..plain(source.clone()) })
}

fn plain(source: SecretSource) -> SecretSpec {
    SecretSpec { source, export: false, time_limit: SecretSpec::TIME_LIMIT }
}

/// Every source that a table names.
fn sources(name: &str, table: &Table<'_>, walk: &mut Walk<'_>) -> Vec<SecretSource> {
    let mut found = Vec::new();
    for (key, value) in table.entries() {
        found.extend(match key {
            "op" => read_reference(&value, walk).map(SecretSource::OnePassword),
            "op_environment" => read_environment(name, table, &value, walk),
            "command" => read_command(&value, walk).map(SecretSource::Command),
            "env" => value
                .checked("the name of a variable of your environment", is_variable, walk)
                .map(SecretSource::Variable),
            "file" => read_file(&value, walk).map(SecretSource::File),
            "keychain" => read_keychain(table, &value, walk),
            _ => None,
        });
    }
    for (key, needs) in [("variable", "op_environment"), ("account", "keychain")] {
        if let (Some(value), None) = (table.get(key), table.get(needs)) {
            walk.problems.add(value.key_span, format!("`{key}` goes with `{needs}`"));
        }
    }
    found
}

/// A string that is no reference may be the secret itself.
fn read_reference(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<String> {
    let text = value.as_text().filter(|text| is_reference(text));
    if text.is_none() {
        walk.problems.mask(value.span.clone(), "\"***\"");
        value.fault(&format!("expected {EXPECTED}; a value itself does not belong in a file"), walk);
    }
    text.map(str::to_owned)
}

/// `op://vault/item/field`, or with a section in it.
fn is_reference(text: &str) -> bool {
    let parts: Vec<&str> =
        text.strip_prefix("op://").map(|rest| rest.split('/').collect()).unwrap_or_default();
    matches!(parts.len(), 3 | 4)
        && parts.iter().all(|part| !part.is_empty())
        && !text.contains(char::is_control)
}

fn read_environment(
    name: &str,
    table: &Table<'_>,
    value: &Value<'_>,
    walk: &mut Walk<'_>,
) -> Option<SecretSource> {
    let id = value.checked("the id of a 1Password Environment", is_word, walk)?;
    let variable = match table.get("variable") {
        Some(variable) => variable.checked("the name of a variable", is_variable, walk)?,
        None => name.to_owned(),
    };
    Some(SecretSource::OnePasswordEnvironment { id, variable })
}

fn read_command(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Vec<String>> {
    let expected = "a list: a program and its arguments, such as `[\"pass\", \"show\", \"npm\"]`";
    let before = walk.problems.count();
    let items = value.items(expected, walk)?;
    let argv: Vec<String> =
        items.iter().filter_map(|item| item.checked("an argument, without NUL", has_no_nul, walk)).collect();
    let program = argv.first().map(String::as_str).unwrap_or_default();
    if walk.problems.count() == before && !is_program(program) {
        value.fault(&format!("expected {expected}, the program by its name or absolute path"), walk);
    }
    (walk.problems.count() == before).then_some(argv)
}

fn read_file(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<PathBuf> {
    let expected = "the path of a file, absolute or from `~/` on";
    let is_path = |text: &str| (text.starts_with("~/") || Path::new(text).is_absolute()) && has_no_nul(text);
    value.checked(expected, is_path, walk).map(PathBuf::from)
}

fn read_keychain(table: &Table<'_>, value: &Value<'_>, walk: &mut Walk<'_>) -> Option<SecretSource> {
    let service = value.checked("the service of a keychain's entry", is_word, walk)?;
    let account = match table.get("account") {
        Some(account) => Some(account.checked("the account of a keychain's entry", is_word, walk)?),
        None => None,
    };
    Some(SecretSource::Keychain { service, account })
}

fn read_seconds(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Duration> {
    let expected = format!("seconds, 1 to {LONGEST_SECONDS}");
    let number = value.integer(&expected, walk)?;
    if !(1..=LONGEST_SECONDS).contains(&number) {
        value.fault(&format!("expected {expected}, got `{number}`"), walk);
        return None;
    }
    u64::try_from(number).ok().map(Duration::from_secs)
}

/// Reads `git`.
pub(super) fn read_git(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<GitToken> {
    let table = value.table("a table with `token`", walk)?;
    table.check_keys(&GIT, walk);
    let is_name = |text: &str| is_word(text) && !text.contains(char::is_whitespace);
    let username = match table.get("username") {
        Some(username) => username.checked("a user name", is_name, walk)?,
        None => USERNAME.to_owned(),
    };
    let Some(token) = table.get("token") else {
        value.fault("it has no `token`", walk);
        return None;
    };
    let secret = token.text("the name of one of the project's secrets", walk)?.parse::<EnvName>();
    if secret.is_err() {
        // Somebody may have put the token itself here.
        walk.problems.mask(token.span.clone(), "\"***\"");
        token.fault("expected the name of one of the project's `secrets`, not a token itself", walk);
    }
    Some(GitToken { secret: secret.ok()?, username })
}

fn has_no_nul(text: &str) -> bool {
    !text.contains('\0')
}

/// Something in one line that no program takes for an option.
fn is_word(text: &str) -> bool {
    !text.trim().is_empty() && !text.starts_with('-') && !text.contains(char::is_control)
}

fn is_variable(text: &str) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    !text.is_empty() && !text.starts_with(|first: char| first.is_ascii_digit()) && text.chars().all(is_word)
}

/// A name that is looked up on PATH, or an absolute path.
fn is_program(text: &str) -> bool {
    !text.is_empty() && (!text.contains('/') || Path::new(text).is_absolute())
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
