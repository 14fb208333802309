//! The login user of a machine, as lima.yaml has it: nothing of the host's user, and root by `sudo` or not.
//!
//! Enters: an isolation. Leaves: a part of the overlay; or the isolation again, from a configuration.

use serde::Serialize;

use crate::model::Isolation;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    name: &'static str,
    comment: &'static str,
    uid: u32,
    home: &'static str,
    shell: &'static str,
    passwordless_sudo: bool,
}

impl User {
    pub(super) const fn new(passwordless_sudo: bool) -> Self {
        let (name, comment, uid, home, shell) = ("dev", "", 1000, "/home/dev", "/bin/bash");
        Self { name, comment, uid, home, shell, passwordless_sudo }
    }
}

/// The isolation of a machine, by its configuration.
pub fn isolation_in(config: &serde_json::Value) -> Isolation {
    match config["user"]["passwordlessSudo"].as_bool() {
        Some(false) => Isolation::Strict,
        _ => Isolation::Standard,
    }
}
