//! Tests of the policy: each rule beside the one thing that breaks it.
//!
//! Enters: hops and payloads made up here. Leaves: nothing.

use super::super::wire::parse_payload;
use super::*;

const MACHINE: &[u8] = b"the machine's key";
const GIT: &[u8] = b"a git host's key";
const KEY: &[u8] = b"a user's key";
const SESSION: &[u8] = &[7; 32];

fn policy() -> Policy {
    let host = |name: &str, user: &str| Destination {
        name: name.into(),
        keys: vec![GIT.to_vec(), b"its other key".to_vec()],
        users: vec![user.into()],
    };
    Policy {
        machine_key: MACHINE.into(),
        destinations: vec![host("github.com", "git"), host("alias", "deploy")],
        only: None,
        signers: vec![KeyName::of(KEY)],
        ask: KeyAsk::Never,
    }
}

fn bind(host_key: &'static [u8], session: &'static [u8], forwards: bool) -> Bind<'static> {
    Bind { host_key, session, forwards }
}

fn hops(binds: &[Bind]) -> Vec<Hop> {
    let hop = |bind: &Bind| Hop {
        host_key: bind.host_key.into(),
        session: bind.session.into(),
        forwards: bind.forwards,
    };
    binds.iter().map(hop).collect()
}

fn at_git() -> Vec<Hop> {
    hops(&[bind(MACHINE, &[1; 32], true), bind(GIT, SESSION, false)])
}

fn login(user: &'static [u8]) -> Login<'static> {
    Login { session: SESSION, user, key: KEY, host_key: Some(GIT) }
}

fn judge(hops: &[Hop], payload: Payload) -> Result<Purpose, Refusal> {
    policy().judge_sign(hops, KEY, payload)
}

#[test]
fn the_first_hop_is_the_machine_and_the_second_a_granted_host() {
    let judge = |hops: &[Hop], bind| policy().judge_bind(hops, &bind).map(|hop| hop.host_key);
    let machine = hops(&[bind(MACHINE, &[1; 32], true)]);
    assert_eq!(judge(&[], bind(MACHINE, SESSION, true)), Ok(MACHINE.to_vec()));
    assert_eq!(judge(&[], bind(GIT, SESSION, true)), Err(Refusal::WrongMachine));
    assert_eq!(judge(&machine, bind(GIT, SESSION, false)), Ok(GIT.to_vec()));
    assert_eq!(judge(&machine, bind(MACHINE, &[1; 32], true)), Err(Refusal::Rebound));
    let evil = judge(&machine, bind(b"evil", SESSION, false));
    assert_eq!(evil, Err(Refusal::UnknownHost(KeyName::of(b"evil"))));
    assert_eq!(judge(&at_git(), bind(GIT, &[9; 32], false)), Err(Refusal::Rebound));
}

#[test]
fn a_login_to_the_machine_itself_sees_no_key_and_gets_no_further() {
    let own = hops(&[bind(MACHINE, &[1; 32], false)]);
    assert!(policy().judge_bind(&[], &bind(MACHINE, SESSION, false)).is_ok());
    assert_eq!(Policy::judge_list(&own), Ok(false));
    assert_eq!(judge(&own, Payload::Signature { namespace: b"git" }), Err(Refusal::OwnLogin));
    assert_eq!(policy().judge_bind(&own, &bind(GIT, SESSION, false)), Err(Refusal::Rebound));
}

#[test]
fn a_login_is_allowed_where_everything_fits() {
    let allowed = |user: &str, host: &str| Ok(Purpose::Login { user: user.into(), host: host.into() });
    assert_eq!(judge(&at_git(), Payload::Login(login(b"git"))), allowed("git", "github.com"));
    assert_eq!(judge(&at_git(), Payload::Login(login(b"deploy"))), allowed("deploy", "alias"));
    let plain = Login { host_key: None, ..login(b"git") };
    assert_eq!(judge(&at_git(), Payload::Login(plain)), allowed("git", "github.com"));
}

#[test]
fn a_login_is_refused_where_anything_differs() {
    let refused = |login: Login| judge(&at_git(), Payload::Login(login)).expect_err("refused");
    assert_eq!(refused(Login { session: &[8; 32], ..login(b"git") }), Refusal::OtherSession);
    assert_eq!(refused(Login { host_key: Some(b"its other key"), ..login(b"git") }), Refusal::OtherHostKey);
    assert_eq!(refused(Login { key: b"another", ..login(b"git") }), Refusal::OtherKey);
    let wrong = Refusal::WrongUser { user: "root".into(), host: "github.com".into() };
    assert_eq!(refused(login(b"root")), wrong);
}

#[test]
fn without_hops_or_beyond_them_nothing_is_signed() {
    let payload = || Payload::Login(login(b"git"));
    assert_eq!(judge(&[], payload()), Err(Refusal::Unbound));
    assert_eq!(judge(&at_git()[..1], payload()), Err(Refusal::NotSaid));
    let lent = hops(&[bind(MACHINE, &[1; 32], true), bind(GIT, SESSION, true)]);
    assert_eq!(judge(&lent, payload()), Err(Refusal::LentOn));
    assert_eq!(Policy::judge_list(&lent), Err(Refusal::LentOn));
    assert_eq!(judge(&lent, Payload::Signature { namespace: b"git" }), Err(Refusal::LentOn));
}

#[test]
fn only_the_configured_key_signs_and_only_for_git() {
    let machine = &at_git()[..1];
    assert_eq!(judge(machine, Payload::Signature { namespace: b"git" }), Ok(Purpose::Commit));
    for namespace in [&b"file"[..], b"git ", b"", b"gi", b"git\0"] {
        assert!(matches!(judge(machine, Payload::Signature { namespace }), Err(Refusal::Namespace(_))));
    }
    let other = policy().judge_sign(machine, b"another key", Payload::Signature { namespace: b"git" });
    assert_eq!(other, Err(Refusal::NotASigner(KeyName::of(b"another key"))));
    assert_eq!(judge(machine, parse_payload(b"anything")), Err(Refusal::Opaque));
}

#[test]
fn a_key_that_is_not_named_neither_shows_nor_logs_in() {
    let other = KeyName::of(b"another key");
    let narrow = Policy { only: Some(vec![other.clone()]), signers: Vec::new(), ..policy() };
    assert!(narrow.shows(b"another key") && !narrow.shows(KEY));
    let refused = narrow.judge_sign(&at_git(), KEY, Payload::Login(login(b"git")));
    assert_eq!(refused, Err(Refusal::KeyNotGranted(KeyName::of(KEY))));
    // A key that signs is shown, and still logs in nowhere.
    let signing = Policy { signers: vec![KeyName::of(KEY)], ..narrow };
    assert!(signing.shows(KEY));
    assert!(signing.judge_sign(&at_git(), KEY, Payload::Login(login(b"git"))).is_err());
    let none = Policy { only: Some(Vec::new()), signers: Vec::new(), ..policy() };
    assert!(!none.shows(KEY));
}

#[test]
fn what_the_guest_writes_is_shown_harmlessly() {
    let escape = judge(&at_git(), Payload::Login(login(b"\x1b]0;x\x07")));
    assert_eq!(
        escape.expect_err("refused").to_string(),
        "the login as `\\u{1b}]0;x\\u{7}` at github.com is not granted"
    );
}
