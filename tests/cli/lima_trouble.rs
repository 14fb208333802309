//! A Lima that is missing, old, in somebody else's hands, or that fails at any step.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::mask::without_resident;
use crate::world::{World, skip};

/// A world with the project `hello` and no machine.
fn configured() -> World {
    let world = World::new();
    world.configure(BARE);
    world
}

/// A world with the machine `hello`, stopped.
fn stopped() -> World {
    let world = configured();
    world.must(&["up", "hello"]);
    world.must(&["down", "hello"]);
    world.effects();
    world
}

#[test]
fn a_missing_lima_is_told_with_what_to_install() {
    let folders =
        ["/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"];
    if folders.iter().any(|folder| Path::new(folder).join("limactl").exists()) {
        skip("this computer has a limactl where the program always looks");
        return;
    }
    let world = configured();
    fs::remove_file(world.path("bin/limactl")).expect("removed");
    let outcome = world.run(&["up", "hello"]);
    assert_eq!(outcome.code, 1);
    if cfg!(target_os = "linux") {
        assert_snapshot!(outcome, @"
        exit code 1
        --- stderr
        error: `limactl` is not installed, or not on PATH: `machine` drives Lima
        hint: install it: `brew install lima`, or see https://lima-vm.io/docs/installation/
        hint: Lima needs QEMU here: `apt install qemu-system-x86 qemu-utils` or your system's own packages
        ");
    }
    assert_eq!(world.effects(), "git who commits\n");
    assert!(!world.home(".local/share").exists());
}

#[test]
fn an_old_lima_is_refused() {
    let world = configured();
    world.knob("version", "limactl version 2.1.4\n");
    let outcome = world.run(&["up", "hello"]);
    assert_eq!(outcome.code, 1);
    if cfg!(target_os = "linux") {
        assert_snapshot!(outcome, @"
        exit code 1
        --- stderr
        error: Lima 2.1.4 is too old: `machine` needs 2.2.0 or later
        hint: install a newer one: `brew install lima`, or see https://lima-vm.io/docs/installation/
        ");
    }
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl --version
    ");
    world.knob("version", "limactl version 2.2.0-rc.1\n");
    world.must(&["up", "hello", "--dry-run"]);
}

#[test]
fn a_lima_without_a_version_is_accepted_on_request_only() {
    let world = configured();
    world.knob("version", "limactl version <unknown>\n");
    let outcome = world.run(&["up", "hello"]);
    assert_eq!(outcome.code, 1);
    if cfg!(target_os = "linux") {
        assert_snapshot!(outcome, @"
        exit code 1
        --- stderr
        error: `limactl --version` printed `limactl version <unknown>`: no version to judge it by
        hint: install a newer one: `brew install lima`, or see https://lima-vm.io/docs/installation/
        hint: to accept a build of your own, set `accept_unknown_version = true` below `[lima]` in config.toml
        ");
    }
    let computer = world.read(".config/machine/config.toml");
    world
        .write(".config/machine/config.toml", format!("{computer}\n[lima]\naccept_unknown_version = true\n"));
    world.must(&["up", "hello"]);
}

#[test]
fn a_missing_qemu_is_told() {
    if !cfg!(target_os = "linux") || Path::new("/usr/bin/qemu-system-x86_64").exists() {
        skip("this computer has a QEMU where the program always looks");
        return;
    }
    let world = configured();
    fs::remove_file(world.path(&format!("bin/qemu-system-{}", std::env::consts::ARCH))).expect("removed");
    assert!(world.run(&["up", "hello"]).stderr.contains("Lima needs QEMU here"));
}

#[test]
fn foreign_settings_are_refused_with_the_file_they_came_from() {
    let world = stopped();
    let foreign = "mounts:\n- location: \"~\"\n  writable: true\nportForwards:\n- guestPort: 3000\nnetworks:\n\
        - lima: user-v2\nssh:\n  forwardAgent: true\nprovision:\n- mode: system\n  script: curl evil\n\
        env:\n  TOKEN: secret\n";
    world.write(".local/share/machine/lima/_config/override.yaml", foreign);
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 5
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    error: will not start `hello`: Lima would use settings that `machine` did not write
    caused by: `env.TOKEN` is "secret", from `~/.local/share/machine/lima/_config/override.yaml`
               `mounts.0.location` is "~", from `~/.local/share/machine/lima/_config/override.yaml`
               `mounts.0.writable` is true, from `~/.local/share/machine/lima/_config/override.yaml`
               `networks.0.lima` is "user-v2", from `~/.local/share/machine/lima/_config/override.yaml`
               `portForwards.0.guestPort` is 3000, from `~/.local/share/machine/lima/_config/override.yaml`
               `provision.0.script` is "curl evil", from `~/.local/share/machine/lima/_config/override.yaml`
               `provision.1.mode` is "system", from `~/.local/share/machine/lima/_config/override.yaml`
               `provision.1.script` is a script with a private key, from `~/.local/share/machine/lima/_config/override.yaml`
               `ssh.forwardAgent` is true, from `~/.local/share/machine/lima/_config/override.yaml`
    hint: remove those settings from the named files, then run the command again
    "#);
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ");
    assert_snapshot!(world.run(&["run", "hello", "--", "true"]), @r#"
    exit code 5
    --- stderr
    `hello` is unfinished: `machine up hello` goes on where it stopped
    error: will not start `hello`: Lima would use settings that `machine` did not write
    caused by: `env.TOKEN` is "secret", from `~/.local/share/machine/lima/_config/override.yaml`
               `mounts.0.location` is "~", from `~/.local/share/machine/lima/_config/override.yaml`
               `mounts.0.writable` is true, from `~/.local/share/machine/lima/_config/override.yaml`
               `networks.0.lima` is "user-v2", from `~/.local/share/machine/lima/_config/override.yaml`
               `portForwards.0.guestPort` is 3000, from `~/.local/share/machine/lima/_config/override.yaml`
               `provision.0.script` is "curl evil", from `~/.local/share/machine/lima/_config/override.yaml`
               `provision.1.mode` is "system", from `~/.local/share/machine/lima/_config/override.yaml`
               `provision.1.script` is a script with a private key, from `~/.local/share/machine/lima/_config/override.yaml`
               `ssh.forwardAgent` is true, from `~/.local/share/machine/lima/_config/override.yaml`
    hint: remove those settings from the named files, then run the command again
    "#);
    assert_snapshot!(world.effects(), @"limactl list");
}

#[test]
fn a_lima_yaml_edited_by_hand_is_refused_too() {
    let world = stopped();
    let path = ".local/share/machine/lima/hello/lima.yaml";
    world.write(path, world.read(path).replace("mounts: []", "mounts:\n- location: \"~\""));
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 5
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    error: will not start `hello`: Lima would use settings that `machine` did not write
    caused by: `mounts.0.location` is "~", from `~/.local/share/machine/lima/hello/lima.yaml`
    hint: remove those settings from the named files, then run the command again
    "#);
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ");
}

#[test]
fn a_failed_create_leaves_nothing_behind() {
    for knob in ["fail-create-early", "fail-create"] {
        let world = configured();
        world.bake("hello");
        world.knob(knob, "");
        let outcome = world.run(&["up", "hello"]);
        assert_eq!(outcome.code, 1, "{outcome}");
        if knob == "fail-create" {
            assert_snapshot!(outcome, @"
            exit code 1
            --- stderr
            hello  debian-13 · no profiles · 2 cpus · 4 GiB
            ✓ box       bare  cached, built today T s
            error: `LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json create --name hello ~/.local/state/machine/machines/hello/lima.yaml` failed: exit status: 1
            caused by: Working on it
                       failed to convert the disk: no space left on device
            ");
        }
        let left = world.tree();
        assert!(!left.contains("lima/hello"), "{left}");
        assert!(!left.contains("lima.yaml"), "{left}");
        let listed = world.run(&["list", "--json"]);
        assert!(listed.stdout.contains("\"state\": \"none\""), "{listed}");
        world.release(knob);
        world.must(&["up", "hello"]);
    }
}

#[test]
fn a_failed_start_shows_the_end_of_its_log() {
    let world = stopped();
    world.knob("fail-start", "");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    error: `LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m hello` failed
    caused by: Working on it
               exiting, status={Running:false Exiting:true Errors:[qemu died]}
    hint: the whole log: `~/.local/state/machine/machines/hello/start.log`
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    limactl start --timeout=30m hello
    limactl list
    limactl stop -f hello
    ");
    assert_snapshot!(world.run(&["list"]).stderr, @"hello: the last start ended with: exiting, status={Running:false Exiting:true Errors:[qemu died]}");
    world.release("fail-start");
    world.must(&["up", "hello"]);
    assert_eq!(world.run(&["list"]).stderr, "");
}

#[test]
fn a_broken_instance_is_repaired_once() {
    let world = configured();
    world.must(&["up", "hello"]);
    world.kill(".local/share/machine/lima/hello/qemu.pid");
    world.effects();
    assert_snapshot!(without_resident(&world.run(&["list"]).to_string()), @"
    exit code 0
    --- stdout
    PROJECT  STATE   CPUS  MEMORY  DISK    ALLOCATED  SESSIONS  IDLE  LAST USED  PORTS
    hello    broken  2     4 GiB   40 GiB  0 MiB      0         -     just now
    --- stderr
    hello: Lima calls it broken; `machine up hello` repairs it
    ");
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ repair    what an earlier run left was ended T s
    ✓ boot      ssh ready T s
    ✓ provision 5 steps, all done before T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    let effects = world.effects();
    let without_looks: Vec<&str> = effects.lines().filter(|line| *line != "limactl list").collect();
    assert_snapshot!(without_looks.join("\n"), @"
    git who commits
    limactl stop -f hello
    limactl start --timeout=30m hello
    ssh open master, agent lent
    ssh ask
    ");
    assert_eq!(world.run(&["up", "hello"]).stderr, "hello is ready.   machine ssh hello\n");
}

#[test]
fn stale_pids_of_somebody_else_are_not_killed() {
    let world = stopped();
    let mut stranger = world.command("/bin/sleep").arg("300").spawn().expect("a process");
    world.write(".local/share/machine/lima/hello/ha.pid", format!("{}\n", stranger.id()));
    world.must(&["up", "hello"]);
    let survived = stranger.try_wait().expect("a child").is_none();
    stranger.kill().expect("killed");
    stranger.wait().expect("ended");
    assert!(survived);
}

#[test]
fn a_foreign_instance_is_left_alone() {
    let world = configured();
    world.write(".local/share/machine/lima/hello/lima.yaml", "plain: true\n");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    error: there is an instance `hello` in Lima's home that `machine` did not make
    hint: look at it: `~/.local/share/machine/lima/hello/lima.yaml`
    ");
    assert!(world.home(".local/share/machine/lima/hello/lima.yaml").exists());
    let effects = world.effects();
    assert!(!effects.contains("delete") && !effects.contains("start"), "{effects}");
}

#[test]
fn a_truncated_record_is_rebuilt_from_the_machine() {
    let world = configured();
    world.must(&["up", "hello"]);
    let path = ".local/state/machine/machines/hello/machine.json";
    let whole = world.read(path);
    for length in [0, 1, whole.len() / 2, whole.len() - 3] {
        world.write(path, &whole[..length]);
        world.must(&["up", "hello"]);
        let rebuilt: serde_json::Value = serde_json::from_str(&world.read(path)).expect("a record");
        let before: serde_json::Value = serde_json::from_str(&whole).expect("a record");
        for key in ["uuid", "port", "host_key", "image", "disk_bytes"] {
            assert_eq!(rebuilt[key], before[key], "{key}");
        }
    }
    world.write(path, "{\n  \"schema\": 1");
    assert_snapshot!(world.run(&["run", "hello", "--", "true"]), @"
    exit code 125
    --- stderr
    error: `~/.local/state/machine/machines/hello/machine.json` is damaged: EOF while parsing an object at line 2 column 13
    hint: `machine up hello` repairs it from the machine itself
    ");
    std::fs::remove_dir_all(world.home(".local/state/machine")).expect("all state lost");
    world.must(&["up", "hello"]);
}

#[test]
fn a_newer_record_is_refused() {
    let world = stopped();
    let path = ".local/state/machine/machines/hello/machine.json";
    world.write(path, world.read(path).replace("\"schema\": 2", "\"schema\": 3"));
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    error: `~/.local/state/machine/machines/hello/machine.json` was written by a newer `machine` (schema 3)
    hint: upgrade `machine`
    ");
}

#[test]
fn raw_is_needed_to_go_behind_our_back() {
    let world = stopped();
    assert_snapshot!(world.run(&["lima", "--", "start", "hello"]), @"
    exit code 2
    --- stderr
    error: `limactl start` would change a machine behind the back of `machine`
    hint: `machine up`, `machine destroy` and the configuration do it; or say `machine lima --raw -- …`
    ");
    for words in
        ["--debug delete -f hello", "rm -f hello", "--log-level debug remove hello", "factory-reset hello"]
    {
        let args: Vec<&str> = ["lima", "--"].into_iter().chain(words.split(' ')).collect();
        assert_eq!(world.run(&args).code, 2, "{words}");
    }
    assert_eq!(world.effects(), "");
    assert_snapshot!(world.run(&["lima", "--", "shell-x", "hello"]), @"
    exit code 0
    --- stdout
    limactl shell-x hello was run
    ");
    world.must(&["lima", "--raw", "--", "start", "hello"]);
    assert_snapshot!(world.effects(), @"
    limactl shell-x hello
    limactl start hello
    ");
}

#[test]
fn a_guest_whose_kernel_panics_is_started_once_more() {
    let world = configured();
    world.bake("hello");
    world.knob("panic-guest", "");
    let outcome = world.must(&["up", "hello"]);
    assert!(
        outcome.stderr.contains("\nthe guest's kernel panicked while booting: starting it once more\n"),
        "{outcome}"
    );
    assert_eq!(world.effects().matches("limactl start").count(), 2);
}
