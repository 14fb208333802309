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

impl FromStr for ProjectName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        check_name("project", text)?;
        if RESERVED.contains(&text) {
            return Err(Refused::new(format!(
                "`{text}` is a word of `machine` itself and cannot name a project"
            )));
        }
        if text.starts_with("bake-") {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal<T: FromStr<Err = Refused> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().unwrap_err().to_string()
    }

    #[test]
    fn accepts_plain_names() {
        for name in ["a", "blog", "a-1", "x--y", "bake", &"a".repeat(30)] {
            assert_eq!(name.parse::<ProfileName>().unwrap().as_str(), name);
        }
        assert_eq!("bakery".parse::<ProjectName>().unwrap().to_string(), "bakery");
    }

    #[test]
    fn refuses_other_names_with_a_reason() {
        let expected = "expected a project name of lower-case letters, digits and `-`, got ";
        let cases = [
            ("", "``: it is empty"),
            ("-v", "`-v`: it starts with `-`, like an option"),
            ("3d", "`3d`: it starts with a digit"),
            ("../etc", "`../etc`: it is a path"),
            ("a/b", "`a/b`: it is a path"),
            (".ssh", "`.ssh`: it is a path"),
            ("My Blog", "`My Blog`: it has capital letters; did you mean `my-blog`?"),
            ("my_blog", "`my_blog`: it has `_`; did you mean `my-blog`?"),
            ("a b", "`a b`: it has a space; did you mean `a-b`?"),
            ("blоg", "`blоg`: it has the character U+043E"),
            ("a\nb", "`a\\nb`: it has the character U+000A; did you mean `a-b`?"),
        ];
        for (name, message) in cases {
            assert_eq!(refusal::<ProjectName>(name), format!("{expected}{message}"));
        }
        assert_eq!(
            refusal::<ProfileName>(&"a".repeat(31)),
            format!(
                "expected a profile name of lower-case letters, digits and `-`, got `{}`: it has 31 characters, 30 \
                 are allowed; did you mean `{}`?",
                "a".repeat(31),
                "a".repeat(30)
            )
        );
    }

    #[test]
    fn keeps_its_own_words() {
        assert_eq!(
            refusal::<ProjectName>("up"),
            "`up` is a word of `machine` itself and cannot name a project"
        );
        assert_eq!(
            refusal::<ProjectName>("bake-0f"),
            "`bake-0f` starts with `bake-`, which is kept for machines that build boxes"
        );
        for word in RESERVED {
            assert!(word.parse::<ProjectName>().is_err(), "{word}");
        }
        assert!(RESERVED.is_sorted(), "kept in order, so that a reader finds a word");
    }

    #[test]
    fn environment_names_cannot_steer() {
        for name in ["A", "_x", "DATABASE_URL", "LDFLAGS", "PATHS"] {
            assert_eq!(name.parse::<EnvName>().unwrap().as_ref(), name);
        }
        for name in
            ["LD_PRELOAD", "DYLD_X", "BASH_ENV", "ENV", "IFS", "HOME", "USER", "SHELL", "SSH_AUTH_SOCK"]
        {
            assert_eq!(
                refusal::<EnvName>(name),
                format!("`{name}` steers the loader, the shell or ssh and cannot be set")
            );
        }
        assert_eq!(
            refusal::<EnvName>("PATH"),
            "`PATH` is put together by `machine`; use `path` in provision.toml"
        );
        for (name, shown) in
            [("", ""), ("1A", "1A"), ("A-B", "A-B"), ("A=B", "A=B"), ("Ä", "Ä"), ("A\0", "A\\u{0}")]
        {
            assert_eq!(
                refusal::<EnvName>(name),
                format!(
                    "expected the name of an environment variable, such as `DATABASE_URL`, got `{shown}`"
                )
            );
        }
        assert!(STEERING.is_sorted());
    }

    #[test]
    fn knows_two_images() {
        for image in ImageName::ALL {
            assert_eq!(image.as_str().parse::<ImageName>().unwrap(), image);
        }
        assert_eq!(refusal::<ImageName>("debian"), "expected `debian-13` or `ubuntu-24.04`, got `debian`");
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in any::<String>()) {
            for message in [
                text.parse::<ProjectName>().err(),
                text.parse::<ProfileName>().err(),
                text.parse::<EnvName>().err(),
                text.parse::<ImageName>().err(),
            ] {
                let message = message.map(|refused| refused.to_string()).unwrap_or_default();
                prop_assert!(!message.contains(char::is_control));
            }
        }

        #[test]
        fn names_round_trip(text in "[a-z][a-z0-9-]{0,29}") {
            prop_assert_eq!(text.parse::<ProfileName>().unwrap().to_string(), text);
        }
    }
}
