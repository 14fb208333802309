//! What the login user of a guest may become in it.
//!
//! Enters: one of two words. Leaves: the same as a type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `isolation` of a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// The login user is root by `sudo`, and has Docker.
    #[default]
    Standard,
    /// The login user is no root and cannot become it; root's work is done over a way in of its own.
    Strict,
}

impl Isolation {
    /// Whether the login user is no root.
    pub fn is_strict(self) -> bool {
        self == Self::Strict
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_strict() { "strict" } else { "standard" })
    }
}
