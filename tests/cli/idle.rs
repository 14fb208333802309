//! `idle`: a machine that nobody uses falls asleep or is put down by itself, told by what beside it watches; whoever comes
//! wakes it. Times are seconds here; what a real guest takes when it is at rest is the guest suite's.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};

use crate::ports::Ports;
use crate::sleeper::Sleeper;
use crate::world::{World, wait_until};

const SLEEPS: &str = "[hello]\nidle = { after = \"2s\", action = \"sleep\" }\n";
const GOES_DOWN: &str = "[hello]\nidle = { after = \"2s\", action = \"down\" }\n";
/// Longer than `after` and two looks.
const LONG_ENOUGH: Duration = Duration::from_secs(5);

/// A machine that runs with this configuration.
fn with(projects: &str) -> Sleeper {
    on(Sleeper::new(), projects)
}

fn on(sleeper: Sleeper, projects: &str) -> Sleeper {
    sleeper.0.configure(projects);
    sleeper.must(&["up", "hello"]);
    sleeper
}

/// What runs beside the machine `hello`. What that starts looks like it for an instant, and is its child.
fn watchers(world: &World) -> Vec<Pid> {
    let wanted = format!("{}\0watch\0hello\0", world.path("bin/machine").display());
    let read = |pid: i32, name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own: Vec<i32> = pids.filter(|pid| read(*pid, "cmdline") == wanted).collect();
    let is_child = |pid: i32| {
        let stat = read(pid, "stat");
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        parent.is_none_or(|parent| own.contains(&parent))
    };
    own.iter().filter(|pid| !is_child(**pid)).filter_map(|pid| Pid::from_raw(*pid)).collect()
}

fn log(sleeper: &Sleeper) -> String {
    fs::read_to_string(sleeper.0.home(".local/state/machine/machines/hello/watch.log")).unwrap_or_default()
}

fn sessions(sleeper: &Sleeper) -> Vec<PathBuf> {
    let folder = sleeper.0.home(".local/state/machine/machines/hello/sessions");
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn wait_for_state(sleeper: &Sleeper, state: &str) {
    wait_until(&format!("it is {state}: {}", log(sleeper)), || sleeper.state() == state);
}

#[test]
fn it_falls_asleep_with_a_reason_and_an_editor_wakes_it() {
    let sleeper = with(SLEEPS);
    wait_until("it is watched", || watchers(&sleeper.0).len() == 1);
    wait_for_state(&sleeper, "asleep");
    let log = log(&sleeper);
    assert!(log.contains("`hello` fell asleep, idle for "), "{log}");
    assert!(log.contains(" s: no session, no connection on its ports, at most "), "{log}");
    assert!(log.contains(" % of a processor and 0 bytes in 30 s; 3 MiB on the disk"), "{log}");
    wait_until("its watcher has ended", || watchers(&sleeper.0).is_empty());
    // Nobody put it to sleep by hand. The double's guest listens nowhere; that it got so far is what counts.
    let outcome = sleeper.run(&["connect", "hello"]);
    assert!(outcome.stderr.contains("awake, where it fell asleep"), "{outcome}");
    wait_until("it is watched", || watchers(&sleeper.0).len() == 1);
    wait_for_state(&sleeper, "asleep");
}

#[test]
fn it_is_off_unless_configured_and_keep_awake_is_stronger() {
    let forever = format!("{SLEEPS}keep_awake = true\n");
    for projects in [
        "[hello]\n",
        "[defaults]\nidle = { after = \"1s\", action = \"sleep\" }\n[hello]\nidle = { action = \"none\" }\n",
        &forever,
    ] {
        let sleeper = with(projects);
        assert_eq!(watchers(&sleeper.0), []);
    }
    // Both count at once, in either direction.
    let sleeper = on(with(&SLEEPS.replace("2s", "20s")), &forever);
    wait_until("nobody watches any more", || watchers(&sleeper.0).is_empty());
    let sleeper = on(sleeper, SLEEPS);
    wait_for_state(&sleeper, "asleep");
}

#[test]
fn who_uses_it_keeps_it_awake() {
    let sleeper = with(SLEEPS);
    let session = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "sleep", "30"]));
    sleep(LONG_ENOUGH);
    assert_eq!(sleeper.state(), "ready", "{}", log(&sleeper));
    session.kill();
    session.wait();
    wait_for_state(&sleeper, "asleep");
}

#[test]
fn an_agent_that_only_talks_keeps_it_awake() {
    let sleeper = with("[hello]\n");
    sleeper.0.knob("connections", "0 0 10.0.0.2:40000 192.0.2.1:443 users:((\"qemu\",pid=QEMU,fd=9))\n\t cubic bytes_sent:NOW bytes_received:1\n");
    let sleeper = on(sleeper, SLEEPS);
    sleep(LONG_ENOUGH);
    assert_eq!(sleeper.state(), "ready", "{}", log(&sleeper));
    sleeper.0.release("connections");
    wait_for_state(&sleeper, "asleep");
}

#[test]
fn a_build_keeps_it_awake() {
    let sleeper = with("[hello]\n");
    sleeper.0.knob("busy", "");
    let sleeper = on(sleeper, SLEEPS);
    sleep(LONG_ENOUGH);
    assert_eq!(sleeper.state(), "ready", "{}", log(&sleeper));
    sleeper.0.release("busy");
    wait_for_state(&sleeper, "asleep");
}

#[test]
fn a_connection_on_a_declared_port_keeps_it_awake() {
    let ports = Ports::new();
    let world = World::alone();
    let slower = SLEEPS.replace("2s", "5s");
    let sleeper = Sleeper::of(world, &format!("{slower}ports = [{}]\n", ports.web()));
    let browser = TcpStream::connect(("127.0.0.1", ports.web())).expect("connected");
    sleep(LONG_ENOUGH * 2);
    assert_eq!(sleeper.state(), "ready", "{}", log(&sleeper));
    drop(browser);
    wait_for_state(&sleeper, "asleep");
}

#[test]
fn who_comes_while_it_falls_asleep_waits_and_wakes_it() {
    let sleeper = with("[hello]\n");
    sleeper.0.knob("pause-migrate", "");
    let sleeper = on(sleeper, SLEEPS);
    sleeper.0.wait_for("pause-migrate");
    let run = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]));
    run.wait_for("waiting for `machine watch hello (process ");
    sleeper.0.release("pause-migrate");
    let outcome = run.wait();
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(outcome.stderr.contains("awake, where it fell asleep"), "{outcome}");
}

#[test]
fn a_watcher_that_is_killed_in_the_middle_of_it_loses_nothing() {
    let sleeper = with("[hello]\n");
    sleeper.0.knob("pause-migrate", "");
    let sleeper = on(sleeper, SLEEPS);
    sleeper.0.wait_for("pause-migrate");
    for pid in watchers(&sleeper.0) {
        kill_process(pid, Signal::KILL).expect("killed");
    }
    sleeper.0.release("pause-migrate");
    sleeper.must(&["run", "hello", "--", "true"]);
    wait_until("another one watches", || watchers(&sleeper.0).len() == 1);
    wait_for_state(&sleeper, "asleep");
}

#[test]
fn a_watcher_is_never_two_and_comes_back() {
    let sleeper = with(&SLEEPS.replace("2s", "1h"));
    wait_until("it is watched", || watchers(&sleeper.0).len() == 1);
    let first = watchers(&sleeper.0);
    sleeper.must(&["run", "hello", "--", "true"]);
    sleeper.must(&["up", "hello"]);
    assert_eq!(watchers(&sleeper.0), first);
    kill_process(first[0], Signal::KILL).expect("killed");
    wait_until("it is gone", || watchers(&sleeper.0).is_empty());
    let runs: Vec<_> =
        (0..4).map(|_| sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]))).collect();
    for run in runs {
        assert_eq!(run.wait().code, 0);
    }
    wait_until("one is left", || watchers(&sleeper.0).len() == 1);
    sleeper.must(&["down", "hello"]);
    wait_until("it ends with its machine", || watchers(&sleeper.0).is_empty());
}

#[test]
fn where_it_is_put_down_a_quiet_editor_is_no_use_and_does_not_bring_it_back() {
    let sleeper = with("[hello]\n");
    sleeper.must(&["down", "hello"]);
    sleeper.0.release("monitor");
    sleeper.0.knob("listen", "");
    let sleeper = on(sleeper, GOES_DOWN);
    let mut editor = sleeper.command(&["connect", "hello"]);
    let mut editor = editor.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    wait_until("it is connected", || sessions(&sleeper).len() == 1);
    sleep(LONG_ENOUGH);
    // Just running, where it had been put down before the connection came.
    assert_ne!(sleeper.state(), "stopped", "{}", log(&sleeper));
    // Nothing but signs of life for more than a minute.
    let session = fs::File::options().write(true).open(&sessions(&sleeper)[0]).expect("a session");
    session.set_modified(SystemTime::now() - Duration::from_secs(90)).expect("set");
    wait_for_state(&sleeper, "stopped");
    // It is written down once all of it is done.
    wait_until("that is written down", || log(&sleeper).contains("`hello` was put down, idle for "));
    editor.wait().expect("its connection has ended");
    assert_snapshot!(sleeper.run(&["connect", "hello"]), @"
    exit code 1
    --- stderr
    error: `hello` was put down as it was idle
    hint: start it: `machine up hello`
    ");
    // Without one, nothing stands in the way of a connection.
    sleeper.must(&["up", "hello"]);
    wait_for_state(&sleeper, "stopped");
    let outcome = sleeper.run(&["connect", "hello"]);
    assert!(outcome.stderr.contains("ssh ready"), "{outcome}");
}

#[test]
fn a_machine_that_cannot_sleep_stays_awake_and_it_is_said() {
    let sleeper = with(SLEEPS);
    let fresh = sleeper.0.run(&["up", "hello"]);
    assert!(fresh.stderr.contains("warning: `hello` will not sleep when it is idle: "), "{fresh}");
    assert!(fresh.stderr.contains("XDG_RUNTIME_DIR is not set"), "{fresh}");
    wait_for_state(&sleeper, "asleep");
    // Without the folder it would not wake.
    sleeper.must(&["down", "hello"]);
    sleeper.0.must(&["run", "hello", "--", "true"]);
    wait_until("it is said", || log(&sleeper).contains("`hello` stays awake, idle for "));
    let log = log(&sleeper);
    assert!(log.contains("there is no runtime folder"), "{log}");
}

#[test]
fn list_shows_since_when_nothing_was_at_work() {
    let sleeper = with(&SLEEPS.replace("2s", "1h"));
    let watch = sleeper.0.home(".local/state/machine/machines/hello/watch");
    let idle = || {
        let list = sleeper.must(&["list", "--json"]).stdout;
        let rows: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        rows[0]["idle_seconds"].as_u64().expect("seconds")
    };
    assert!(idle() < 60, "{}", idle());
    // What it noted last stays when it is gone, and nobody changes it meanwhile.
    wait_until("it watches", || fs::read(&watch).is_ok_and(|label| !label.is_empty()));
    for pid in watchers(&sleeper.0) {
        kill_process(pid, Signal::KILL).expect("killed");
    }
    wait_until("it is gone", || watchers(&sleeper.0).is_empty());
    let record = ".local/state/machine/machines/hello/machine.json";
    let mut known: serde_json::Value = serde_json::from_str(&sleeper.0.read(record)).expect("JSON");
    known["last_used"] = 1_700_000_000.into();
    sleeper.0.write(record, known.to_string());
    let long_ago = SystemTime::now() - Duration::from_secs(3 * 3600 + 60);
    for path in [watch, sleeper.0.home(".local/state/machine/machines/hello/sessions")] {
        if let Ok(file) = fs::File::open(path) {
            file.set_modified(long_ago).expect("set");
        }
    }
    assert!((10_860..11_000).contains(&idle()), "{}", idle());
    let table = sleeper.must(&["list"]).stdout;
    assert!(table.contains("  IDLE  ") && table.contains("  3 h  "), "{table}");
}
