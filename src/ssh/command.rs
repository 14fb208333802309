//! The remote command line: words that every login shell leaves alone, for a helper in the guest.
//!
//! Enters: a folder and arguments, any bytes but NUL. Leaves: text for ssh. fish, zsh and bash read it alike.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use crate::failure::{Failure, Kind, Result};

/// Where provisioning installs the helper.
const SESSION: &str = "/usr/local/lib/machine/session";
/// The helper's text.
const SCRIPT: &str = include_str!("../../templates/guest/session.sh");
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
    /// A login shell that is bash runs the helper's text itself; another one starts the helper.
    ///
    /// # Errors
    /// When the arguments are longer than the guest's kernel takes; nothing has been started then.
    pub fn command_line(&self, folder: &str) -> Result<String> {
        let words = self.words(folder);
        let helper = self.helper_line(folder)?;
        let inline = format!("test -n \"$BASH_VERSION\" && eval 'set -- {words}\n{}' || {helper}", code());
        // `eval` ends with `exit`, so bash never comes to what stands behind it.
        Ok(if inline.len() <= LIMIT { inline } else { helper })
    }

    /// As [`Self::command_line`], short to read: every login shell starts the helper.
    ///
    /// # Errors
    /// When the arguments are longer than the guest's kernel takes.
    pub fn helper_line(&self, folder: &str) -> Result<String> {
        let line = format!("{SESSION} {}", self.words(folder));
        if line.len() > LIMIT {
            let sentence =
                format!("the command is {} bytes long once encoded; the limit is {LIMIT}", line.len());
            return Err(Failure::new(Kind::NotStarted, sentence)
                .hint("pass long input through standard input instead"));
        }
        Ok(line)
    }

    fn words(&self, folder: &str) -> String {
        let (mode, args): (&str, &[OsString]) = match self {
            Self::Login => ("login", &[]),
            Self::OnTerminal(args) => ("terminal", args),
            Self::Plain(args) => ("plain", args),
        };
        let words =
            [OsStr::new(mode), OsStr::new(folder)].into_iter().chain(args.iter().map(OsString::as_os_str));
        words.map(encode).collect::<Vec<_>>().join(" ")
    }
}

/// The helper's text without its comments.
fn code() -> String {
    SCRIPT.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// A word of letters, digits, dots, slashes and hyphens; other bytes as `_` and two hexadecimal digits.
fn encode(word: &OsStr) -> String {
    // The dot keeps an empty word from vanishing.
    word.as_bytes().iter().fold(".".to_string(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"./-".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "_{byte:02x}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Interrupt, Runner};
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt;

    /// What a shell that runs our line hands to a program, by a login shell that is bash.
    fn received(args: &[Vec<u8>]) -> Vec<u8> {
        let mut words = vec![OsString::from("printf"), "%s|".into()];
        words.extend(args.iter().cloned().map(OsString::from_vec));
        let line = Remote::Plain(words).command_line("").expect("short");
        let env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("HOME".into(), "/".into())];
        let runner = Runner::new(env, Interrupt::default(), None);
        // A process group of its own, as sshd gives it.
        runner.read(&Cmd::new("bash").arg("-c").arg(line).own_group()).expect("ran").stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn arguments_arrive_byte_for_byte(args in prop::collection::vec(prop::collection::vec(1u8..=255, 0..20), 1..5)) {
            let expected: Vec<u8> = args.iter().flat_map(|arg| [arg.as_slice(), b"|"].concat()).collect();
            prop_assert_eq!(received(&args), expected);
        }
    }

    #[test]
    fn the_words_a_shell_sees_are_harmless_and_the_script_can_be_quoted() {
        let line =
            Remote::Plain(vec!["a b;$(c)'".into(), "".into()]).command_line("code/blog").expect("short");
        let helper = line.rsplit_once("|| ").expect("the helper's call").1;
        assert_eq!(helper, "/usr/local/lib/machine/session .plain .code/blog .a_20b_3b_24_28c_29_27 .");
        assert!(!code().contains('\''));
        assert_eq!(line.matches('\'').count(), 2);
    }

    #[test]
    fn a_long_command_goes_to_the_helper_and_too_long_a_one_is_refused() {
        let plain = |length| Remote::Plain(vec!["x".repeat(length).into()]).command_line("");
        assert!(plain(100_000).expect("fits").starts_with(SESSION));
        assert_eq!(plain(200_000).expect_err("too long").kind, Kind::NotStarted);
    }
}
