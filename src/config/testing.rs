//! What the tests of this room share: files to read and reports as the reader sees them.
//!
//! Enters: texts and a folder. Leaves: files in it, and reports that are the same on every computer.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::bundled::BUNDLED;
use super::problem::{Problems, check};
use super::source::Source;
use crate::failure::Failure;
use crate::model::{Arch, Host, HostOs};

/// Puts a file below a folder, with the mode an ordinary umask gives.
pub(super) fn put(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's fixture needs no atomic write")]
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
}

/// A failure as it is printed, the folder's path as `DIR`, the list of bundled profiles as `BUNDLED`.
pub(super) fn report(failure: &Failure, dir: &Path) -> String {
    let chain: Vec<_> = failure.error.chain().map(ToString::to_string).collect();
    let unrendered = format!("error: {}", chain.join("\ncaused by: "));
    let hints = failure.hints.iter().map(|hint| format!("hint: {hint}"));
    let lines: Vec<_> = [failure.rendered.clone().unwrap_or(unrendered)].into_iter().chain(hints).collect();
    let text = lines.join("\n") + "\n";
    let bundled: Vec<_> = BUNDLED.iter().map(|profile| profile.name).collect();
    let list = format!("profiles are {}", bundled.join(", "));
    text.replace(&dir.display().to_string(), "DIR").replace(&list, "profiles are BUNDLED")
}

/// The report on a text, or an empty one.
pub(super) fn judge(text: &str, read: impl FnOnce(&Source, &mut Problems)) -> String {
    let source =
        Source { label: "projects.toml".into(), path: "DIR/projects.toml".into(), text: text.to_owned() };
    let mut problems = Problems::default();
    read(&source, &mut problems);
    let result = check(&[(&source, &problems)]);
    result.err().map(|failure| report(&failure, Path::new("/nowhere"))).unwrap_or_default()
}

/// A computer with 8 processors and 16 GiB.
pub(super) fn host() -> Host {
    Host { os: HostOs::Linux, arch: Arch::Amd64, cpus: 8, memory_bytes: Some(16 << 30) }
}
