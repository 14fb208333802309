//! What machines may use of the host's ssh-agent: which keys, at which hosts, and whether their owner is asked.
//!
//! Enters: words of config.toml and of the command line. Leaves: values by which a request is judged. Knows no agent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::name::ProjectName;
use super::refused::{Refused, shown};

/// A public key by its fingerprint, `SHA256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// The name of the key with these bytes, as `ssh-keygen -l` shows it.
    pub fn of(key: &[u8]) -> Self {
        Self(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key))))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = Refused;

    /// Reads a fingerprint, or a whole public key.
    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.contains("PRIVATE KEY") {
            let sentence = "this is a private key; the public one, or its fingerprint, belongs here";
            return Err(Refused::new(sentence).masked(Some("***".into())));
        }
        let is_fingerprint = |hash: &str| STANDARD_NO_PAD.decode(hash).is_ok_and(|bytes| bytes.len() == 32);
        if text.strip_prefix("SHA256:").is_some_and(is_fingerprint) {
            return Ok(Self(text.into()));
        }
        key_bytes(text).as_deref().map(Self::of).ok_or_else(|| {
            Refused::new(format!(
                "expected a key such as `SHA256:…`, as `ssh-add -l` shows it, or `ssh-ed25519 AAAA…`, got `{}`",
                shown(text)
            ))
        })
    }
}

/// The bytes of a public key given as `ssh-ed25519 AAAA…`, which begin with that same word (RFC 4253, section 6.6).
pub fn key_bytes(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_whitespace();
    let (kind, data) = (words.next()?, words.next()?);
    let bytes = STANDARD.decode(data).ok()?;
    let length = u32::try_from(kind.len()).ok()?.to_be_bytes();
    let begins_with_kind = bytes.strip_prefix(&length)?.starts_with(kind.as_bytes());
    begins_with_kind.then_some(bytes)
}

/// A user at an ssh host, `git@github.com` or `deploy@git.corp:2222`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitAccount {
    /// The user; default: `git`.
    pub user: String,
    /// The host; it may be an alias of the user's ssh configuration.
    pub host: String,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl fmt::Display for GitAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for GitAccount {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let is_word = |text: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !text.is_empty() && !text.starts_with('-') && text.len() < 254 && text.chars().all(is_part)
        };
        let (user, place) = text.split_once('@').unwrap_or(("git", text));
        let (host, port) = match place.split_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0).map(Some)),
            None => (place, Some(None)),
        };
        match port {
            Some(port) if is_word(user) && is_word(host) => {
                Ok(Self { user: user.into(), host: host.into(), port })
            }
            _ => Err(Refused::new(format!(
                "expected a host such as `git.example.com` or `user@git.example.com:2222`, got `{}`",
                shown(text)
            ))),
        }
    }
}

/// When the owner of a key is asked before it signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyAsk {
    /// Never: what is granted is granted.
    #[default]
    Never,
    /// At the first use of a key at a host, by each process that serves the agent.
    First,
    /// Each time.
    Always,
}

impl KeyAsk {
    /// All values, as they are written.
    pub const WORDS: [(&str, Self); 3] =
        [("never", Self::Never), ("first", Self::First), ("always", Self::Always)];
}

impl fmt::Display for KeyAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, ask)| ask == self).map_or("", |(word, _)| word);
        f.pad(word)
    }
}

impl FromStr for KeyAsk {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, ask)| *ask);
        found.ok_or_else(|| {
            Refused::new(format!("expected `never`, `first` or `always`, got `{}`", shown(text)))
        })
    }
}

/// What one table says; what it leaves out is as it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// The keys that may log in. Default: every key in the agent.
    pub only: Option<Vec<KeyName>>,
    /// Hosts besides those of the project's repositories. Default: none.
    pub hosts: Option<Vec<GitAccount>>,
    /// Keys that may sign commits besides the configured signing key. Default: none.
    pub sign: Option<Vec<KeyName>>,
    /// Default: never.
    pub ask: Option<KeyAsk>,
}

/// `[keys]` of config.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyGrants {
    /// For every project.
    pub defaults: KeyRules,
    /// What a project has in place of that.
    pub projects: BTreeMap<ProjectName, KeyRules>,
}

impl KeyGrants {
    /// What counts for a project: each key of its own table in place of the default's.
    pub fn of(&self, project: &str) -> KeyRules {
        let own =
            self.projects.iter().find(|(name, _)| name.as_str() == project).map(|(_, rules)| rules.clone());
        let (own, defaults) = (own.unwrap_or_default(), self.defaults.clone());
        KeyRules {
            only: own.only.or(defaults.only),
            hosts: own.hosts.or(defaults.hosts),
            sign: own.sign.or(defaults.sign),
            ask: own.ask.or(defaults.ask),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";
    const FINGERPRINT: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

    #[test]
    fn a_key_is_named_by_its_fingerprint_or_itself() {
        for text in [KEY, FINGERPRINT] {
            assert_eq!(text.parse::<KeyName>().expect("a key").to_string(), FINGERPRINT);
        }
        for bad in ["", "SHA256:", "SHA256:abc", "MD5:aa:bb", "me@laptop", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA"]
        {
            assert!(bad.parse::<KeyName>().is_err(), "{bad}");
        }
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----".parse::<KeyName>().expect_err("refused");
        assert_eq!(private.masked_value(), Some("***"));
    }

    #[test]
    fn an_account_is_git_unless_it_says_otherwise() {
        let show = |text: &str| text.parse::<GitAccount>().map(|account| account.to_string()).ok();
        assert_eq!(show("github.com").as_deref(), Some("git@github.com"));
        assert_eq!(show("deploy@git.corp:2222").as_deref(), Some("deploy@git.corp:2222"));
        for bad in
            ["", "-oProxyCommand=x", "git@", "@h", "a b", "git@-h", "h:0", "h:65536", "h:x", "h/p", "a@b@c"]
        {
            assert_eq!(show(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_project_replaces_key_by_key() {
        let host = |text: &str| Some(vec![text.parse().expect("an account")]);
        let defaults = KeyRules { hosts: host("a"), ask: Some(KeyAsk::First), ..KeyRules::default() };
        let own = KeyRules { hosts: host("b"), ..KeyRules::default() };
        let grants = KeyGrants {
            defaults: defaults.clone(),
            projects: [("blog".parse().expect("a name"), own)].into(),
        };
        assert_eq!(grants.of("other"), defaults);
        assert_eq!(grants.of("blog"), KeyRules { hosts: host("b"), ..defaults });
    }
}
