//! Disk images as projects.toml, provision.toml and config.toml name them.
//!
//! Enters: the value of `image`, or a table of `[images]`. Leaves: an `Image` or an `ImageSource`.
//! Must not know where the known images lie.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::walk::{Schema, Table, Value, Walk};
use super::{Digest, DigestAlgorithm, Image, ImageSource, KernelBoot};
use crate::model::{Arch, credential_ranges, shown};

const EXPECTED: &str = "the name of an image such as `debian-13`, or a table with `amd64` or `arm64`";
const BY_ARCHITECTURE: Schema =
    Schema { what: "an image", keys: &["amd64", "arm64"], later: &[], elsewhere: &[] };
const SOURCE: Schema = Schema {
    what: "an image's location",
    keys: &["location", "digest", "kernel", "initrd", "cmdline"],
    later: &[],
    elsewhere: &[],
};

/// Reads `image`. A file in a repository may only name a known one: a location is a path or address of its choice.
pub(super) fn read_image(value: &Value<'_>, in_repository: bool, walk: &mut Walk<'_>) -> Option<Image> {
    if !value.is_table() {
        value.text(EXPECTED, walk)?;
        return value.parse(EXPECTED, walk).map(Image::Named);
    }
    if in_repository {
        let sentence =
            "an image's location is not a repository's to give: it belongs in your own projects.toml";
        walk.problems.add_untrusted(value.span.clone(), format!("{}: {sentence}", shown(&value.name)));
        return None;
    }
    let table = value.table(EXPECTED, walk)?;
    let earlier = walk.problems.count();
    table.check_keys(&BY_ARCHITECTURE, walk);
    let mut sources = BTreeMap::new();
    for (arch, place) in architectures(&table) {
        let Some(table) = place.table("a table with `location`", walk) else { continue };
        sources.extend(read_image_source(&table, walk).map(|source| (arch, source)));
    }
    if sources.is_empty() && walk.problems.count() == earlier {
        value.fault("expected `amd64` or `arm64` in it", walk);
    }
    (!sources.is_empty()).then_some(Image::Custom(sources))
}

/// The values below `amd64` and `arm64`.
pub(super) fn architectures<'t>(table: &Table<'t>) -> Vec<(Arch, Value<'t>)> {
    let by_name = |arch: Arch| table.get(arch.debian()).map(|value| (arch, value));
    [Arch::Amd64, Arch::Arm64].into_iter().filter_map(by_name).collect()
}

/// Reads location, digest and kernel of one architecture.
pub(super) fn read_image_source(table: &Table<'_>, walk: &mut Walk<'_>) -> Option<ImageSource> {
    table.check_keys(&SOURCE, walk);
    let digest = table.get("digest").map(|value| read_digest(&value, walk));
    let kernel = read_kernel(table, walk);
    let Some(value) = table.get("location") else {
        walk.problems.add(table.span.clone(), format!("{}: it has no `location`", shown(&table.name)));
        return None;
    };
    let location = value.checked("an absolute path or an `https://` address", is_location, walk)?;
    if location.starts_with("https://") && digest.is_none() {
        value.fault("an address needs a `digest` beside it", walk);
        walk.problems.hint("take it from the publisher's SHA512SUMS: `digest = \"sha512:…\"`");
        return None;
    }
    Some(ImageSource { location, digest: digest.flatten(), kernel })
}

fn is_location(text: &str) -> bool {
    is_absolute_path(text) || is_https(text)
}

/// An absolute path that Lima and QEMU take as one.
pub(super) fn is_absolute_path(text: &str) -> bool {
    text.starts_with('/') && text.len() > 1 && !text.contains(char::is_control) && !text.contains("/../")
}

/// An address without login, white space or control characters.
pub(super) fn is_https(text: &str) -> bool {
    let host = text.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let has_host = host.starts_with(|first: char| first.is_ascii_alphanumeric());
    has_host
        && credential_ranges(text).is_empty()
        && text.chars().all(|character| matches!(character, '!'..='~'))
}

fn read_digest(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Digest> {
    let expected = "`sha256:` with 64 or `sha512:` with 128 hexadecimal digits";
    let digest = parse_digest(value.text(expected, walk)?);
    if digest.is_none() {
        value.wrong(expected, walk);
    }
    digest
}

fn parse_digest(text: &str) -> Option<Digest> {
    let (algorithm, hex) = match text.split_once(':')? {
        ("sha256", hex) if hex.len() == 64 => (DigestAlgorithm::Sha256, hex),
        ("sha512", hex) if hex.len() == 128 => (DigestAlgorithm::Sha512, hex),
        _ => return None,
    };
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| Digest { algorithm, hex: hex.to_ascii_lowercase() })
}

/// `kernel`, `initrd` and `cmdline` belong together.
fn read_kernel(table: &Table<'_>, walk: &mut Walk<'_>) -> Option<KernelBoot> {
    let [kernel, initrd, cmdline] = ["kernel", "initrd", "cmdline"].map(|key| table.get(key));
    let given = [&kernel, &initrd, &cmdline].into_iter().flatten().next()?.clone();
    let (Some(kernel), Some(initrd), Some(cmdline)) = (kernel, initrd, cmdline) else {
        given.fault("`kernel`, `initrd` and `cmdline` belong together", walk);
        return None;
    };
    let path =
        |value: &Value<'_>, walk: &mut Walk<'_>| value.checked("an absolute path", is_absolute_path, walk);
    let (kernel, initrd) = (path(&kernel, walk), path(&initrd, walk));
    let is_line = |text: &str| !text.contains(char::is_control);
    let cmdline = cmdline.checked("one line of text", is_line, walk);
    Some(KernelBoot { kernel: PathBuf::from(kernel?), initrd: PathBuf::from(initrd?), cmdline: cmdline? })
}
