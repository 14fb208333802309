//! The remote command line: a fixed program and one word that every login shell leaves alone.
//!
//! Enters: a folder and arguments, any bytes but NUL. Leaves: text for ssh. fish, zsh and bash read it alike.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::failure::{Failure, Kind, Result};

/// The helper that provisioning installs; templates/guest/session.sh.
const SESSION: &str = "/usr/local/lib/machine/session";
/// Linux takes at most 128 KiB in one argument, and the login shell gets the command line as one.
const LIMIT: usize = 120 * 1024;

/// What runs in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A login shell.
    Login,
    /// A command on a terminal.
    OnTerminal(Vec<OsString>),
    /// A command without a terminal: its process group ends when the connection does.
    Plain(Vec<OsString>),
}

impl Remote {
    /// The command line for ssh, with `folder` below the home folder to start in.
    ///
    /// # Errors
    /// When the arguments are longer than the guest's kernel takes; nothing has been started then.
    pub fn command_line(&self, folder: &str) -> Result<String> {
        let (mode, args): (&str, &[OsString]) = match self {
            Self::Login => ("login", &[]),
            Self::OnTerminal(args) => ("terminal", args),
            Self::Plain(args) => ("plain", args),
        };
        let words =
            [OsStr::new(mode), OsStr::new(folder)].into_iter().chain(args.iter().map(OsString::as_os_str));
        let line = format!("{SESSION} {}", encode(words));
        if line.len() > LIMIT {
            let sentence =
                format!("the command is {} bytes long once encoded; the limit is {LIMIT}", line.len());
            return Err(Failure::new(Kind::NotStarted, sentence)
                .hint("pass long input through standard input instead"));
        }
        Ok(line)
    }
}

/// Joins words by NUL, which none of them can hold, and makes one base64 word of it.
fn encode<'a>(words: impl Iterator<Item = &'a OsStr>) -> String {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt;

    fn decode(line: &str) -> Vec<Vec<u8>> {
        let bytes = STANDARD.decode(line.split_once(' ').expect("two words").1).expect("base64");
        bytes.split_inclusive(|byte| *byte == 0).map(|word| word[..word.len() - 1].to_vec()).collect()
    }

    proptest! {
        #[test]
        fn arguments_arrive_byte_for_byte(args in prop::collection::vec(prop::collection::vec(1u8..=255, 0..20), 0..6)) {
            let remote = Remote::Plain(args.iter().cloned().map(OsString::from_vec).collect());
            let line = remote.command_line("code/blog").expect("short");
            let safe = |c: char| c.is_ascii_alphanumeric() || "/+= ".contains(c);
            prop_assert!(line.chars().all(safe));
            let mut expected = vec![b"plain".to_vec(), b"code/blog".to_vec()];
            expected.extend(args);
            prop_assert_eq!(decode(&line), expected);
        }
    }

    #[test]
    fn too_long_a_command_is_refused_before_anything_starts() {
        let failure = Remote::Plain(vec!["x".repeat(100_000).into()]).command_line("").expect_err("too long");
        assert_eq!(failure.kind, Kind::NotStarted);
    }
}
