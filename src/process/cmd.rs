//! A command as a value: program, arguments, input, limits. Printing one and running one are the same text.
//!
//! Enters: words. Leaves: a `Cmd` that can be shown, compared and run. Starts nothing.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::Secret;

/// What the program reads from its standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// Nothing: `/dev/null`.
    #[default]
    Null,
    /// These bytes, then end of file.
    Bytes(Vec<u8>),
    /// These bytes, which nobody may see, then end of file.
    Secret(Secret),
    /// Nothing, but its end comes only with our own: a program that waits for it does not outlive us.
    Open,
    /// Whatever our own standard input holds.
    Inherit,
}

/// A program to run with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) inherited: Vec<(OsString, OsString)>,
    pub(super) cwd: PathBuf,
    pub(super) input: Input,
    pub(super) time_limit: Option<Duration>,
    pub(super) own_group: bool,
}

impl Cmd {
    /// A command that runs `program`, found on PATH, in `/`, with the environment of the [`super::Runner`] only.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            inherited: Vec::new(),
            cwd: PathBuf::from("/"),
            input: Input::Null,
            time_limit: None,
            own_group: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable on top of the runner's allow-list.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Passes a variable of our own environment on; the shown line leaves it out, as it may hold a log-in.
    #[must_use]
    pub fn inherit_env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inherited.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in `folder` instead of `/`.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.cwd);
        self
    }

    /// Gives the program `bytes` to read.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Gives the program a secret to read: the one way in which a value leaves this process.
    #[must_use]
    pub fn secret_input(mut self, secret: Secret) -> Self {
        self.input = Input::Secret(secret);
        self
    }

    /// Lets the program wait for our end, however we end.
    #[must_use]
    pub fn open_input(mut self) -> Self {
        self.input = Input::Open;
        self
    }

    /// Lets the program read our own standard input.
    #[must_use]
    pub fn inherit_input(mut self) -> Self {
        self.input = Input::Inherit;
        self
    }

    /// Stops the program after `limit`, which then is the failure.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Puts the program into a process group of its own: Ctrl-C reaches it only through us.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// The program's file name, for messages.
    pub fn program_name(&self) -> String {
        Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }
}

/// The line a shell would run, quoted.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        for (name, value) in &self.env {
            words.push(format!("{}={}", name.to_string_lossy(), quote(value)));
        }
        words.push(quote(&self.program));
        words.extend(self.args.iter().map(|arg| quote_argument(arg)));
        f.write_str(&words.join(" "))?;
        match &self.input {
            Input::Bytes(bytes) => write!(f, " <<'{} bytes'", bytes.len()),
            Input::Secret(_) => f.write_str(" <<'secrets'"),
            Input::Null | Input::Open | Input::Inherit => Ok(()),
        }
    }
}

/// As [`quote`], but `--name=value` stays as it is: only the first word of a line can be an assignment.
fn quote_argument(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    // zsh expands `=name`.
    let without: Vec<u8> = bytes.iter().map(|byte| if *byte == b'=' { b'_' } else { *byte }).collect();
    let is_plain =
        !bytes.starts_with(b"=") && shlex::bytes::try_quote(&without).is_ok_and(|quoted| *quoted == *without);
    if is_plain { word.to_string_lossy().into_owned() } else { quote(word) }
}

fn quote(word: &OsStr) -> String {
    // A NUL cannot stand in an argument; spawning reports it, here it is only shown.
    let bytes = word.as_bytes();
    shlex::bytes::try_quote(bytes).map_or_else(
        |_| format!("{:?}", word.to_string_lossy()),
        |quoted| String::from_utf8_lossy(&quoted).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::Cmd;

    #[test]
    fn the_shown_line_is_one_a_shell_would_run() {
        let cmd = Cmd::new("ssh").env("A", "b c").args(["-F", "/a b", "--", "x;y"]).input("text");
        assert_eq!(cmd.to_string(), "A='b c' ssh -F '/a b' -- 'x;y' <<'4 bytes'");
        let cmd = Cmd::new("a=b").args(["--a=b", "=b", "--a=b c", "a=b", ""]);
        assert_eq!(cmd.to_string(), "'a=b' --a=b '=b' '--a=b c' a=b ''");
    }
}
