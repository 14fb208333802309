//! Tests of `keys`: what its log says.
//!
//! Enters: entries. Leaves: sentences.

use super::*;

#[test]
fn the_log_reads_as_sentences() {
    let entry = Entry {
        time: "2026-01-31T12:00:00.000Z".into(),
        request: "sign".into(),
        purpose: Some("login".into()),
        user: Some("git".into()),
        host: Some("github.com".into()),
        key: Some("SHA256:x".into()),
        verdict: "allowed".into(),
        ..Entry::default()
    };
    assert_eq!(sentence(&entry), "2026-01-31T12:00:00.000Z  allowed  sign login git@github.com SHA256:x");
    let entry = Entry {
        verdict: "refused".into(),
        reason: Some("no".into()),
        request: "list".into(),
        ..Entry::default()
    };
    assert_eq!(sentence(&entry), "  refused  list: no");
}
