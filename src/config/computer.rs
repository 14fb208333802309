//! config.toml: what belongs to the computer, not to a project.
//!
//! Enters: the user's configuration folder and home. Leaves: `Computer`, certificates read.
//! Must not know how they get into a guest.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::certificate::read_ca_certs;
use super::image::{architectures, read_image_source};
use super::keys::read_keys;
use super::problem::{Problems, check};
use super::profile::is_line;
use super::source::read_toml;
use super::syntax::parse;
use super::walk::{Schema, Table, Value, Walk};
use super::{Accelerator, Computer, ConfigFolder, GitSettings, ImageSource};
use crate::failure::Result;
use crate::model::{Arch, Caps, ImageName, Proxy, shown};

const COMPUTER: Schema = Schema {
    what: "config.toml",
    keys: &[
        "ca_certs",
        "accelerator",
        "caps",
        "git",
        "images",
        "keys",
        "lima",
        "memory_budget",
        "network",
        "warm_boxes",
    ],
    later: &["editor"],
    elsewhere: &[
        ("cpus", "projects.toml, below `[defaults]`"),
        ("disk", "projects.toml, below `[defaults]`"),
        ("idle", "projects.toml, below `[defaults]`"),
        ("image", "provision.toml"),
        ("memory", "projects.toml, below `[defaults]`"),
    ],
};
const GIT: Schema =
    Schema { what: "`[git]`", keys: &["name", "email", "signing_key"], later: &[], elsewhere: &[] };
const LIMA: Schema =
    Schema { what: "`[lima]`", keys: &["accept_unknown_version"], later: &[], elsewhere: &[] };
const CAPS: Schema =
    Schema { what: "`[caps]`", keys: &["cpus", "memory", "disk"], later: &[], elsewhere: &[] };
const NETWORK: Schema = Schema {
    what: "`[network]`",
    keys: &["proxy"],
    later: &[],
    elsewhere: &[
        ("allow", "projects.toml, in a project's table or below `[defaults]`"),
        ("host_access", "projects.toml, in a project's table or below `[defaults]`"),
        ("lan_access", "projects.toml, in a project's table or below `[defaults]`"),
        ("no_proxy", "a project's `env`; what `allow` opens is in it already"),
    ],
};
const ARCHITECTURES: Schema =
    Schema { what: "an image", keys: &["amd64", "arm64"], later: &[], elsewhere: &[] };

/// Loads config.toml; without one, everything is as it comes.
pub fn load_computer(folder: &ConfigFolder, home: &Path) -> Result<Computer> {
    let Some(source) = read_toml(folder, &folder.computer())? else { return Ok(Computer::default()) };
    let mut walk = Walk { source: &source, problems: Problems::default() };
    let mut computer = Computer::default();
    if let Some(tree) = parse(&source, &mut walk.problems) {
        let table = Table::root(&tree);
        table.check_keys(&COMPUTER, &mut walk);
        for (key, value) in table.entries() {
            read_key(&mut computer, key, &value, home, &mut walk);
        }
    }
    check(&[(&source, &walk.problems)])?;
    Ok(computer)
}

fn read_key(computer: &mut Computer, key: &str, value: &Value<'_>, home: &Path, walk: &mut Walk<'_>) {
    match key {
        "ca_certs" => computer.ca_certs = read_ca_certs(value, home, walk),
        "accelerator" => computer.accelerator = read_accelerator(value, walk).unwrap_or_default(),
        "caps" => computer.caps = read_caps(value, walk).unwrap_or_default(),
        "git" => computer.git = read_git(value, walk).unwrap_or_default(),
        "images" => computer.images = read_images(value, walk),
        "memory_budget" => computer.memory_budget = value.parse("a size such as `12GiB`", walk),
        "network" => computer.proxy = read_network(value, walk),
        "warm_boxes" => computer.without_warm_boxes = value.flag(walk) == Some(false),
        "keys" => computer.keys = read_keys(value, walk),
        "lima" => computer.accept_unknown_lima_version = read_lima(value, walk).unwrap_or_default(),
        _ => {}
    }
}

fn read_accelerator(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Accelerator> {
    let expected = "`auto`, `kvm` or `tcg`";
    match value.text(expected, walk)? {
        "auto" => Some(Accelerator::Auto),
        "kvm" => Some(Accelerator::Kvm),
        "tcg" => Some(Accelerator::Tcg),
        other => {
            value.fault(&format!("expected {expected}, got `{}`", shown(other)), walk);
            None
        }
    }
}

/// More than the computer has is no mistake: such a cap caps nothing.
fn read_caps(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Caps> {
    let table = value.table("a table with `cpus`, `memory` or `disk`", walk)?;
    table.check_keys(&CAPS, walk);
    let cpus = table.get("cpus").and_then(|value| {
        let number = value.integer("a whole number", walk)?;
        let cpus = u32::try_from(number).ok().filter(|cpus| *cpus > 0);
        if cpus.is_none() {
            value.fault(&format!("expected at least 1, got `{number}`"), walk);
        }
        cpus
    });
    let memory = table.get("memory").and_then(|value| value.parse("a size such as `4GiB`", walk));
    let disk = table.get("disk").and_then(|value| value.parse("a size such as `40GiB`", walk));
    Some(Caps { cpus, memory, disk })
}

fn read_lima(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<bool> {
    let table = value.table("a table", walk)?;
    table.check_keys(&LIMA, walk);
    table.get("accept_unknown_version")?.flag(walk)
}

fn read_network(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Proxy> {
    let table = value.table("a table with `proxy`", walk)?;
    table.check_keys(&NETWORK, walk);
    table.get("proxy")?.parse("an address such as `http://proxy.corp:3128`", walk)
}

fn read_git(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<GitSettings> {
    let table = value.table("a table with `name`, `email` or `signing_key`", walk)?;
    table.check_keys(&GIT, walk);
    // git itself drops these characters from an identity.
    let is_identity = |text: &str| !text.trim().is_empty() && is_line(text) && !text.contains(['<', '>']);
    let is_email = |text: &str| is_identity(text) && !text.contains(char::is_whitespace);
    let name = table.get("name").and_then(|value| value.checked("a name in one line", is_identity, walk));
    let email = table.get("email").and_then(|value| value.checked("an e-mail address", is_email, walk));
    let signing_key = table.get("signing_key").and_then(|value| read_signing_key(&value, walk));
    Some(GitSettings { name, email, signing_key })
}

fn read_signing_key(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<String> {
    let expected = "a public ssh key such as `ssh-ed25519 AAAA…`";
    let text = value.text(expected, walk)?;
    if text.contains("PRIVATE KEY") {
        walk.problems.mask(value.span.clone(), "\"***\"");
        value.fault("this is a private key; the public one belongs here", walk);
        return None;
    }
    value.checked(expected, is_public_key, walk)
}

/// The type, and base64 data that starts with the same type (RFC 4253, section 6.6).
fn is_public_key(text: &str) -> bool {
    let mut words = text.split(' ');
    let (Some(kind), Some(data)) = (words.next(), words.next()) else { return false };
    let known = kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-") || kind.starts_with("sk-");
    let Ok(blob) = BASE64_STANDARD.decode(data) else { return false };
    let length = u32::try_from(kind.len()).unwrap_or_default().to_be_bytes();
    let starts_with_kind = blob.strip_prefix(&length).is_some_and(|rest| rest.starts_with(kind.as_bytes()));
    known && is_line(text) && starts_with_kind
}

fn read_images(value: &Value<'_>, walk: &mut Walk<'_>) -> BTreeMap<(ImageName, Arch), ImageSource> {
    let mut images = BTreeMap::new();
    let Some(table) = value.table("tables such as `[images.debian-13.amd64]`", walk) else { return images };
    for (key, value) in table.entries() {
        let name = match key.parse::<ImageName>() {
            Ok(name) => name,
            Err(refused) => {
                walk.problems.add(value.key_span.clone(), format!("images: {refused}"));
                // A bare key ends at its dot.
                if key == "ubuntu-24" {
                    walk.problems.hint("a name with a dot needs quotes: `[images.\"ubuntu-24.04\".amd64]`");
                }
                continue;
            }
        };
        let Some(table) = value.table("a table with `amd64` or `arm64`", walk) else { continue };
        table.check_keys(&ARCHITECTURES, walk);
        for (arch, value) in architectures(&table) {
            let Some(table) = value.table("a table with `location`", walk) else { continue };
            images.extend(read_image_source(&table, walk).map(|source| ((name, arch), source)));
        }
    }
    images
}

#[cfg(test)]
#[path = "computer_tests.rs"]
mod tests;
