//! The one error type that leaves a module: what failed, why, and what to type next.
//!
//! Enters: causes of any kind. Leaves: a `Failure` with its exit code. Every module may use it; it knows none.
//! It stands at the bottom of the house, since the place that knows the cause also knows the best hint.

use std::fmt;

/// What a [`Failure`] means to the caller's shell; the numbers are documented in README.md and `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operation failed: exit code 1.
    Operation,
    /// Wrong usage or configuration, nothing was created: exit code 2.
    Usage,
    /// Refused, since work would be lost: exit code 3.
    WouldLoseWork,
    /// Another `machine` holds the project: exit code 4.
    Busy,
    /// The configuration asks for something it is not trusted with: exit code 5.
    NotTrusted,
    /// A guest command could not be started: exit code 125, as of `docker run`.
    NotStarted,
    /// Interrupted by a signal: exit code 130.
    Interrupted,
}

impl Kind {
    /// The exit code, as documented.
    pub const fn code(self) -> u8 {
        match self {
            Self::Operation => 1,
            Self::Usage => 2,
            Self::WouldLoseWork => 3,
            Self::Busy => 4,
            Self::NotTrusted => 5,
            Self::NotStarted => 125,
            Self::Interrupted => 130,
        }
    }
}

/// A failed operation: its kind, the chain of causes, hints that end with the exact next command.
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// The sentence and its causes.
    pub error: anyhow::Error,
    /// What the user can do, most useful first.
    pub hints: Vec<String>,
    /// Text that already has its final form (carets below a line of TOML) and replaces the `error:` line.
    pub rendered: Option<String>,
}

/// What fallible functions return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Makes a failure of `kind` with one sentence.
    pub fn new(kind: Kind, sentence: impl fmt::Display) -> Self {
        Self { kind, error: anyhow::anyhow!("{sentence}"), hints: Vec::new(), rendered: None }
    }

    /// The operation failed (exit code 1).
    pub fn operation(sentence: impl fmt::Display) -> Self {
        Self::new(Kind::Operation, sentence)
    }

    /// Wrong usage or configuration (exit code 2).
    pub fn usage(sentence: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, sentence)
    }

    /// Interrupted by a signal (exit code 130).
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// A failure whose text is laid out already.
    pub fn rendered(kind: Kind, text: String) -> Self {
        Self { rendered: Some(text), ..Self::new(kind, "see above") }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Puts a sentence above the present one, which becomes its cause.
    #[must_use]
    pub fn because(mut self, sentence: impl fmt::Display) -> Self {
        self.error = self.error.context(sentence.to_string());
        self
    }

    /// Changes the kind, for callers that give a failure another meaning.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { kind: Kind::Operation, error, hints: Vec::new(), rendered: None }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:#} {:?}", self.kind, self.error, self.hints)
    }
}

/// Gives a `Result` the sentence that says what was being done.
pub trait Context<T> {
    /// Puts `sentence` above the cause.
    fn because<S: fmt::Display>(self, sentence: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn because<S: fmt::Display>(self, sentence: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|failure| failure.because(sentence()))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn because<S: fmt::Display>(self, sentence: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| Failure::from(anyhow::Error::new(cause).context(sentence().to_string())))
    }
}
