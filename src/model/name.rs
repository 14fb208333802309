//! Names: of projects, profiles, environment variables and images.
//!
//! Enters: text. Leaves: names that are safe as a file name, a host name's part and an argument.
//! Must not know which projects or profiles exist.

use std::fmt;
use std::str::FromStr;

use super::refused::{Refused, shown};

/// Longest name of a project or profile: `machine-` before it still leaves a valid host name and socket path.
const NAME_LENGTH: usize = 30;

/// Words that cannot name a project: every command and alias, and the tables of projects.toml that are none.
pub const RESERVED: &[&str] = &[
    "aider",
    "bake",
    "boundary",
    "box",
    "claude",
    "code",
    "codex",
    "completions",
    "connect",
    "cp",
    "defaults",
    "destroy",
    "diff",
    "doctor",
    "down",
    "exec",
    "export",
    "fork",
    "help",
    "init",
    "keys",
    "lima",
    "list",
    "logs",
    "ls",
    "man",
    "ports",
    "profiles",
    "prune",
    "rebuild",
    "rescue",
    "run",
    "secrets",
    "shell",
    "sleep",
    "ssh",
    "start",
    "status",
    "stop",
    "trust",
    "uninstall",
    "up",
    "watch",
];

/// The name of a project: `^[a-z][a-z0-9-]{0,29}$`, no command's name and not starting with `bake-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(String);

/// The name of a profile: `^[a-z][a-z0-9-]{0,29}$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(String);

/// The name of an environment variable that may be set for sessions: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvName(String);

/// An image that `machine` knows where to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageName {
    /// Debian 13 (trixie), the default.
    #[default]
    Debian13,
    /// Ubuntu 24.04 LTS (noble).
    Ubuntu2404,
}

impl ProjectName {
    /// The name of a machine that builds a box, which is no project's and so cannot be typed.
    pub fn of_bake(key: &str) -> Self {
        Self(format!("bake-{key}"))
    }

    /// Whether a machine of that name builds a box.
    pub fn is_bake(name: &str) -> bool {
        name.starts_with("bake-")
    }
}

impl FromStr for ProjectName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        check_name("project", text)?;
        if RESERVED.contains(&text) {
            return Err(Refused::new(format!(
                "`{text}` is a word of `machine` itself and cannot name a project"
            )));
        }
        if Self::is_bake(text) {
            return Err(Refused::new(format!(
                "`{}` starts with `bake-`, which is kept for machines that build boxes",
                shown(text)
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ProfileName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        check_name("profile", text)?;
        Ok(Self(text.to_owned()))
    }
}

fn check_name(what: &str, text: &str) -> Result<(), Refused> {
    let Some(reason) = find_fault(text) else { return Ok(()) };
    let refused = Refused::new(format!(
        "expected a {what} name of lower-case letters, digits and `-`, got `{}`: {reason}",
        shown(text)
    ));
    let nearest = nearest_name(text);
    let is_helpful = find_fault(&nearest).is_none()
        && text.is_ascii()
        && !text.contains(['/', '\\', '.'])
        && !text.starts_with('-');
    Err(if is_helpful { refused.instead(nearest) } else { refused })
}

fn find_fault(text: &str) -> Option<String> {
    let first = text.chars().next();
    match first {
        None => return Some("it is empty".into()),
        Some('-') => return Some("it starts with `-`, like an option".into()),
        Some('0'..='9') => return Some("it starts with a digit".into()),
        Some(_) => {}
    }
    if text.contains(['/', '\\']) || text.starts_with('.') {
        return Some("it is a path".into());
    }
    let odd = text.chars().find(|character| !matches!(character, 'a'..='z' | '0'..='9' | '-'));
    if let Some(odd) = odd {
        return Some(describe_character(odd));
    }
    let length = text.len();
    (length > NAME_LENGTH).then(|| format!("it has {length} characters, {NAME_LENGTH} are allowed"))
}

/// A look-alike is told by its number, since it cannot be told by eye.
fn describe_character(odd: char) -> String {
    match odd {
        'A'..='Z' => "it has capital letters".into(),
        ' ' => "it has a space".into(),
        '_' => "it has `_`".into(),
        '!'..='~' => format!("it has `{odd}`"),
        other => format!("it has the character U+{:04X}", u32::from(other)),
    }
}

fn nearest_name(text: &str) -> String {
    let plain = |character: char| match character {
        'a'..='z' | '0'..='9' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        _ => '-',
    };
    let name: String = text.chars().map(plain).collect();
    name.trim_matches('-').chars().take(NAME_LENGTH).collect()
}

/// Variables that decide what the loader, the shell or ssh does before any program of the user runs.
const STEERING: &[&str] = &[
    "BASHOPTS",
    "BASH_ENV",
    "CDPATH",
    "ENV",
    "EUID",
    "GLOBIGNORE",
    "HOME",
    "IFS",
    "LOGNAME",
    "OLDPWD",
    "PPID",
    "PROMPT_COMMAND",
    "PS4",
    "PWD",
    "SHELL",
    "SHELLOPTS",
    "SSH_AUTH_SOCK",
    "UID",
    "USER",
    "_",
];

impl FromStr for EnvName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts_well || !text.chars().all(is_word) {
            return Err(Refused::new(format!(
                "expected the name of an environment variable, such as `DATABASE_URL`, got `{}`",
                shown(text)
            )));
        }
        if text == "PATH" {
            return Err(Refused::new("`PATH` is put together by `machine`; use `path` in provision.toml"));
        }
        if STEERING.contains(&text) || text.starts_with("LD_") || text.starts_with("DYLD_") {
            return Err(Refused::new(format!(
                "`{}` steers the loader, the shell or ssh and cannot be set",
                shown(text)
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl ImageName {
    /// Every image, the default first.
    pub const ALL: [Self; 2] = [Self::Debian13, Self::Ubuntu2404];

    /// The name as it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debian13 => "debian-13",
            Self::Ubuntu2404 => "ubuntu-24.04",
        }
    }
}

impl FromStr for ImageName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        Self::ALL.into_iter().find(|image| image.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(|image| format!("`{image}`")).join(" or ");
            Refused::new(format!("expected {names}, got `{}`", shown(text)))
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text side of the names that wrap one.
macro_rules! name_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

name_as_text!(ProjectName, ProfileName, EnvName);

impl ProjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ProfileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
