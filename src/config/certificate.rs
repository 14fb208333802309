//! Extra certificate authorities, for networks that re-sign TLS.
//!
//! Enters: the value of `ca_certs`. Leaves: PEM text by file name, nothing but the certificates of each file.
//! Must not let a private key through, nor the comments around the certificates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::image::is_absolute_path;
use super::source::{LIMIT_BYTES, read_regular};
use super::walk::{Value, Walk};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Reads every file of the list.
pub(super) fn read_ca_certs(value: &Value<'_>, home: &Path, walk: &mut Walk<'_>) -> BTreeMap<String, String> {
    let expected = "an absolute path, or one that starts with `~/`";
    let mut certs = BTreeMap::new();
    for item in value.items("a list of paths", walk).unwrap_or_default() {
        let is_path = |text: &str| is_absolute_path(text) || text.starts_with("~/");
        let Some(text) = item.checked(expected, is_path, walk) else { continue };
        let path = text.strip_prefix("~/").map_or_else(|| PathBuf::from(&text), |rest| home.join(rest));
        let name = plain_name(&path);
        match read_pem(&path) {
            Err(sentence) => item.fault(&sentence, walk),
            Ok(_) if certs.contains_key(&name) => {
                item.fault(&format!("a file of the name `{name}` is in the list already"), walk);
            }
            Ok(pem) => drop(certs.insert(name, pem)),
        }
    }
    certs
}

/// The file's name, with `-` for what is no letter, digit or `._-`.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.trim_start_matches(['.', '-']).chars().map(plain).collect()
}

fn read_pem(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let metadata = path.metadata().map_err(|cause| format!("cannot read `{shown}`: {cause}"))?;
    let bytes =
        read_regular(path, &metadata, LIMIT_BYTES).map_err(|failure| format!("{:#}", failure.error))?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("PRIVATE KEY-----") {
        return Err(format!("`{shown}` holds a private key, which no guest may have"));
    }
    let certificates = take_certificates(&text)
        .ok_or_else(|| format!("`{shown}` has a certificate that is not valid PEM"))?;
    match certificates.is_empty() {
        false => Ok(certificates),
        true if bytes.first() == Some(&0x30) => Err(format!(
            "`{shown}` is in DER form; convert it with `openssl x509 -inform der -in FILE -out FILE.pem`"
        )),
        true => Err(format!("`{shown}` has no PEM certificate")),
    }
}

/// Every certificate of a text; `None` when one of them is cut short or no base64 of a DER sequence.
fn take_certificates(text: &str) -> Option<String> {
    let mut certificates = String::new();
    for piece in text.split(BEGIN).skip(1) {
        let body: String = piece.split_once(END)?.0.split_whitespace().collect();
        let der = BASE64_STANDARD.decode(&body).ok()?;
        if der.first() != Some(&0x30) {
            return None;
        }
        certificates.push_str(BEGIN);
        certificates.push('\n');
        for line in body.as_bytes().chunks(64) {
            certificates.push_str(&String::from_utf8_lossy(line));
            certificates.push('\n');
        }
        certificates.push_str(END);
        certificates.push('\n');
    }
    Some(certificates)
}
