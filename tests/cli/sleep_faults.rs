//! What goes wrong while a machine falls asleep or wakes, beyond `sleep`: a disk that is really full, a wake that is killed
//! after the guest's first step, a QEMU that dies in the middle of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::boxes::in_a_namespace;
use crate::first_up::BARE;
use crate::folders::give_away;
use crate::ports::{Ports, listens};
use crate::sleeper::{INSTANCE, Sleeper, overwrite};
use crate::world::{World, skip};

#[test]
fn a_wake_that_is_killed_after_the_first_step_goes_on_as_well() {
    let sleeper = Sleeper::asleep();
    sleeper.0.knob("pause-step", "");
    let wake = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]));
    sleeper.0.wait_for("pause-step");
    wake.kill();
    wake.wait();
    sleeper.0.release("pause-step");
    assert!(sleeper.file("memory.used").exists() && !sleeper.file("memory.image").exists());
    sleeper.must(&["run", "hello", "--", "true"]);
    assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "running".into()));
    sleeper.must(&["up", "hello"]);
    assert_eq!(sleeper.state(), "ready");
}

#[test]
fn a_qemu_that_dies_while_it_wakes_boots_cold() {
    for phase in ["pause-incoming", "pause-paused"] {
        let sleeper = Sleeper::asleep();
        sleeper.0.knob(phase, "");
        let wake = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]));
        sleeper.0.wait_for(phase);
        sleeper.0.kill(&format!("{INSTANCE}/qemu.pid"));
        sleeper.0.release(phase);
        let outcome = wake.wait();
        assert_eq!(outcome.code, 0, "{phase}: {outcome}");
        assert!(outcome.stderr.contains("`hello` boots cold: QEMU d"), "{phase}: {outcome}");
        assert_eq!(sleeper.remains(), Vec::<String>::new(), "{phase}");
    }
}

#[test]
fn a_machine_with_secrets_whose_kernel_cannot_be_told_so_does_not_sleep() {
    let sleeper = Sleeper::new();
    let path = ".local/state/machine/machines/hello/machine.json";
    let mut record: serde_json::Value = serde_json::from_str(&sleeper.0.read(path)).expect("JSON");
    record["clears_freed"] = true.into();
    record["kernel"] = serde_json::json!(["/k", "/i", "root=/dev/vda"]);
    sleeper.0.write(path, record.to_string());
    sleeper.must(&["sleep", "hello"]);
    sleeper.must(&["run", "hello", "--", "true"]);
    record["kernel"] = serde_json::Value::Null;
    sleeper.0.write(path, record.to_string());
    let outcome = sleeper.run(&["sleep", "hello"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(
        outcome.stderr.contains("`hello` has secrets, and its kernel cannot be told to clear"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("hint: `machine down hello` gives the memory back"), "{outcome}");
}

#[test]
fn an_editor_that_comes_back_while_it_falls_asleep_does_not_wake_it() {
    let sleeper = Sleeper::new();
    sleeper.0.knob("pause-migrate", "");
    let sleep = sleeper.0.start(&mut sleeper.command(&["sleep", "hello"]));
    sleeper.0.wait_for("pause-migrate");
    let editor = sleeper.0.start(&mut sleeper.command(&["connect", "hello"]));
    editor.wait_for("waiting for `machine sleep");
    sleeper.0.release("pause-migrate");
    assert_eq!(sleep.wait().code, 0);
    let outcome = editor.wait();
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("`hello` was put down by hand"), "{outcome}");
    assert_eq!(sleeper.state(), "asleep");
}

/// Folders on a small file system of their own, for as long as this lives; `None` where none can be made.
struct Small(PathBuf);

impl Small {
    fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"]).arg(&folder);
        let done = mount.stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Processes of the world that is dropped next may still have files in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_really_full_leaves_a_machine_that_runs() {
    let world = World::new();
    let lima = world.home(".local/share/machine/lima");
    world.make_folder(&lima);
    let Some(_small) = Small::mount(lima.clone(), "2m") else {
        skip("no file system can be mounted here");
        return;
    };
    give_away(&lima);
    let sleeper = Sleeper::of(world, BARE);
    let outcome = sleeper.run(&["sleep", "hello"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("`hello` did not fall asleep, and goes on running"), "{outcome}");
    assert!(
        outcome.stderr.contains("No space left on device (os error 28) (1 MiB written, 0 MiB free)"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("hint: make room there, or use `machine down`"), "{outcome}");
    assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "ready".into()));
    sleeper.must(&["run", "hello", "--", "true"]);
}

#[test]
fn a_wake_without_the_runtime_folder_keeps_the_memory() {
    let sleeper = Sleeper::asleep();
    let memory = ["asleep.json", "key", "memory.image"];
    assert_snapshot!(sleeper.0.run(&["run", "hello", "--", "true"]), @"
    exit code 125
    --- stderr
    error: `hello` cannot wake from here, and its memory is kept
    caused by: the memory of a machine is encrypted with a key that must not outlive the boot
    caused by: there is no runtime folder: XDG_RUNTIME_DIR is not set
    hint: log in so that XDG_RUNTIME_DIR is set, as it was when it fell asleep
    hint: to do without its memory, remove `~/.local/share/machine/lima/hello/memory.image`: it boots cold then
    ");
    assert_eq!(sleeper.remains(), memory);
    let said = sleeper.0.must(&["list"]).stderr;
    assert!(said.contains("it cannot wake from here: there is no runtime folder"), "{said}");
    let set_mode = |mode| {
        fs::set_permissions(sleeper.0.path("runtime"), fs::Permissions::from_mode(mode)).expect("mode");
    };
    set_mode(0o755);
    let said = sleeper.run(&["doctor"]).stdout;
    let open = "`hello` is asleep and cannot wake from here: others may enter the runtime folder";
    assert!(said.contains(open), "{said}");
    let refused = sleeper.run(&["up", "hello"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(!sleeper.0.effects().contains("limactl start"), "{refused}");
    set_mode(0o700);
    assert_eq!(sleeper.remains(), memory);
    sleeper.must(&["run", "hello", "--", "true"]);
    assert!(sleeper.0.effects().contains("qemu goes on"));
}

#[test]
fn a_wake_without_zstd_keeps_the_memory() {
    let sleeper = Sleeper::asleep();
    // Its folder is one that `machine` looks into whatever PATH says.
    let line = "mount --bind /dev/null $(command -v zstd) && XDG_RUNTIME_DIR=$(realpath ../runtime) machine up hello";
    let Some(refused) = in_a_namespace(&sleeper.0, line) else { return };
    assert_snapshot!(refused, @"
    exit code 1
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    error: `hello` cannot wake from here, and its memory is kept
    caused by: the program `zstd` is not installed, or not on PATH: it packs a memory
    hint: install it: `apt install zstd`, or your system's own package
    hint: to do without its memory, remove `~/.local/share/machine/lima/hello/memory.image`: it boots cold then
    ");
    assert_eq!(sleeper.remains(), ["asleep.json", "key", "memory.image"]);
    sleeper.must(&["up", "hello"]);
    assert!(sleeper.0.effects().contains("qemu goes on"));
    let doctor = line.replace("machine up hello", "machine doctor");
    let said = in_a_namespace(&sleeper.0, &doctor).expect("as before").stdout;
    assert!(said.contains("· zstd         not installed") && said.contains("✓ runtime "), "{said}");
}

#[test]
fn a_memory_that_fits_no_more_needs_no_runtime_folder() {
    let sleeper = Sleeper::asleep();
    overwrite(&sleeper.file("disk"), b"somebody was here");
    let said = sleeper.0.must(&["run", "hello", "--", "true"]).stderr;
    assert!(said.contains("boots cold: its disk has changed"), "{said}");
}

/// A machine with a secret.
fn with_secret() -> Sleeper {
    let world = World::new();
    world.knob("pass", "a value\n");
    let secret = "TOKEN = { command = [\"pass\", \"show\", \"npm\"] }";
    Sleeper::of(world, &format!("{BARE}\n[hello.secrets]\n{secret}\n"))
}

#[test]
fn an_editor_that_wakes_a_machine_finds_its_secrets() {
    let sleeper = with_secret();
    sleeper.must(&["sleep", "hello"]);
    // As if it had fallen asleep by itself.
    let path = ".local/state/machine/machines/hello/machine.json";
    let mut record: serde_json::Value = serde_json::from_str(&sleeper.0.read(path)).expect("JSON");
    record["held"] = false.into();
    sleeper.0.write(path, record.to_string());
    sleeper.0.effects();
    // Nobody listens at the port of this guest.
    let outcome = sleeper.run(&["connect", "hello"]);
    assert!(outcome.stderr.contains("1 secret is in /run/secrets"), "{outcome}");
    assert_eq!(outcome.stdout, "");
    assert!(sleeper.0.effects().contains("secrets filled"));
    sleeper.run(&["connect", "hello"]);
    assert!(!sleeper.0.effects().contains("secrets"));
    // A source that gives nothing keeps nobody out.
    sleeper.must(&["sleep", "hello"]);
    let mut record: serde_json::Value = serde_json::from_str(&sleeper.0.read(path)).expect("JSON");
    record["held"] = false.into();
    sleeper.0.write(path, record.to_string());
    sleeper.0.knob("pass", "");
    let outcome = sleeper.run(&["connect", "hello"]);
    assert!(outcome.stderr.contains("warning: ") && outcome.stdout.is_empty(), "{outcome}");
    assert!(outcome.stderr.contains("failed to connect to 127.0.0.1:"), "{outcome}");
}

#[test]
fn a_sleep_that_fails_says_how_secrets_come_back() {
    let sleeper = with_secret();
    sleeper.0.knob("fail-migrate", "");
    assert_snapshot!(sleeper.run(&["sleep", "hello"]), @"
    exit code 1
    --- stderr
    error: `hello` did not fall asleep, and goes on running
    caused by: QEMU could not write its memory
    hint: its secrets were removed for that: the next `ssh` or `run` fills them, or `machine secrets hello`
    ");
}

#[test]
fn a_sleep_that_fails_in_the_guest_does_not_hide_that_secrets_are_gone() {
    let sleeper = with_secret();
    sleeper.0.knob("fail-sleep", "");
    let outcome = sleeper.run(&["sleep", "hello"]);
    assert!(outcome.stderr.contains("the guest of `hello` could not prepare for sleep"), "{outcome}");
    sleeper.0.effects();
    // The connection is the same as before.
    let outcome = sleeper.must(&["run", "hello", "--", "true"]);
    assert!(outcome.stderr.contains("1 secret is in /run/secrets"), "{outcome}");
    assert!(!sleeper.0.effects().contains("open master"), "{outcome}");
}

#[test]
fn a_sleep_that_fails_gives_ports_back() {
    let ports = Ports::new();
    let sleeper = Sleeper::of(World::alone(), &format!("[hello]\nports = [{}]\n", ports.web()));
    for knob in ["fail-migrate", "fail-sleep"] {
        assert!(listens(ports.web()));
        sleeper.0.knob(knob, "");
        let outcome = sleeper.run(&["sleep", "hello"]);
        assert_eq!((outcome.code, sleeper.state().as_str()), (1, "ready"), "{outcome}");
        sleeper.0.release(knob);
    }
    assert!(listens(ports.web()));
    sleeper.must(&["sleep", "hello"]);
    assert_eq!((listens(ports.web()), sleeper.state().as_str()), (false, "asleep"));
}

#[test]
fn nothing_is_left_of_a_machine_that_slept() {
    let sleeper = Sleeper::asleep();
    sleeper.must(&["destroy", "hello", "--discard-unseen"]);
    assert_eq!(sleeper.remains(), Vec::<String>::new());
}

#[test]
fn a_memory_without_its_note_is_told_before_it_is_lost() {
    let sleeper = Sleeper::asleep();
    overwrite(&sleeper.file("asleep.json"), b"{");
    assert_eq!(sleeper.state(), "stopped");
    let said = sleeper.must(&["list"]).stderr;
    assert!(said.contains("it will boot cold: its sleep was cut off"), "{said}");
}

#[test]
fn a_machine_whose_record_is_damaged_is_not_passed_over_in_silence() {
    let sleeper = Sleeper::new();
    sleeper.0.write(".local/state/machine/machines/hello/machine.json", "{");
    for args in [&["sleep", "--all"][..], &["down", "--all"], &["prune"]] {
        let said = sleeper.must(args).stderr;
        assert!(said.contains("warning: `hello` is left out: ") && said.contains("is damaged"), "{said}");
    }
    let said = sleeper.must(&["list"]).stderr;
    assert!(said.contains("is damaged") && said.contains("`machine up hello` repairs it"), "{said}");
}
