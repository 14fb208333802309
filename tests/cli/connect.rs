//! `connect`, the road of editors, scp and rsync: wakes what crashed, not what was put down by hand.
//! Also the port that reaches a machine, when a stranger has taken it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

/// A machine whose guest really listens on its port.
fn listening() -> World {
    let world = World::alone();
    world.configure(BARE);
    world.knob("listen", "");
    world.must(&["up", "hello"]);
    world.effects();
    world
}

/// What came back through a connection after `words` were sent.
fn talk(world: &World, words: &str) -> (String, String, Option<i32>) {
    let mut command = world.machine(&["connect", "hello"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut heard = String::new();
    stdout.read_line(&mut heard).expect("a line");
    // One that was refused has gone already.
    let _ = stdin.write_all(words.as_bytes());
    drop(stdin);
    stdout.read_to_string(&mut heard).expect("text");
    let ended = child.wait_with_output().expect("ended");
    (heard, world.mask(&String::from_utf8_lossy(&ended.stderr)), ended.status.code())
}

#[test]
fn bytes_go_both_ways() {
    let world = listening();
    let (heard, said, code) = talk(&world, "knock knock\n");
    assert_eq!((heard.as_str(), said.as_str(), code), ("hello from the guest\nKNOCK KNOCK\n", "", Some(0)));
    assert_eq!(world.effects(), "");
}

#[test]
fn a_machine_put_down_by_hand_stays_down() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.must(&["down", "hello"]);
    world.effects();
    assert_snapshot!(world.run(&["connect", "hello"]), @"
    exit code 1
    --- stderr
    error: `hello` was put down by hand
    hint: start it: `machine up hello`
    ");
    assert_snapshot!(world.effects(), @"limactl list");
    world.must(&["run", "hello", "--", "true"]);
    world.crash("hello");
    world.effects();
    // Nobody listens on the port here; that it got so far is what counts.
    let outcome = world.run(&["connect", "hello"]);
    assert!(outcome.stderr.contains("failed to connect to 127.0.0.1:PORT"), "{outcome}");
    assert!(world.effects().contains("limactl start"));
}

#[test]
fn a_crashed_machine_is_woken() {
    let world = listening();
    world.crash("hello");
    let (heard, said, code) = talk(&world, "again\n");
    assert_eq!((heard.as_str(), code), ("hello from the guest\nAGAIN\n", Some(0)), "{said}");
    assert_snapshot!(said, @"✓ boot      ssh ready T s");
    assert_snapshot!(world.effects(), @"
    limactl list
    limactl start --timeout=30m hello
    ssh open master, agent lent
    ");
}

#[test]
fn a_machine_that_never_was_is_said_in_one_line() {
    let world = World::new();
    assert_snapshot!(world.run(&["connect", "hello"]), @r#"
    exit code 2
    --- stderr
    error: there is no project `hello` in `~/.config/machine/projects.toml`
    hint: add it: a line `[hello]` in that file, with `repos = ["…"]` below it if it has any
    "#);
}

#[test]
fn a_port_taken_by_a_stranger_is_changed() {
    let world = World::alone();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.must(&["down", "hello"]);
    let record = world.read(".local/state/machine/machines/hello/machine.json");
    let record: serde_json::Value = serde_json::from_str(&record).expect("a record");
    let port = record["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free while it is stopped");
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    port PORT is taken by another program: `hello` moves to port PORT
    ✓ boot      ssh ready T s
    ✓ provision 5 steps, all done before T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    limactl list
    limactl start --timeout=30m hello
    ssh open master, agent lent
    ssh ask
    ");
    let line = format!("\n  Port {port}\n");
    assert!(!world.read(".ssh/config.d/machine").contains(&line));
    let yaml = world.read(".local/share/machine/lima/hello/lima.yaml");
    assert!(!yaml.contains(&format!("localPort: {port}\n")) && yaml.contains("localPort: 2"), "{yaml}");
    drop(stranger);
    assert_eq!(world.run(&["up", "hello"]).stderr, "hello is ready.   machine ssh hello\n");
}

#[test]
fn a_port_that_is_lost_between_a_look_and_a_start_is_changed() {
    let world = World::alone();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.must(&["down", "hello"]);
    world.effects();
    world.knob("lose-port", "");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    port PORT is taken by another program: `hello` moves to port PORT
    ✓ boot      ssh ready T s
    ✓ provision 5 steps, all done before T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_eq!(world.effects().matches("limactl start").count(), 2);
}

#[test]
fn two_stopped_machines_never_share_a_port() {
    let world = World::new();
    world.configure("[one]\n[two]\n");
    for name in ["one", "two"] {
        world.must(&["up", name]);
        world.must(&["down", name]);
    }
    let hosts = world.read(".ssh/config.d/machine");
    let mut ports: Vec<&str> = hosts.lines().filter_map(|line| line.strip_prefix("  Port ")).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 2, "{hosts}");
}
