//! Ctrl-C at any moment, and two commands at once.

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::mask::without_resident;
use crate::outcome::Outcome;
use crate::world::{Running, World, wait_until};

/// Long enough for one Ctrl-C.
const PROMPTLY: Duration = Duration::from_secs(2);

fn interrupted(running: Running) -> Outcome {
    let pressed = Instant::now();
    running.interrupt();
    let outcome = running.wait();
    let took = pressed.elapsed();
    assert!(took < PROMPTLY, "it took {took:?}\n{outcome}");
    outcome
}

fn configured() -> World {
    let world = World::new();
    world.configure(BARE);
    world.bake("hello");
    world
}

#[test]
fn in_mid_provisioning_and_the_next_up_carries_on() {
    let world = configured();
    world.knob("hang-step", "ssh_known_hosts");
    let running = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("hang-step");
    assert_snapshot!(interrupted(running), @"
    exit code 130
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
    interrupted
    ");
    assert_snapshot!(world.effects().lines().skip_while(|line| !line.starts_with("guest")).collect::<Vec<_>>().join("\n"), @"
    guest step git
    ssh stop steps left over
    ");
    assert_snapshot!(without_resident(&world.run(&["list"]).to_string()), @"
    exit code 0
    --- stdout
    PROJECT  STATE       CPUS  MEMORY  DISK    ALLOCATED  SESSIONS  IDLE  LAST USED  PORTS
    hello    unfinished  2     4 GiB   40 GiB  0 MiB      0         -     -
    ");
    world.release("hang-step");
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ boot      was running T s
      · git: no identity configured T s
    ✓ provision 1 of 5 steps run T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ssh ask
    ssh stop steps left over
    guest step git
    ");
}

#[test]
fn during_create_leaves_no_instance() {
    for knob in ["pause-create", "pause-create-late"] {
        let world = configured();
        world.knob(knob, "");
        let running = world.start(&mut world.machine(&["up", "hello"]));
        world.wait_for(knob);
        let outcome = interrupted(running);
        assert_eq!((outcome.code, outcome.stderr.ends_with("\ninterrupted\n")), (130, true), "{outcome}");
        assert!(!world.tree().contains("lima/hello"), "{}", world.tree());
        world.release(knob);
        world.must(&["up", "hello"]);
    }
}

#[test]
fn during_boot_and_the_next_up_carries_on() {
    let world = configured();
    world.knob("pause-guest", "");
    let running = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("pause-guest");
    assert_snapshot!(interrupted(running), @"
    exit code 130
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    interrupted
    ");
    world.release("pause-guest");
    world.effects();
    let outcome = world.must(&["up", "hello"]);
    assert!(outcome.stderr.contains("1 of 5 steps run"), "{outcome}");
    assert!(!world.effects().contains("limactl create"));
}

#[test]
fn a_cut_off_boot_is_stopped_by_down() {
    let world = configured();
    world.knob("pause-guest", "");
    let running = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("pause-guest");
    interrupted(running);
    world.release("pause-guest");
    assert_snapshot!(world.run(&["down", "hello"]), @"
    exit code 0
    --- stderr
    ✓ down      hello stopped, disk kept T s
    ");
    assert!(!world.tree().contains(".pid"), "{}", world.tree());
}

#[test]
fn while_it_waits_for_another() {
    let world = configured();
    world.knob("pause-create", "");
    let first = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("pause-create");
    let second = world.start(&mut world.machine(&["up", "hello"]));
    second.wait_for("waiting for");
    assert_snapshot!(interrupted(second), @"
    exit code 130
    --- stderr
    waiting for `machine up hello (process PID)`
    interrupted
    ");
    world.release("pause-create");
    assert_eq!(first.wait().code, 0);
}

#[test]
fn of_a_session_ends_it_with_130() {
    let world = configured();
    world.must(&["up", "hello"]);
    let running =
        world.start(&mut world.machine(&["run", "hello", "--", "sh", "-c", "echo started >&2; sleep 60"]));
    running.wait_for("started");
    assert_eq!(interrupted(running).code, 130);
}

#[test]
fn two_ups_at_once_create_once() {
    let world = configured();
    world.knob("pause-create", "");
    let first = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("pause-create");
    let second = world.start(&mut world.machine(&["up", "hello"]));
    second.wait_for(&format!("waiting for `machine up hello (process {})`", first.pid()));
    world.release("pause-create");
    let (first, second) = (first.wait(), second.wait());
    assert_eq!(first.code, 0, "{first}");
    assert_snapshot!(second, @"
    exit code 0
    --- stderr
    waiting for `machine up hello (process PID)`
    hello is ready.   machine ssh hello
    ");
    let effects = world.effects();
    assert_eq!(effects.matches("limactl create").count(), 1, "{effects}");
    assert_eq!(effects.matches("limactl start").count(), 1, "{effects}");
}

#[test]
fn no_wait_is_busy_at_once() {
    let world = configured();
    world.knob("pause-create", "");
    let first = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("pause-create");
    for verb in [&["up", "hello"][..], &["down", "hello"], &["destroy", "hello"], &["ssh", "hello"]] {
        let args: Vec<&str> = verb.iter().copied().chain(["--no-wait"]).collect();
        let outcome = world.run(&args);
        assert_eq!(outcome.code, 4, "{args:?}\n{outcome}");
        assert!(
            outcome.stderr.contains("`hello` is busy: `machine up hello (process PID)` is at work on it"),
            "{outcome}"
        );
    }
    assert_snapshot!(world.run(&["up", "hello", "--no-wait"]), @"
    exit code 4
    --- stderr
    error: `hello` is busy: `machine up hello (process PID)` is at work on it
    hint: leave `--no-wait` out to wait for it
    ");
    world.release("pause-create");
    assert_eq!(first.wait().code, 0);
}

#[test]
fn two_projects_at_once_get_two_ports() {
    let world = World::new();
    world.configure("[one]\n[two]\n");
    let [one, two] = ["one", "two"].map(|name| world.start(&mut world.machine(&["up", name])));
    assert_eq!((one.wait().code, two.wait().code), (0, 0));
    let port = |name: &str| {
        let text = world.read(&format!(".local/state/machine/machines/{name}/machine.json"));
        serde_json::from_str::<serde_json::Value>(&text).expect("a record")["port"].as_u64()
    };
    assert_ne!(port("one"), port("two"));
    let hosts = world.read(".ssh/config.d/machine");
    assert_eq!(hosts.matches("\nHost machine-").count(), 2, "{hosts}");
}

#[test]
fn a_killed_up_is_carried_on() {
    let world = configured();
    world.knob("hang-step", "ssh_known_hosts");
    let running = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("hang-step");
    running.kill();
    assert_eq!(running.wait().code, 137);
    world.release("hang-step");
    world.effects();
    world.must(&["up", "hello"]);
    let effects = world.effects();
    assert!(effects.contains("ssh stop steps left over\nguest step git\n"), "{effects}");
}

#[test]
fn a_killed_create_is_begun_anew() {
    let world = configured();
    world.knob("pause-create-late", "");
    let running = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("pause-create-late");
    running.kill();
    running.wait();
    world.release("pause-create-late");
    // The orphaned limactl may still be at work; it is not ours to end.
    wait_until("it has ended", || world.home(".local/share/machine/lima/hello/disk").exists());
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
    ✓ provision 1 of 5 steps run T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    let effects = world.effects();
    let discarded = effects.find("limactl delete -f hello").expect("the half-made one goes first");
    assert!(discarded < effects.find("limactl create").expect("created anew"), "{effects}");
}
