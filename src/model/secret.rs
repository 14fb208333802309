//! Secrets: values that are never shown, and where the configuration says they come from.
//!
//! Enters: bytes that a source gave. Leaves: a `Secret`, zeroed when its last holder drops it, and [`redact`], which takes
//! every value that is held out of a text. Knows no source and no guest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::EnvName;

/// What stands in the place of a value.
const MASK: &[u8] = b"***";
/// A shorter value is found in every text, and hides nothing.
const SHORTEST_VALUE: usize = 4;
/// A shorter line of a longer value, such as a brace, is none of its secrets.
const SHORTEST_LINE: usize = 8;

/// The values that are held in this process and may stand in what other programs print.
static HELD: RwLock<Vec<Weak<Bytes>>> = RwLock::new(Vec::new());

struct Bytes(Vec<u8>);

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader the compiler may leave the zeros out.
        std::hint::black_box(&self.0);
    }
}

/// Bytes that nobody may see. Copies share the one value.
#[derive(Clone)]
pub struct Secret(Arc<Bytes>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Bytes(bytes)))
    }

    /// The bytes, for the one who hands them on.
    pub fn expose(&self) -> &[u8] {
        &self.0.0
    }

    /// Has [`redact`] take this value out of every text, for as long as somebody holds it.
    pub fn conceal(&self) {
        let mut held = HELD.write().unwrap_or_else(PoisonError::into_inner);
        held.retain(|other| other.strong_count() > 0);
        held.push(Arc::downgrade(&self.0));
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

/// A text without the secrets that are held: whole values, and the lines of those that have several.
pub fn redact(text: &[u8]) -> Cow<'_, [u8]> {
    let held = HELD.read().unwrap_or_else(PoisonError::into_inner);
    let held: Vec<Arc<Bytes>> = held.iter().filter_map(Weak::upgrade).collect();
    let mut pieces: Vec<&[u8]> = held.iter().flat_map(|value| pieces(&value.0)).collect();
    // A value that is the beginning of another one must not leave that one's end.
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
    pieces.iter().fold(Cow::Borrowed(text), |text, piece| replace(text, piece))
}

/// As [`redact`], for text.
pub fn redact_text(text: &str) -> Cow<'_, str> {
    match redact(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn pieces(value: &[u8]) -> Vec<&[u8]> {
    let value = value.trim_ascii();
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| line.len() >= SHORTEST_LINE);
    std::iter::once(value).filter(|value| value.len() >= SHORTEST_VALUE).chain(lines).collect()
}

fn replace<'t>(text: Cow<'t, [u8]>, piece: &[u8]) -> Cow<'t, [u8]> {
    let find = |from: usize| {
        let rest = text.get(from..)?;
        rest.windows(piece.len()).position(|window| window == piece).map(|at| from + at)
    };
    let Some(mut at) = find(0) else { return text };
    let (mut clean, mut from) = (Vec::new(), 0);
    loop {
        clean.extend_from_slice(&text[from..at]);
        clean.extend_from_slice(MASK);
        from = at + piece.len();
        match find(from) {
            Some(next) => at = next,
            None => break,
        }
    }
    clean.extend_from_slice(&text[from..]);
    Cow::Owned(clean)
}

/// Where one secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A reference for 1Password's `op read`: `op://vault/item/field`.
    OnePassword(String),
    /// A variable of a 1Password Environment, by the environment's id.
    OnePasswordEnvironment {
        /// The id, as 1Password shows it.
        id: String,
        /// The variable's name in it.
        variable: String,
    },
    /// What a program prints: an argv, never a shell line.
    Command(Vec<String>),
    /// A variable of `machine`'s own environment.
    Variable(String),
    /// A file: an absolute path, or one that begins with `~/`.
    File(PathBuf),
    /// An entry of the system's keychain: macOS' login keychain, the Secret Service elsewhere.
    Keychain {
        /// The service it is stored under.
        service: String,
        /// The account, where one service has several.
        account: Option<String>,
    },
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnePassword(reference) => write!(f, "`{reference}`"),
            Self::OnePasswordEnvironment { id, variable } => {
                write!(f, "`{variable}` of the 1Password Environment `{id}`")
            }
            // Its arguments may be longer than a line, and are in the file for all to read.
            Self::Command(argv) => {
                write!(f, "the command `{}`", argv.first().map(String::as_str).unwrap_or_default())
            }
            Self::Variable(name) => write!(f, "the variable `{name}`"),
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            Self::Keychain { service, account: Some(account) } => {
                write!(f, "the keychain's `{service}` of `{account}`")
            }
            Self::Keychain { service, account: None } => write!(f, "the keychain's `{service}`"),
        }
    }
}

/// One secret as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSpec {
    /// Where it comes from.
    pub source: SecretSource,
    /// Whether sessions get it as a variable of their environment; default false.
    pub export: bool,
    /// How long its source may take; 1 to 600 seconds, default 60.
    pub time_limit: Duration,
}

impl SecretSpec {
    /// How long a source may take that says nothing of it: a person may have to unlock something.
    pub const TIME_LIMIT: Duration = Duration::from_secs(60);
}

/// The log-in that git uses for a project's own https repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitToken {
    /// The secret that is the password.
    pub secret: EnvName,
    /// The user name beside it; most hosts take any with a token.
    pub username: String,
}

/// All secrets of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// By the name of the file in `/run/secrets`, and of the variable.
    pub wanted: BTreeMap<EnvName, SecretSpec>,
    /// How git logs in.
    pub git: Option<GitToken>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(value: &str) -> Secret {
        let secret = Secret::new(value.into());
        secret.conceal();
        secret
    }

    #[test]
    fn what_is_held_is_shown_nowhere_and_forgotten_when_dropped() {
        let secret = held("s3cret-model-1");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(redact_text("a s3cret-model-1 b s3cret-model-1"), "a *** b ***");
        let copy = secret.clone();
        drop(secret);
        assert_eq!(redact_text("s3cret-model-1"), "***");
        drop(copy);
        assert_eq!(redact_text("s3cret-model-1"), "s3cret-model-1");
    }

    #[test]
    fn lines_of_a_long_value_and_values_within_values() {
        let _pem = held("{\n  \"key\": \"QUJDREVGRw\"\n}\n");
        assert_eq!(redact_text("{ and \"key\": \"QUJDREVGRw\" and }"), "{ and *** and }");
        let (_short, _long) = (held("model-prefix"), held("model-prefix-and-more"));
        assert_eq!(redact_text("model-prefix-and-more"), "***");
        let _tiny = held("abc");
        assert_eq!(redact_text("abc"), "abc");
    }

    proptest! {
        #[test]
        fn no_value_survives(before in ".{0,20}", value in "[a-zA-Z0-9/+'\"\\\\ é]{4,40}", after in ".{0,20}") {
            prop_assume!(value.trim().len() >= 4);
            let _secret = held(&value);
            let text = format!("{before}{value}{after}{value}");
            prop_assert!(!redact_text(&text).contains(value.trim()), "{text}");
        }
    }
}
