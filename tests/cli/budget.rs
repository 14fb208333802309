//! `memory_budget` and `prune`: who makes room, who is too old, and that nobody in use is either.

use std::net::{Ipv4Addr, TcpStream};

use crate::ports::Ports;
use crate::sleeper::Sleeper;
use crate::world::{World, wait_until};

const THREE: &str = "[defaults]\nmemory = \"512MiB\"\n\n[hello]\n\n[second]\n\n[third]\n";

/// Two machines that run, and room for two.
fn full() -> Sleeper {
    let sleeper = Sleeper::new();
    sleeper.0.configure(THREE);
    let config = sleeper.0.read(".config/machine/config.toml");
    sleeper.0.write(".config/machine/config.toml", format!("memory_budget = \"1GiB\"\n{config}"));
    sleeper.must(&["destroy", "hello", "--discard"]);
    sleeper.must(&["up", "hello"]);
    // Times are whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    sleeper.must(&["up", "second"]);
    sleeper.0.effects();
    sleeper
}

#[test]
fn the_idlest_makes_room() {
    let sleeper = full();
    let outcome = sleeper.must(&["up", "third"]);
    assert!(outcome.stderr.contains("was put to sleep to make room for `third`"), "{outcome}");
    let states = sleeper.states();
    assert_eq!(states, ["hello asleep", "second ready", "third ready"]);
    // It was not put to sleep by hand: whoever wants it gets it, and the next one has to go.
    sleeper.must(&["run", "hello", "--", "true"]);
    assert_eq!(sleeper.states(), ["hello ready", "second asleep", "third ready"]);
}

#[test]
fn who_is_in_use_stays_and_the_start_is_refused() {
    let sleeper = full();
    let sessions: Vec<_> = ["hello", "second"]
        .iter()
        .map(|name| sleeper.0.start(&mut sleeper.command(&["run", name, "--", "sleep", "60"])))
        .collect();
    for name in ["hello", "second"] {
        let folder = sleeper.0.home(&format!(".local/state/machine/machines/{name}/sessions"));
        wait_until("a session is open", || std::fs::read_dir(&folder).is_ok_and(|all| all.count() > 0));
    }
    let refused = sleeper.run(&["up", "third"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("no room for `third`: 512 MiB more than the `memory_budget` of 1 GiB"),
        "{refused}"
    );
    assert!(refused.stderr.contains("in use: hello, second"), "{refused}");
    for session in sessions {
        session.kill();
        session.wait();
    }
    sleeper.0.configure(&THREE.replace("[third]", "[third]\nmemory = \"2GiB\""));
    let refused = sleeper.run(&["up", "third"]);
    assert_eq!(refused.code, 2, "{refused}");
    assert!(
        refused.stderr.contains("`third` has 2 GiB, more than the `memory_budget` of 1 GiB"),
        "{refused}"
    );
}

#[test]
fn who_is_connected_to_a_port_stays() {
    let ports = Ports::new();
    let sleeper = Sleeper::of(
        World::alone(),
        &THREE.replace("[hello]", &format!("[hello]\nports = [{}]", ports.web())),
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    sleeper.must(&["up", "second"]);
    let config = sleeper.0.read(".config/machine/config.toml");
    sleeper.0.write(".config/machine/config.toml", format!("memory_budget = \"1GiB\"\n{config}"));
    let _browser = TcpStream::connect((Ipv4Addr::LOCALHOST, ports.web())).expect("connected");
    sleeper.must(&["up", "third"]);
    assert_eq!(sleeper.states(), ["hello ready", "second asleep", "third ready"]);
}

#[test]
fn prune_takes_what_was_left_alone_for_long() {
    let sleeper = Sleeper::new();
    assert!(sleeper.must(&["prune"]).stderr.contains("no machine was left alone for 30 days"));
    age(&sleeper, "hello");
    let dry = sleeper.must(&["prune", "--dry-run"]).stdout;
    assert!(dry.starts_with("hello: not used for "), "{dry}");
    let refused = sleeper.run(&["prune"]);
    assert_eq!(refused.code, 3, "{refused}");
    sleeper.must(&["prune", "--discard"]);
    assert_eq!(sleeper.states(), ["hello none"]);
}

/// Lets a machine be one that nobody has used for years.
fn age(sleeper: &Sleeper, name: &str) {
    let path = format!(".local/state/machine/machines/{name}/machine.json");
    let mut record: serde_json::Value = serde_json::from_str(&sleeper.0.read(&path)).expect("JSON");
    record["last_used"] = 1_700_000_000.into();
    sleeper.0.write(&path, record.to_string());
}

#[test]
fn prune_goes_on_behind_a_machine_that_cannot_be_asked() {
    let sleeper = Sleeper::new();
    sleeper.0.configure(THREE);
    for name in ["second", "third"] {
        sleeper.must(&["up", name]);
    }
    sleeper.must(&["down", "hello"]);
    sleeper.0.knob("fail-start", "hello");
    for name in ["hello", "second", "third"] {
        age(&sleeper, name);
    }
    let outcome = sleeper.run(&["prune", "--yes"]);
    assert_eq!(outcome.code, 3, "{outcome}");
    assert!(outcome.stderr.contains("`machine destroy hello --discard-unseen`"), "{outcome}");
    assert_eq!(sleeper.states(), ["hello stopped", "second none", "third none"]);
}

#[test]
fn a_look_leaves_no_machine_awake() {
    let sleeper = Sleeper::asleep();
    sleeper.0.configure(THREE);
    for name in ["second", "third"] {
        sleeper.must(&["up", name]);
    }
    sleeper.must(&["down", "second"]);
    for name in ["hello", "second"] {
        age(&sleeper, name);
    }
    let before = ["hello asleep", "second stopped", "third ready"];
    let outcome = sleeper.run(&["prune"]);
    assert_eq!(outcome.code, 3, "{outcome}");
    assert!(outcome.stderr.contains("hello asleep again"), "{outcome}");
    assert!(outcome.stderr.contains("second down again"), "{outcome}");
    assert_eq!(sleeper.states(), before);
    // A sleep that fails keeps what is in the memory.
    sleeper.0.knob("fail-migrate", "");
    let outcome = sleeper.run(&["destroy", "hello"]);
    assert!(outcome.stderr.contains("`hello` was started to look into it, and stays up: "), "{outcome}");
    let list = sleeper.must(&["list"]).stdout;
    let hello = list.lines().find(|line| line.starts_with("hello")).unwrap_or_default();
    assert!(hello.contains("ready"), "{list}");
}

#[test]
fn one_that_is_in_use_keeps_no_other_awake() {
    let sleeper = Sleeper::new();
    sleeper.0.configure(THREE);
    sleeper.must(&["up", "second"]);
    let session = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "sleep", "60"]));
    let folder = sleeper.0.home(".local/state/machine/machines/hello/sessions");
    wait_until("a session is open", || std::fs::read_dir(&folder).is_ok_and(|all| all.count() > 0));
    let outcome = sleeper.run(&["sleep", "--all"]);
    assert_eq!(outcome.code, 4, "{outcome}");
    assert!(outcome.stderr.contains("error: `hello` has open sessions"), "{outcome}");
    assert_eq!(sleeper.states(), ["hello ready", "second asleep", "third none"]);
    let outcome = sleeper.run(&["down", "--all"]);
    assert_eq!(outcome.code, 4, "{outcome}");
    assert_eq!(sleeper.states(), ["hello ready", "second stopped", "third none"]);
    session.kill();
    session.wait();
}
