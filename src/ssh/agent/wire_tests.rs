//! Tests of the wire: recorded messages are understood, bent ones are survived.
//!
//! Enters: what OpenSSH's programs said to each other. Leaves: nothing.

use super::super::recorded::{asked, identities, messages};
use super::*;
use proptest::prelude::*;

#[test]
fn recorded_logins_are_understood() {
    for (connection, kind) in [(3, &b"ssh-ed25519"[..]), (4, b"ecdsa-sha2-nistp384"), (5, b"ssh-rsa")] {
        let messages = asked(connection);
        let requests: Vec<Request> =
            messages.iter().map(|message| parse_request(message).expect("recorded")).collect();
        let [Request::Bind(machine), Request::Bind(host), Request::List, Request::Sign { key, data }] =
            requests[..]
        else {
            panic!("{requests:?}");
        };
        assert!(machine.forwards && !host.forwards);
        assert!(host.host_key[4..].starts_with(kind));
        let login = Login { session: host.session, user: b"root", key, host_key: Some(host.host_key) };
        assert_eq!(parse_payload(data), Payload::Login(login));
    }
}

#[test]
fn a_recorded_signature_is_understood() {
    let messages = asked(6);
    let Ok(Request::Sign { data, .. }) = parse_request(&messages[2]) else { panic!("no request to sign") };
    assert_eq!(parse_payload(data), Payload::Signature { namespace: b"git" });
}

#[test]
fn a_message_is_whole_and_has_nothing_behind_it() {
    for message in asked(3).iter().chain(&asked(6)) {
        let whole = parse_request(message).expect("recorded");
        for cut in 0..message.len() {
            assert_ne!(parse_request(&message[..cut]).ok(), Some(whole), "cut at {cut}");
        }
        assert_eq!(parse_request(&[message.as_slice(), b"\0"].concat()), Err(Malformed));
        if let Request::Sign { data, .. } = whole {
            for cut in 0..data.len() {
                assert_eq!(parse_payload(&data[..cut]), Payload::Opaque, "cut at {cut}");
            }
            assert_eq!(parse_payload(&[data, b"\0"].concat()), Payload::Opaque);
        }
    }
}

#[test]
fn what_is_no_key_login_and_no_git_signature_is_opaque() {
    let messages = asked(3);
    let Ok(Request::Sign { data, .. }) = parse_request(&messages[3]) else { panic!("no request to sign") };
    let method = data.windows(9).position(|window| window == b"publickey").expect("a method");
    for (at, byte) in [(method, b'P'), (method + HOSTBOUND.len(), 0), (4 + 64, 51)] {
        let mut other = data.to_vec();
        other[at] = byte;
        assert_eq!(parse_payload(&other), Payload::Opaque, "{byte} at {at}");
    }
    assert_eq!(parse_payload(b"SSHSIG"), Payload::Opaque);
    assert_eq!(parse_payload(b""), Payload::Opaque);
}

#[test]
fn an_old_hash_signs_no_session() {
    let bind = &asked(5)[1];
    let at = bind.windows(12).position(|window| window == b"rsa-sha2-512").expect("an algorithm");
    let mut old = bind.clone();
    old.splice(at - 4..at + 12, *b"\0\0\0\x07ssh-rsa");
    let field = at - 8;
    let length = u32::from_be_bytes(old[field..field + 4].try_into().expect("four bytes")) - 5;
    old[field..field + 4].copy_from_slice(&length.to_be_bytes());
    assert!(parse_request(bind).is_ok());
    assert_eq!(parse_request(&old), Err(Malformed));
}

#[test]
fn unknown_flags_are_refused() {
    let mut sign = asked(3).remove(3);
    for (flags, is_known) in [(0, true), (2, true), (4, true), (1, false), (8, false)] {
        *sign.last_mut().expect("flags") = flags;
        assert_eq!(parse_request(&sign).is_ok(), is_known, "{flags}");
    }
}

#[test]
fn lists_keep_the_keys_and_lose_the_comments() {
    let answer = identities();
    let keys = parse_identities(&answer).expect("recorded");
    assert_eq!((keys.len(), keys[0].comment), (2, &b"person@laptop"[..]));
    let shown = render_identities(keys.iter().map(|identity| identity.key));
    let again = parse_identities(&shown).expect("ours");
    assert_eq!((again.len(), again[0].key), (2, keys[0].key));
    assert_eq!([again[0].comment, again[1].comment], [b"key 1 of the host", b"key 2 of the host"]);
    let mut many = vec![IDENTITIES_ANSWER];
    many.extend(u32::MAX.to_be_bytes());
    assert_eq!(parse_identities(&many), Err(Malformed));
}

#[test]
fn frames_are_whole_and_bounded() {
    let mut frame = Vec::new();
    write_frame(&mut frame, b"abc").expect("written");
    assert_eq!(frame, b"\0\0\0\x03abc");
    assert_eq!(read_frame(&mut &frame[..]).expect("read"), Some(b"abc".to_vec()));
    assert_eq!(read_frame(&mut &b""[..]).expect("ended"), None);
    for bad in [&b"\0\0\0\x04abc"[..], b"\0\0\0\0", b"\0\x04\0\x01", b"\xff\xff\xff\xff"] {
        assert!(read_frame(&mut &bad[..]).is_err(), "{bad:?}");
    }
}

/// All that reads foreign bytes.
fn decode(bytes: &[u8]) {
    if let Ok(Request::Sign { data, .. }) = parse_request(bytes) {
        parse_payload(data);
    }
    parse_payload(bytes);
    let _ = parse_identities(bytes);
    let _ = read_frame(&mut &bytes[..]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(&bytes);
    }

    #[test]
    fn bent_messages_are_survived(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let recorded = messages();
        let mut bent = recorded[pick.index(recorded.len())].clone();
        let at = at.index(bent.len());
        bent[at] = byte;
        decode(&bent);
    }
}

/// Ten million bent messages: bytes changed, cut, doubled and put together from several.
#[test]
#[ignore = "takes a minute or more; `tests/run long` runs it"]
fn ten_million_bent_messages_are_survived() {
    let recorded = messages();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        // xorshift64: repeatable, and good enough to pick bytes.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap_or_default() % below.max(1)
    };
    for _ in 0..10_000_000 {
        let mut bent = recorded[next(recorded.len())].clone();
        for _ in 0..=next(4) {
            let (at, other) = (next(bent.len()), &recorded[next(recorded.len())]);
            match next(4) {
                0 => bent.truncate(at),
                1 => bent.splice(at..at, other[..next(other.len())].iter().copied()).for_each(drop),
                2 if at + 4 <= bent.len() => bent[at..at + 4].copy_from_slice(&[0, 0, 0, 1 << next(8)]),
                _ if !bent.is_empty() => bent[at] = u8::try_from(next(256)).unwrap_or_default(),
                _ => {}
            }
        }
        decode(&bent);
    }
}
