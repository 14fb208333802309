//! `machine sleep` and waking: a QEMU that plays its monitor writes its memory into our pipe and reads it from there.
//! What real memory, a real clock and real processes make of it is the guest suite's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;

use crate::folders::put;
use crate::sleeper::{INSTANCE, Sleeper, overwrite};
use crate::world::wait_until;

#[test]
fn a_machine_sleeps_and_wakes_with_its_memory() {
    let sleeper = Sleeper::new();
    assert_eq!(sleeper.state(), "ready");
    sleeper.0.effects();
    assert_snapshot!(sleeper.run(&["sleep", "hello"]), @"
    exit code 0
    --- stderr
    ✓ sleep     hello asleep, 3 MiB on the disk T s
    ");
    assert_snapshot!(sleeper.0.effects(), @"
    limactl list
    guest prepare for sleep
    ssh close master
    qemu ends
    ");
    assert_eq!(sleeper.remains(), ["asleep.json", "key", "memory.image"]);
    let image = fs::read(sleeper.file("memory.image")).expect("an image");
    assert!(!image.windows(15).any(|window| window == b"a guest's canar"));
    assert_eq!(sleeper.state(), "asleep");
    assert_snapshot!(sleeper.run(&["sleep", "hello"]), @"
    exit code 0
    --- stderr
    `hello` is asleep already
    ");
    // An editor that is still open does not wake it.
    assert_snapshot!(sleeper.run(&["connect", "hello"]), @"
    exit code 1
    --- stderr
    error: `hello` was put down by hand
    hint: start it: `machine up hello`
    ");
    sleeper.0.effects();
    assert_snapshot!(sleeper.run(&["run", "hello", "--", "true"]), @"
    exit code 0
    --- stderr
    ✓ boot      awake, where it fell asleep T s
    ");
    assert_snapshot!(sleeper.0.effects(), @r#"
    limactl list
    limactl start --timeout=30m hello
    qemu goes on
    ssh open master, agent lent
    guest learn the time
    ssh session, agent lent: "plain" "" "true"
    "#);
    assert_eq!(sleeper.remains(), Vec::<String>::new());
    assert_eq!(sleeper.state(), "ready");
    assert_snapshot!(sleeper.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello is ready.   machine ssh hello
    ");
}

#[test]
fn a_memory_has_the_form_that_is_written_down() {
    let sleeper = Sleeper::asleep();
    let mut keys = fs::read_dir(sleeper.0.path("runtime/machine")).expect("a folder");
    let key = keys.next().expect("a key").expect("an entry").path();
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/open-memory.py");
    let opened = Command::new("python3").arg(reader).args([key, sleeper.file("memory.image")]).output();
    let opened = opened.expect("python3");
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    assert!(opened.stdout == fs::read(sleeper.0.path("play/guests/hello/memory")).expect("a memory"));
}

#[test]
fn a_dry_run_writes_nothing() {
    let sleeper = Sleeper::new();
    assert_snapshot!(sleeper.run(&["sleep", "hello", "--dry-run"]), @r#"
    exit code 0
    --- stdout
    ssh -F ~/.local/share/machine/s/ID/config -o ControlMaster=yes -o ControlPersist=600 -o 'ForwardAgent="~/.local/share/machine/s/ID/agent"' -f -N guest
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n bash -s sleep'
    # QEMU writes its memory into `~/.local/share/machine/lima/hello/memory.image`, packed and encrypted, and ends
    "#);
    assert_eq!(sleeper.0.effects(), "limactl list\n");
    sleeper.must(&["sleep", "hello"]);
    assert_eq!(sleeper.must(&["sleep", "--all", "--dry-run"]).stdout, "");
    let asleep = sleeper.must(&["sleep", "hello", "--dry-run"]);
    assert_eq!((asleep.stdout.as_str(), asleep.stderr.as_str()), ("", "`hello` is asleep already\n"));
}

#[test]
fn up_wakes_and_a_new_size_waits() {
    let sleeper = Sleeper::asleep();
    sleeper.0.configure("[hello]\nmemory = \"1GiB\"\n");
    let dry = sleeper.must(&["up", "hello", "--dry-run"]).stdout;
    assert!(
        dry.starts_with("# wake\n") && dry.contains("\n# QEMU reads its memory from the disk\n"),
        "{dry}"
    );
    assert_snapshot!(sleeper.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 1 GiB
    ✓ wake      awake, where it fell asleep T s
    ✓ provision 5 steps, all done before T s
    ✓ ssh       Host machine-hello T s
    the new size counts from the next start on: `machine down hello && machine up hello`
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(sleeper.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT    DIFFERENCE     NEEDS
    memory  4 GiB → 1 GiB  restart
    --- stderr
    apply: `machine down hello && machine up hello`
    ");
}

#[test]
fn down_ends_what_sleeps_as_it_would_have_ended() {
    let sleeper = Sleeper::asleep();
    assert_snapshot!(sleeper.run(&["down", "hello"]), @"
    exit code 0
    --- stderr
    ✓ down      hello stopped, disk kept T s
    ");
    assert_snapshot!(sleeper.0.effects(), @"
    limactl list
    limactl list
    limactl start --timeout=30m hello
    qemu goes on
    ssh open master, agent lent
    guest learn the time
    limactl list
    ssh close master
    limactl stop hello
    ");
    assert_eq!(sleeper.remains(), Vec::<String>::new());
    assert_eq!(sleeper.state(), "stopped");
    assert_snapshot!(sleeper.run(&["sleep", "hello"]), @"
    exit code 0
    --- stderr
    `hello` does not run
    ");
}

#[test]
fn without_a_place_for_the_key_nothing_sleeps() {
    let sleeper = Sleeper::new();
    assert_snapshot!(sleeper.0.run(&["sleep", "hello"]), @"
    exit code 1
    --- stderr
    error: the memory of a machine is encrypted with a key that must not outlive the boot
    caused by: there is no runtime folder: XDG_RUNTIME_DIR is not set
    hint: log in so that XDG_RUNTIME_DIR is set (a desktop, ssh and `su -` do), or use `machine down`
    ");
    fs::set_permissions(sleeper.0.path("runtime"), fs::Permissions::from_mode(0o755)).expect("mode");
    assert_snapshot!(sleeper.run(&["sleep", "hello"]), @"
    exit code 1
    --- stderr
    error: the memory of a machine is encrypted with a key that must not outlive the boot
    caused by: others may enter the runtime folder `<world>/runtime`
    hint: log in so that XDG_RUNTIME_DIR is set (a desktop, ssh and `su -` do), or use `machine down`
    ");
    assert_eq!(sleeper.state(), "ready");
}

#[test]
fn an_open_session_is_asked_about() {
    let sleeper = Sleeper::new();
    let session = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "sleep", "30"]));
    wait_until("the session is open", || {
        fs::read_dir(sleeper.0.home(".local/state/machine/machines/hello/sessions"))
            .is_ok_and(|all| all.count() > 0)
    });
    let refused = sleeper.run(&["sleep", "hello"]);
    assert_eq!(refused.code, 4, "{refused}");
    assert!(refused.stderr.contains("machine sleep hello --force"), "{refused}");
    assert_eq!(sleeper.must(&["sleep", "hello", "--force"]).code, 0);
    session.kill();
    session.wait();
}

#[test]
fn a_memory_that_does_not_fit_is_thrown_away_with_a_reason() {
    let flip = |sleeper: &Sleeper| {
        let mut bytes = fs::read(sleeper.file("memory.image")).expect("an image");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        overwrite(&sleeper.file("memory.image"), &bytes);
    };
    assert_snapshot!(Sleeper::asleep().comes_up(flip), @"`hello` boots cold: the image of its memory is damaged: its bytes are not those that were written, or not of this key");
    let cut = |sleeper: &Sleeper| {
        let bytes = fs::read(sleeper.file("memory.image")).expect("an image");
        overwrite(&sleeper.file("memory.image"), &bytes[..bytes.len() - 21]);
    };
    assert_snapshot!(Sleeper::asleep().comes_up(cut), @"`hello` boots cold: the image of its memory has another size than was written");
    let log_out = |sleeper: &Sleeper| {
        fs::remove_dir_all(sleeper.0.path("runtime/machine")).expect("emptied");
        let said = sleeper.must(&["list"]).stderr;
        assert!(said.contains("it will boot cold: the key of its memory is gone"), "{said}");
        let said = sleeper.run(&["doctor"]).stdout;
        assert!(
            said.contains("`hello` is asleep and will boot cold: the key of its memory is gone"),
            "{said}"
        );
    };
    assert_snapshot!(Sleeper::asleep().comes_up(log_out), @"`hello` boots cold: the key of its memory is gone: the runtime folder has been emptied since");
    let write_disk = |sleeper: &Sleeper| overwrite(&sleeper.file("disk"), b"somebody was here");
    assert_snapshot!(Sleeper::asleep().comes_up(write_disk), @"`hello` boots cold: its disk has changed since it fell asleep");
    let upgrade = |sleeper: &Sleeper| {
        let qemu = sleeper.0.path("bin").join(format!("qemu-system-{}", std::env::consts::ARCH));
        // It is a link to a file of the repository.
        fs::remove_file(&qemu).expect("removed");
        put(&qemu, b"#!/bin/sh\n# another one\n");
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("mode");
        let why = "boot cold: QEMU is another one than the 9.1.0 it fell asleep with";
        let (list, doctor) = (sleeper.must(&["list"]).stderr, sleeper.run(&["doctor"]).stdout);
        assert!(list.contains(why) && doctor.contains(why), "{list}{doctor}");
    };
    assert_snapshot!(Sleeper::asleep().comes_up(upgrade), @"`hello` boots cold: QEMU is another one than the 9.1.0 it fell asleep with");
    let refuse = |sleeper: &Sleeper| sleeper.0.knob("refuse-memory", "");
    let said = Sleeper::asleep().comes_up(refuse);
    assert!(said.contains("QEMU did not take its memory back"), "{said}");
    let spoil_note = |sleeper: &Sleeper| overwrite(&sleeper.file("asleep.json"), b"{");
    assert_snapshot!(Sleeper::asleep().comes_up(spoil_note), @"`hello` boots cold: its sleep was cut off");
}

#[test]
fn a_memory_is_used_once() {
    let sleeper = Sleeper::asleep();
    let kept: Vec<(PathBuf, Vec<u8>)> = ["memory.image", "asleep.json"]
        .iter()
        .map(|name| (sleeper.file(name), fs::read(sleeper.file(name)).expect("a file")))
        .collect();
    let key = fs::read_dir(sleeper.0.path("runtime/machine")).expect("a folder").next().expect("a key");
    let key = key.expect("a key").path();
    let key = (key.clone(), fs::read(&key).expect("a key"));
    sleeper.must(&["run", "hello", "--", "true"]);
    sleeper.0.crash("hello");
    for (path, bytes) in kept.iter().chain([&key]) {
        overwrite(path, bytes);
    }
    assert_snapshot!(sleeper.comes_up(|_| ()), @"`hello` boots cold: its memory was used before");
}

#[test]
fn no_room_for_the_memory_leaves_a_machine_that_runs() {
    let sleeper = Sleeper::new();
    // A write beyond the limit fails as one on a full disk does.
    let line = format!(
        "trap '' XFSZ; ulimit -f 1000; exec '{}' sleep hello",
        sleeper.0.path("bin/machine").display()
    );
    let mut command = sleeper.0.command("/bin/sh");
    command.args(["-c", &line]).env("XDG_RUNTIME_DIR", sleeper.0.path("runtime"));
    let outcome = sleeper.0.finish(&mut command);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("`hello` did not fall asleep, and goes on running"), "{outcome}");
    assert!(outcome.stderr.contains("MiB written, ") && outcome.stderr.contains(" MiB free"), "{outcome}");
    assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "ready".into()));
    sleeper.must(&["sleep", "hello"]);
}

#[test]
fn a_sleep_that_fails_or_is_interrupted_leaves_a_machine_that_runs() {
    let sleeper = Sleeper::new();
    sleeper.0.knob("fail-migrate", "");
    assert_snapshot!(sleeper.run(&["sleep", "hello"]), @"
    exit code 1
    --- stderr
    error: `hello` did not fall asleep, and goes on running
    caused by: QEMU could not write its memory
    ");
    assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "ready".into()));
    sleeper.0.release("fail-migrate");
    sleeper.0.knob("pause-migrate", "");
    let sleep = sleeper.0.start(&mut sleeper.command(&["sleep", "hello"]));
    sleeper.0.wait_for("pause-migrate");
    sleep.interrupt();
    sleeper.0.release("pause-migrate");
    assert_eq!(sleep.wait().code, 130);
    assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "ready".into()));
}

#[test]
fn a_killed_sleep_is_put_right_by_the_next_command() {
    // So little memory fits into zstd's own: QEMU may come to the end of it although nobody reads.
    for (phase, settles) in [("pause-migrate", false), ("pause-version", true)] {
        let sleeper = Sleeper::new();
        sleeper.0.knob(phase, "");
        let sleep = sleeper.0.start(&mut sleeper.command(&["sleep", "hello"]));
        sleeper.0.wait_for(phase);
        sleep.kill();
        sleep.wait();
        sleeper.0.release(phase);
        sleeper.0.effects();
        let said = sleeper.must(&["run", "hello", "--", "true"]).stderr;
        assert!(
            !settles || said.contains("cut off while it fell asleep or woke: it goes on"),
            "{phase}: {said}"
        );
        assert!(!settles || sleeper.0.effects().contains("qemu goes on"), "{phase}");
        assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "ready".into()), "{phase}");
    }
}

#[test]
fn a_killed_wake_leaves_the_memory_for_the_next() {
    let sleeper = Sleeper::asleep();
    sleeper.0.knob("pause-incoming", "");
    let wake = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]));
    sleeper.0.wait_for("pause-incoming");
    wake.kill();
    wake.wait();
    sleeper.0.release("pause-incoming");
    assert!(sleeper.file("memory.image").exists());
    sleeper.must(&["run", "hello", "--", "true"]);
    assert_eq!(sleeper.remains(), Vec::<String>::new());
}

#[test]
fn a_wake_that_is_killed_before_the_first_step_goes_on_from_there() {
    let sleeper = Sleeper::asleep();
    sleeper.0.knob("pause-paused", "");
    let wake = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]));
    sleeper.0.wait_for("pause-paused");
    wake.kill();
    wake.wait();
    sleeper.0.release("pause-paused");
    // It was put aside by then, and nobody reads it a second time.
    assert!(sleeper.file("memory.used").exists() && !sleeper.file("memory.image").exists());
    sleeper.0.effects();
    let said = sleeper.must(&["run", "hello", "--", "true"]).stderr;
    assert!(said.contains("cut off while it fell asleep or woke: it goes on"), "{said}");
    assert!(sleeper.0.effects().starts_with("limactl list\nqemu goes on\n"));
    assert_eq!(sleeper.remains(), Vec::<String>::new());
}

#[test]
fn a_qemu_that_dies_while_it_falls_asleep_boots_cold() {
    let sleeper = Sleeper::new();
    sleeper.0.knob("pause-migrate", "");
    let sleep = sleeper.0.start(&mut sleeper.command(&["sleep", "hello"]));
    sleeper.0.wait_for("pause-migrate");
    sleeper.0.kill(&format!("{INSTANCE}/qemu.pid"));
    sleeper.0.release("pause-migrate");
    let outcome = sleep.wait();
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("its QEMU does not answer"), "{outcome}");
    sleeper.must(&["run", "hello", "--", "true"]);
}
