//! Whether two command lines of QEMU make the same machine: a memory fits no other.
//!
//! Enters: arguments. Leaves: a digest. The port that reaches the guest may change, and waiting for a memory is no part.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};

/// What makes QEMU wait for a memory, and for the word to go on: docs of `-incoming` in QEMU's manual.
pub(super) const WAIT: [&str; 3] = ["-S", "-incoming", "defer"];
/// What stands before the one thing that may change: the port, and whether it is open in a network of its own.
const FORWARD: &str = "hostfwd=tcp:";

/// The digest of a command line without its first word, the program.
pub fn shape_of(args: &[OsString]) -> String {
    let args = args.strip_suffix(&WAIT.map(OsString::from)).unwrap_or(args);
    let mut hasher = Sha256::new();
    for arg in args {
        match arg.to_str().and_then(|text| text.split_once(FORWARD)) {
            Some((before, after)) => {
                let port = after.trim_start_matches("127.0.0.1").trim_start_matches(':');
                let rest = port.trim_start_matches(|digit: char| digit.is_ascii_digit());
                hasher.update(format!("{before}{rest}"));
            }
            None => hasher.update(arg.as_bytes()),
        }
        hasher.update([0]);
    }
    hasher.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
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
}
