//! The verdicts about who somebody is: the guest's login user, the repository whose file is followed.
//!
//! Enters: nothing. Leaves: complaints of the harness.

use super::Observed;
use super::tests::{sound, verdict};
use crate::boundary::observed::TrustSeen;
use crate::model::Isolation;

#[test]
fn whoever_is_root_in_a_strict_machine_is_a_failure() {
    let root = |isolation, ways: &[&str]| {
        let mut observed = sound();
        observed.stated.isolation = isolation;
        observed.guest.ways = ways.iter().map(ToString::to_string).collect();
        verdict(&observed, "guest-root")
    };
    assert_eq!(root(Isolation::Standard, &["sudo"]), "crosses, as stated");
    assert_eq!(root(Isolation::Strict, &["sudo"]), "FAILED");
    assert_eq!(root(Isolation::Strict, &["the socket of Docker"]), "FAILED");
    assert_eq!(root(Isolation::Strict, &[]), "closed");
    let mut silent = sound();
    silent.guest.account.clear();
    assert_eq!(verdict(&silent, "guest-root"), "not probed");
}

#[test]
fn a_repositorys_file_has_what_was_allowed() {
    let asking = |lent| TrustSeen::Asking { keys: vec!["ports".into()], lent };
    for (trust, expected) in [
        (TrustSeen::Inert, "closed"),
        (TrustSeen::Allowed { keys: vec!["ports".into()] }, "open by `ports` in `/c/projects.toml`"),
        (asking(false), "closed"),
        (asking(true), "FAILED"),
        (TrustSeen::Damaged(String::new()), "FAILED"),
    ] {
        assert_eq!(verdict(&Observed { trust, ..sound() }, "repository-file"), expected);
    }
}
