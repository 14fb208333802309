//! Whether two command lines of QEMU make the same machine: a memory fits no other.
//!
//! Enters: arguments. Leaves: a digest. Where its files lie, its name, its card's address and the port that reaches it may
//! differ: a guest cannot tell, or is told. What a kernel is told at its boot, and waiting for a memory, are no part of it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::model::hex;

use sha2::{Digest, Sha256};

/// What makes QEMU wait for a memory, and for the word to go on: docs of `-incoming` in QEMU's manual.
pub(super) const WAIT: [&str; 3] = ["-S", "-incoming", "defer"];
/// What stands before the one thing that may change: the port, and whether it is open in a network of its own.
const FORWARD: &str = "hostfwd=tcp:";

/// What stands before the address of the network card.
const CARD: &str = ",mac=";

/// The digest of a command line without its first word, the program.
pub fn shape_of(args: &[OsString]) -> String {
    let args = args.strip_suffix(&WAIT.map(OsString::from)).unwrap_or(args);
    let value_of = |key: &str| args.windows(2).find(|pair| pair[0] == key).map(|pair| &pair[1]);
    let folder = value_of("-pidfile").and_then(|file| Path::new(file).parent()?.to_str());
    let folder = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
    let aside = [value_of("-name"), value_of("-append")];
    let mut hasher = Sha256::new();
    for arg in args.iter().filter(|arg| !aside.contains(&Some(*arg))) {
        match arg.to_str() {
            Some(text) => hasher.update(without_own(text, &folder)),
            None => hasher.update(arg.as_bytes()),
        }
        hasher.update([0]);
    }
    hex(&hasher.finalize())
}

/// An argument without what is one machine's own; `folder` is that of its files.
fn without_own(text: &str, folder: &str) -> String {
    let text = if folder.is_empty() { text.to_string() } else { text.replace(folder, "") };
    if let Some((before, after)) = text.split_once(FORWARD) {
        let port = after.trim_start_matches("127.0.0.1").trim_start_matches(':');
        return format!("{before}{}", port.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    if let Some((before, after)) = text.split_once(CARD) {
        let rest = after.trim_start_matches(|digit: char| digit.is_ascii_hexdigit() || digit == ':');
        return format!("{before}{CARD}{rest}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(line: &str) -> String {
        shape_of(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_port_and_the_wait_are_no_part_of_it_and_all_else_is() {
        let line = "-m 4096 -netdev user,id=net0,hostfwd=tcp:127.0.0.1:20001-:22 -pidfile /l/qemu.pid";
        assert_eq!(shape(line), shape(&line.replace("20001", "20999")));
        assert_eq!(shape(line), shape(&format!("{line} -S -incoming defer")));
        assert_eq!(shape(line), shape(&line.replace("127.0.0.1", "")));
        assert_ne!(shape(line), shape(&line.replace("4096", "2048")));
        assert_ne!(shape(line), shape(&line.replace("-:22", "-:23")));
        assert_ne!(shape(line), shape(&format!("{line} -snapshot")));
        assert_ne!(shape("a b"), shape("ab"));
    }

    #[test]
    fn what_is_one_machines_own_is_no_part_of_it() {
        let line = "-drive file=/l/blog/disk,if=none -device n,netdev=net0,mac=52:55:55:1d:5c:f0,x=1 \
            -name lima-blog -pidfile /l/blog/qemu.pid -machine q35";
        assert_eq!(shape(line), shape(&line.replace("blog", "other")));
        assert_eq!(shape(line), shape(&line.replace("1d:5c:f0", "00:00:01")));
        assert_eq!(shape(&format!("{line} -append rw")), shape(&format!("{line} -append init_on_free=1")));
        assert_ne!(shape(line), shape(&line.replace("/l/blog/disk", "/elsewhere/disk")));
        assert_ne!(shape(line), shape(&line.replace("x=1", "x=2")));
        assert_ne!(shape(line), shape(&line.replace("q35", "virt")));
    }
}
