//! Tests of the server: recorded conversations between a client and an agent that is played here.
//!
//! Enters: what OpenSSH's programs said to each other. Leaves: nothing; the real `ssh-agent` verifies.

use super::super::log::read_log;
use super::super::policy::Destination;
use super::super::recorded::{asked, identities};
use super::super::wire::{FAILURE, LIST, Request, SUCCESS, parse_identities, parse_request};
use super::*;
use crate::model::{KeyAsk, KeyName};
use crate::process::Interrupt;

/// A folder with an agent of the host's, and what is lent of it.
struct Desk {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("a folder"), asked: Arc::default() };
        let listener = UnixListener::bind(desk.path("real")).expect("bound");
        let asked = Arc::clone(&desk.asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&asked);
                thread::spawn(move || play_agent(stream, &asked));
            }
        });
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self) -> AgentServer {
        let upstream = self.path("real");
        AgentServer::start(Service {
            socket: self.path("agent"),
            machine: "blog".into(),
            log: self.path("agent.log"),
            anchor: Cmd::new("sh")
                .args(["-c", "touch \"$1\"; exec cat", "sh"])
                .arg(self.path("anchored"))
                .open_input(),
            settled: Duration::from_millis(50),
            lend: Arc::new(move |_| {
                Ok(Loan { policy: policy(), upstream: Some(upstream.clone()), ask_with: None })
            }),
            runner: Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None),
        })
        .expect("serving")
    }

    fn connect(&self) -> Option<UnixStream> {
        let stream = UnixStream::connect(self.path("agent")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        Some(stream)
    }

    /// The first byte of the answer to each message, in one connection.
    fn answers(&self, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = self.connect().expect("served");
        messages.iter().filter_map(|message| talk(&mut stream, message)?.first().copied()).collect()
    }

    fn is_served(&self) -> bool {
        self.connect().is_some_and(|mut stream| talk(&mut stream, &LIST).is_some())
    }

    fn log(&self) -> Vec<(String, String, Option<String>)> {
        let entries = read_log(&self.path("agent.log")).into_iter();
        entries.map(|entry| (entry.request, entry.verdict, entry.reason)).collect()
    }
}

fn talk(stream: &mut UnixStream, message: &[u8]) -> Option<Vec<u8>> {
    write_frame(stream, message).ok()?;
    read_frame(stream).ok()?
}

/// Holds the keys of the record, signs everything, and notes what it is asked.
fn play_agent(mut stream: UnixStream, asked: &Mutex<Vec<u8>>) {
    while let Ok(Some(message)) = read_frame(&mut stream) {
        held(asked).push(message[0]);
        let answer = match message[0] {
            11 => identities(),
            13 => vec![14, 0, 0, 0, 0],
            _ => vec![SUCCESS],
        };
        write_frame(&mut stream, &answer).expect("answered");
    }
}

/// What fits the recorded conversations.
fn policy() -> Policy {
    let key_of = |message: &[u8]| match parse_request(message) {
        Ok(Request::Bind(bind)) => bind.host_key.to_vec(),
        Ok(Request::Sign { key, .. }) => key.to_vec(),
        _ => Vec::new(),
    };
    let host = |connection| Destination {
        name: format!("host {connection}"),
        keys: vec![key_of(&asked(connection)[1])],
        users: vec!["root".into()],
    };
    Policy {
        machine_key: key_of(&asked(3)[0]),
        destinations: [3, 4, 5].map(host).into(),
        only: None,
        signers: vec![KeyName::of(&key_of(&asked(6)[2]))],
        ask: KeyAsk::Never,
    }
}

fn line(request: &str, reason: Option<Refusal>) -> (String, String, Option<String>) {
    let verdict = if reason.is_some() { "refused" } else { "allowed" };
    (request.into(), verdict.into(), reason.map(|reason| reason.to_string()))
}

#[test]
fn recorded_conversations_pass_with_every_kind_of_host_key() {
    let desk = Desk::new();
    let _server = desk.serve();
    for connection in [3, 4, 5] {
        assert_eq!(desk.answers(&asked(connection)), [SUCCESS, SUCCESS, 12, 14], "connection {connection}");
    }
    assert_eq!(desk.answers(&asked(6)), [SUCCESS, 12, 14]);
    let log = desk.log();
    assert_eq!(log[..4], ["bind", "bind", "list", "sign"].map(|request| line(request, None)));
    assert_eq!(log.len(), 15);
    let last = read_log(&desk.path("agent.log")).pop().expect("an entry");
    let key = policy().signers[0].to_string();
    assert_eq!((last.purpose.as_deref(), last.key), (Some("commit"), Some(key)));
    // The agent hears of the hops before it is asked.
    assert_eq!(held(&desk.asked)[..4], [27, 27, 11, 13]);
}

#[test]
fn a_bind_that_its_host_has_not_signed_ends_everything() {
    let desk = Desk::new();
    let _server = desk.serve();
    let [machine, host, list, sign] = asked(3).try_into().expect("four messages");
    let mut forged = host.clone();
    // A byte of the signature, before the flag at the end.
    let at = forged.len() - 3;
    forged[at] ^= 1;
    let messages = [machine.clone(), forged, list.clone(), sign.clone()];
    assert_eq!(desk.answers(&messages), [SUCCESS, FAILURE, FAILURE, FAILURE]);
    assert_eq!(
        desk.log()[1..],
        ["bind", "list", "sign"].map(|request| line(request, Some(Refusal::Unverified)))
    );
    // The session of one connection is no good in another.
    let other = asked(4)[1].clone();
    assert_eq!(desk.answers(&[machine, other, list, sign]), [SUCCESS, SUCCESS, 12, FAILURE]);
    assert_eq!(desk.log().pop(), Some(line("sign", Some(Refusal::OtherSession))));
    assert!(!held(&desk.asked).contains(&13));
}

#[test]
fn what_changes_the_agent_never_reaches_it() {
    let desk = Desk::new();
    let _server = desk.serve();
    let first = asked(6).remove(0);
    for number in [17, 18, 19, 20, 21, 22, 23, 25, 26, 9, 255] {
        assert_eq!(desk.answers(&[first.clone(), vec![number, 0, 0, 0, 0]]), [SUCCESS, FAILURE], "{number}");
    }
    let unknown = [&[27, 0, 0, 0, 5][..], b"query"].concat();
    assert_eq!(desk.answers(&[first, unknown]), [SUCCESS, FAILURE]);
    assert_eq!(desk.log().pop(), Some(line("other", Some(Refusal::Operation("an unknown extension")))));
    assert!(held(&desk.asked).is_empty());
}

#[test]
fn without_a_bind_nothing_is_told() {
    let desk = Desk::new();
    let _server = desk.serve();
    let [_, host, list, sign] = asked(3).try_into().expect("four messages");
    assert_eq!(desk.answers(&[list, sign]), [FAILURE, FAILURE]);
    assert_eq!(desk.answers(&[host]), [FAILURE]);
    assert_eq!(desk.log().pop(), Some(line("bind", Some(Refusal::WrongMachine))));
    assert!(held(&desk.asked).is_empty());
}

#[test]
fn comments_stay_on_the_host() {
    let desk = Desk::new();
    let _server = desk.serve();
    let mut stream = desk.connect().expect("served");
    talk(&mut stream, &asked(6)[0]).expect("bound");
    let answer = talk(&mut stream, &LIST).expect("listed");
    assert_eq!(parse_identities(&answer).expect("ours")[0].comment, b"key 1 of the host");
}

#[test]
fn answers_while_served_hands_over_and_then_is_dead() {
    let desk = Desk::new();
    let (first, second) = (desk.serve(), desk.serve());
    assert!(desk.is_served());
    drop(first);
    let taken_over = (0..100).any(|_| {
        thread::sleep(TAKE_OVER);
        desk.is_served()
    });
    assert!(taken_over, "the second session took over");
    let mut open = desk.connect().expect("served");
    assert!(talk(&mut open, &LIST).is_some());
    drop(second);
    assert!(desk.path("agent").exists());
    assert!(!desk.is_served(), "nobody serves any more");
    assert_eq!(talk(&mut open, &LIST), None, "a connection that was open has ended too");
}

#[test]
fn the_anchor_holds_while_served_and_comes_back() {
    let desk = Desk::new();
    let anchored = desk.path("anchored");
    let comes = || {
        (0..200).any(|_| {
            thread::sleep(Duration::from_millis(10));
            anchored.exists()
        })
    };
    let (first, second) = (desk.serve(), desk.serve());
    assert!(comes(), "the one that serves has settled");
    std::fs::remove_file(&anchored).expect("removed");
    drop(first);
    assert!(comes(), "the one that took over anchors at once");
    drop(second);
}

#[test]
fn more_connections_than_eight_are_refused() {
    let desk = Desk::new();
    let _server = desk.serve();
    let mut open: Vec<UnixStream> = (0..CONNECTIONS).filter_map(|_| desk.connect()).collect();
    assert!(open.iter_mut().all(|stream| talk(stream, &LIST).is_some()));
    assert!(!desk.is_served());
    assert_eq!(desk.log().pop(), Some(line("connect", Some(Refusal::TooMany))));
    open.clear();
    assert!((0..100).any(|_| {
        thread::sleep(Duration::from_millis(10));
        desk.is_served()
    }));
}

#[test]
fn a_flood_is_slowed_down() {
    let desk = Desk::new();
    let _server = desk.serve();
    let mut stream = desk.connect().expect("served");
    let begun = Instant::now();
    let burst = u32::try_from(BURST.as_millis() / PACE.as_millis()).expect("small");
    for _ in 0..burst + 20 {
        assert!(talk(&mut stream, &LIST).is_some());
    }
    assert!(begun.elapsed() >= PACE * 15, "{:?}", begun.elapsed());
}

#[test]
fn an_agent_that_is_not_there_is_said() {
    let desk = Desk::new();
    std::fs::remove_file(desk.path("real")).expect("removed");
    let _server = desk.serve();
    assert_eq!(desk.answers(&[asked(6).remove(0), LIST.to_vec()]), [SUCCESS, FAILURE]);
    assert_eq!(desk.log().pop(), Some(line("list", Some(Refusal::NoAgent))));
}
