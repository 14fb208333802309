//! profile.toml, and the same keys in provision.toml.
//!
//! Enters: a table and the files beside it. Leaves: a `Profile` with its scripts and keys read.
//! Must not know how anything is installed, nor which other profiles exist.

use super::beside::{Beside, is_file_name};
use super::download::{read_apt_repos, read_downloads};
use super::problem::{Problems, check};
use super::project::{is_shell_line, read_env};
use super::source::Source;
use super::stack::describe_missing;
use super::syntax::parse;
use super::walk::{Schema, Table, Value, Walk};
use super::{ConfigFolder, Profile, Script};
use crate::failure::Result;
use crate::model::{ProfileName, shown};

pub(super) const PROFILE: Schema = Schema {
    what: "a profile",
    keys: &[
        "description",
        "requires",
        "apt",
        "npm",
        "uv",
        "path",
        "env",
        "script",
        "user_script",
        "check",
        "max_age",
        "apt_repo",
        "download",
    ],
    later: &[],
    elsewhere: &[
        ("accelerator", "config.toml"),
        ("base", "provision.toml"),
        ("ca_certs", "config.toml"),
        ("cpus", "projects.toml"),
        ("disk", "projects.toml"),
        ("forward_agent", "projects.toml"),
        ("git", "config.toml"),
        ("image", "projects.toml or provision.toml"),
        ("images", "config.toml"),
        ("memory", "projects.toml"),
        ("profiles", "projects.toml"),
        ("repos", "projects.toml"),
        ("setup", "projects.toml"),
        ("shell", "projects.toml"),
    ],
};

/// The same and two more.
pub(super) const PROVISION: Schema = Schema {
    what: "provision.toml",
    keys: &[
        "description",
        "requires",
        "apt",
        "npm",
        "uv",
        "path",
        "env",
        "script",
        "user_script",
        "check",
        "max_age",
        "apt_repo",
        "download",
        "image",
        "base",
    ],
    ..PROFILE
};

/// Parses a profile.toml.
pub(super) fn parse_profile(
    source: &Source,
    name: Option<ProfileName>,
    beside: &Beside<'_>,
) -> Result<Profile> {
    let mut walk = Walk { source, problems: Problems::default() };
    let mut profile = Profile { name, ..Profile::default() };
    if let Some(tree) = parse(source, &mut walk.problems) {
        let table = Table::root(&tree);
        table.check_keys(&PROFILE, &mut walk);
        read_keys(&mut profile, &table, beside, &mut walk);
        match beside.others(&named_files(&table)) {
            Ok(files) => profile.files = files,
            Err(sentence) => walk.problems.add(0..0, sentence),
        }
    }
    check(&[(source, &walk.problems)])?;
    Ok(profile)
}

/// Reads the keys that profile.toml and provision.toml have in common.
pub(super) fn read_keys(profile: &mut Profile, table: &Table<'_>, beside: &Beside<'_>, walk: &mut Walk<'_>) {
    for (key, value) in table.entries() {
        match key {
            "description" => {
                profile.description = value.checked("one line of text", is_line, walk).unwrap_or_default();
            }
            "requires" => {
                profile.requires = read_profile_names(&value, beside.folder(), walk);
            }
            "apt" => profile.apt = value.texts("a package such as `jq` or `jq=1.7.1-3`", is_apt, walk),
            "npm" => profile.npm = value.texts("a package such as `prettier@3.6.2`", is_npm, walk),
            "uv" => profile.uv = value.texts("a package such as `ruff` or `ruff==0.14.0`", is_uv, walk),
            "path" => profile.path = value.texts("an absolute folder, without `:`", is_path_entry, walk),
            "env" => profile.env = read_env(&value, walk),
            "script" => profile.script = read_script(&value, beside, walk),
            "user_script" => profile.user_script = read_script(&value, beside, walk),
            "check" => profile.check = value.texts("a shell line", is_shell_line, walk),
            "max_age" => profile.max_age = value.parse("a number of days, such as `30d`", walk),
            "apt_repo" => profile.apt_repos = read_apt_repos(&value, beside, walk),
            "download" => profile.downloads = read_downloads(&value, walk),
            _ => {}
        }
    }
}

/// Reads a list of profiles; those that a folder does not have are a mistake.
fn read_profile_names(
    value: &Value<'_>,
    folder: Option<&ConfigFolder>,
    walk: &mut Walk<'_>,
) -> Vec<ProfileName> {
    let names = value.parse_all("the name of a profile", walk);
    for (name, span) in &names {
        if let Some((sentence, hint)) = folder.and_then(|folder| describe_missing(name, folder)) {
            walk.problems.add(span.clone(), format!("{}: {sentence}", value.name));
            walk.problems.hint(hint);
        }
    }
    names.into_iter().map(|(name, _)| name).collect()
}

/// The files that keys name; every other one of the folder comes along for the scripts.
fn named_files(table: &Table<'_>) -> Vec<String> {
    let scripts = ["script", "user_script"].into_iter().filter_map(|key| table.get(key));
    let names = scripts.filter_map(|value| value.as_text().map(str::to_owned));
    names.chain(["profile.toml".to_owned()]).collect()
}

/// Reads the script that a key names.
fn read_script(value: &Value<'_>, beside: &Beside<'_>, walk: &mut Walk<'_>) -> Option<Script> {
    let name = value.checked("the name of a file beside this one", is_file_name, walk)?;
    let judged = beside.read(&name).and_then(|bytes| judge_script(&name, bytes));
    match judged {
        Ok(text) => Some(Script { name, text }),
        Err(sentence) => {
            value.fault(&sentence, walk);
            None
        }
    }
}

/// What bash would stumble over, in words better than its own.
fn judge_script(name: &str, bytes: Vec<u8>) -> Result<String, String> {
    if bytes.contains(&0) {
        return Err(format!("`{name}` has a NUL byte and so is no script"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n');
        format!("`{name}` is not UTF-8, see its line {}", line.count() + 1)
    })?;
    if let Some(line) = text.split_inclusive('\n').position(|line| line.ends_with("\r\n")) {
        return Err(format!("`{name}` has Windows line ends (CR LF), see its line {}", line + 1));
    }
    let Some(interpreter) = text.strip_prefix("#!").and_then(|rest| rest.lines().next()) else {
        return Err(format!("`{name}` does not start with a line such as `#!/usr/bin/env bash`"));
    };
    let is_shell = |word: &str| matches!(word.rsplit('/').next(), Some("bash" | "sh"));
    if !interpreter.split_whitespace().any(is_shell) {
        let line = shown(interpreter.trim());
        return Err(format!("`{name}` is for `{line}`, and scripts are run by bash; let one start it"));
    }
    Ok(text)
}

pub(super) fn is_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// A package name by Debian's policy (section 5.6.7), with an architecture or a version if wanted. A final `-` would
/// remove the package.
fn is_apt(text: &str) -> bool {
    let (package, version) =
        text.split_once('=').map_or((text, "0"), |(package, version)| (package, version));
    let (name, arch) = package.split_once(':').map_or((package, "any"), |(name, arch)| (name, arch));
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let starts_well = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_version = |c: char| c.is_ascii_alphanumeric() || ".+-~:".contains(c);
    let name_fits = name.len() > 1 && starts_well(name) && name.chars().all(is_name) && !name.ends_with('-');
    let arch_fits = !arch.is_empty() && arch.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name_fits && arch_fits && starts_well(version) && version.chars().all(is_version)
}

/// `[@scope/]name[@version]`, and nothing that npm would take as an option, folder or address.
fn is_npm(text: &str) -> bool {
    let (scope, rest) = match text.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').unwrap_or(("", "")),
        None => ("none", text),
    };
    let (name, version) = rest.split_once('@').unwrap_or((rest, "latest"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name =
        |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(is_plain);
    let is_version = |c: char| is_plain(c) || "^~<>=+*".contains(c);
    is_name(scope) && is_name(name) && !version.is_empty() && version.chars().all(is_version)
}

/// `name[extra]` with versions (PEP 508 without markers and addresses), or `name@version` as uv has it.
fn is_uv(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let end = text.find(|c: char| !is_plain(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name_fits = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    name_fits && rest.chars().all(|c| is_plain(c) || "[],=<>!~*+@".contains(c))
}

fn is_path_entry(text: &str) -> bool {
    super::image::is_absolute_path(text) && !text.contains(':') && !text.ends_with("/..")
}

/// An absolute path that a step may write to.
pub(super) fn is_target(text: &str) -> bool {
    is_path_entry(text) && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c))
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
