//! Signed apt repositories and verified downloads of a profile.
//!
//! Enters: `[[apt_repo]]` and `[[download]]`. Leaves: their values, the key read from the file beside them.
//! Must not know how anything is fetched.

use std::collections::BTreeMap;

use super::beside::{Beside, is_file_name};
use super::image::{architectures, is_https};
use super::profile::is_target;
use super::walk::{Schema, Table, Value, Walk};
use super::{AptRepo, Download, DownloadTarget};
use crate::model::{Arch, shown};

const APT_REPO: Schema = Schema {
    what: "an apt repository",
    keys: &["name", "uri", "suites", "components", "key"],
    later: &[],
    elsewhere: &[],
};
const DOWNLOAD: Schema = Schema {
    what: "a download",
    keys: &["version", "url", "sha256", "extract", "install"],
    later: &[],
    elsewhere: &[],
};
const CHECKSUMS: Schema = Schema { what: "`sha256`", keys: &["amd64", "arm64"], later: &[], elsewhere: &[] };

/// Reads every `[[apt_repo]]`.
pub(super) fn read_apt_repos(value: &Value<'_>, beside: &Beside<'_>, walk: &mut Walk<'_>) -> Vec<AptRepo> {
    let mut repos: Vec<AptRepo> = Vec::new();
    for table in tables(value, "tables, each under `[[apt_repo]]`", walk) {
        table.check_keys(&APT_REPO, walk);
        let Some(repo) = read_apt_repo(&table, beside, walk) else { continue };
        if repos.iter().any(|earlier| earlier.name == repo.name) {
            let sentence = format!("{}: the name `{}` is taken by another one", table.name, repo.name);
            walk.problems.add(table.span, sentence);
        } else {
            repos.push(repo);
        }
    }
    repos
}

fn read_apt_repo(table: &Table<'_>, beside: &Beside<'_>, walk: &mut Walk<'_>) -> Option<AptRepo> {
    let name = required(table, "name", "lower-case letters, digits and `-`", is_list_name, walk);
    let uri = required(table, "uri", "an `https://` address without login", is_https, walk);
    let suites = required_list(table, "suites", walk);
    let components = required_list(table, "components", walk);
    let key = required(table, "key", "the name of a file beside this one", is_file_name, walk);
    let bytes = key.and_then(|key| {
        let judged = beside.read(&key).and_then(|bytes| judge_key(&key, bytes));
        judged.map_err(|sentence| table.get("key").map(|value| value.fault(&sentence, walk))).ok()
    });
    Some(AptRepo { name: name?, uri: uri?, suites: suites?, components: components?, key: bytes? })
}

/// A public `OpenPGP` key, binary or in ASCII armour (RFC 9580, sections 4.2 and 6.2).
fn judge_key(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let armour = String::from_utf8_lossy(&bytes);
    if armour.contains("PRIVATE KEY BLOCK") || matches!(bytes.first(), Some(0x94 | 0x95 | 0xc5)) {
        return Err(format!("`{name}` is a private key"));
    }
    let is_public = armour.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----")
        || matches!(bytes.first(), Some(0x98 | 0x99 | 0xc6));
    if is_public { Ok(bytes) } else { Err(format!("`{name}` is no public OpenPGP key")) }
}

/// Reads every `[[download]]`.
pub(super) fn read_downloads(value: &Value<'_>, walk: &mut Walk<'_>) -> Vec<Download> {
    let tables = tables(value, "tables, each under `[[download]]`", walk);
    tables.iter().filter_map(|table| read_download(table, walk)).collect()
}

fn read_download(table: &Table<'_>, walk: &mut Walk<'_>) -> Option<Download> {
    table.check_keys(&DOWNLOAD, walk);
    let version = required(table, "version", "a version such as `1.26.8`", is_version, walk);
    let url = required(
        table,
        "url",
        "an `https://` address, with `{version}` and `{arch}` if wanted",
        is_template,
        walk,
    );
    let sha256 = read_checksums(table, walk);
    let target = read_target(table, walk);
    Some(Download { url: url?, version: version?, sha256: sha256?, target: target? })
}

fn read_checksums(table: &Table<'_>, walk: &mut Walk<'_>) -> Option<BTreeMap<Arch, String>> {
    let value = required_value(table, "sha256", walk)?;
    let sums = value.table("a table such as `{ amd64 = \"…\", arm64 = \"…\" }`", walk)?;
    sums.check_keys(&CHECKSUMS, walk);
    let mut found = BTreeMap::new();
    for (arch, value) in architectures(&sums) {
        let sum = value.checked("64 hexadecimal digits", is_sha256, walk);
        found.extend(sum.map(|sum| (arch, sum.to_ascii_lowercase())));
    }
    if architectures(&sums).is_empty() {
        value.fault("expected `amd64` or `arm64` in it", walk);
    }
    (!found.is_empty()).then_some(found)
}

fn read_target(table: &Table<'_>, walk: &mut Walk<'_>) -> Option<DownloadTarget> {
    let expected = "an absolute path";
    match (table.get("extract"), table.get("install")) {
        (Some(extract), None) => extract.checked(expected, is_target, walk).map(DownloadTarget::Extract),
        (None, Some(install)) => install.checked(expected, is_target, walk).map(DownloadTarget::Install),
        (Some(_), Some(install)) => {
            install.fault("`extract` and `install` exclude each other", walk);
            None
        }
        (None, None) => {
            let sentence = format!("{}: it has neither `extract` nor `install`", shown(&table.name));
            walk.problems.add(table.span.clone(), sentence);
            None
        }
    }
}

/// The tables of a list.
fn tables<'t>(value: &Value<'t>, expected: &str, walk: &mut Walk<'_>) -> Vec<Table<'t>> {
    let items = value.items(expected, walk).unwrap_or_default();
    items.iter().filter_map(|item| item.table("a table", walk)).collect()
}

fn required_value<'t>(table: &Table<'t>, key: &str, walk: &mut Walk<'_>) -> Option<Value<'t>> {
    let value = table.get(key);
    if value.is_none() {
        walk.problems.add(table.span.clone(), format!("{}: it has no `{key}`", shown(&table.name)));
    }
    value
}

fn required(
    table: &Table<'_>,
    key: &str,
    expected: &str,
    check: impl Fn(&str) -> bool,
    walk: &mut Walk<'_>,
) -> Option<String> {
    required_value(table, key, walk)?.checked(expected, check, walk)
}

fn required_list(table: &Table<'_>, key: &str, walk: &mut Walk<'_>) -> Option<Vec<String>> {
    let value = required_value(table, key, walk)?;
    let earlier = walk.problems.count();
    let words = value.texts("one word", is_word, walk);
    if words.is_empty() && walk.problems.count() == earlier {
        value.fault("expected at least one", walk);
    }
    (!words.is_empty()).then_some(words)
}

fn is_list_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 60 && !text.starts_with('-') && text.chars().all(is_plain)
}

/// Suites and components: what may stand in a line of apt's sources.
fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+/~".contains(c);
    !text.is_empty() && !text.starts_with(['-', '[']) && text.chars().all(is_plain)
}

fn is_version(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_template(text: &str) -> bool {
    let filled = text.replace("{version}", "1").replace("{arch}", "amd64");
    is_https(&filled) && !filled.contains(['{', '}', '\'', '"', '`', '$', '\\'])
}
