//! Warm boxes: a memory that is kept beside a box, and machines that go on from it or boot all the same. What a real guest
//! makes of it is the guest suite's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::folders::put;
use crate::world::{World, skip};

/// A computer that keeps boxes warm, with this projects.toml; `None` where no kernel is booted directly.
fn warm_world(projects: &str) -> Option<World> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        skip("warm boxes are for Linux on x86-64");
        return None;
    }
    let world = World::new();
    world.configure(projects);
    let config = world.read(".config/machine/config.toml").replace("warm_boxes = false\n", "");
    world.write(".config/machine/config.toml", config);
    world.knob("monitor", "");
    Some(world)
}

/// A file of the only box.
fn file(world: &World, name: &str) -> PathBuf {
    let mut boxes = fs::read_dir(world.home(".cache/machine/boxes")).expect("a cache");
    boxes.next().expect("a box").expect("an entry").path().join(name)
}

fn is_warm(world: &World) -> bool {
    let list: serde_json::Value =
        serde_json::from_str(&world.must(&["box", "list", "--json"]).stdout).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    !list[0]["warm"].is_null()
}

/// The one that was booted to be kept.
fn assert_no_machine_is_left(world: &World) {
    let tree = world.tree();
    assert!(!tree.contains("lima/bake-") && !tree.contains("machines/bake-"), "{tree}");
}

/// Why `up` says that `hello` boots cold; it has to have booted from a fresh disk then.
fn why_cold(world: &World) -> String {
    world.effects();
    let said = world.must(&["up", "hello", "-v"]).stderr;
    let reasons: String = said.lines().filter(|line| line.contains("boots cold")).collect();
    assert_eq!(reasons.is_empty(), said.contains("from the warm box"), "{said}");
    let disk = fs::read(world.home(".local/share/machine/lima/hello/disk")).expect("a disk");
    assert!(disk == fs::read(file(world, "disk")).expect("a disk"));
    reasons
}

#[test]
fn a_new_machine_goes_on_from_the_warm_box() {
    let Some(world) = warm_world(BARE) else { return };
    let baked = world.must(&["box", "bake", "hello"]).stderr;
    assert!(baked.contains("\n✓ warm      bare  "), "{baked}");
    assert!(is_warm(&world));
    assert_no_machine_is_left(&world);
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready, from the warm box T s
      · git: no identity configured T s
    ✓ provision 1 of 5 steps run T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ssh-keygen -q -t ed25519 -N  -C machine-hello -f ~/.local/state/machine/machines/hello/host_key
    ssh-keygen -y -f ~/.local/state/machine/machines/hello/host_key
    limactl create --name hello ~/.local/state/machine/machines/hello/lima.yaml
    limactl list
    limactl start --timeout=30m hello
    qemu goes on
    qemu grows the disk
    guest become another machine
    ssh open master, agent lent
    ssh ask
    ssh stop steps left over
    guest step git
    ");
    assert!(world.read(".local/share/machine/lima/hello/lima.yaml").contains("\ndisk: 40GiB\n"));
    // It boots like any other one from then on.
    world.must(&["down", "hello"]);
    let again = world.must(&["up", "hello", "-v"]).stderr;
    assert!(again.contains("ssh ready") && !again.contains("warm box"), "{again}");
}

#[test]
fn baking_again_keeps_what_is_there_and_fits_another_size() {
    let Some(world) = warm_world("[hello]\n[small]\nmemory = \"1GiB\"\n") else { return };
    world.must(&["box", "bake", "hello"]);
    let dry = world.must(&["up", "hello", "--dry-run"]).stdout;
    assert!(dry.contains("\n# QEMU goes on from its warm half"), "{dry}");
    let first = fs::read(file(&world, "warm.json")).expect("a note");
    world.must(&["box", "bake", "hello"]);
    assert!(first == fs::read(file(&world, "warm.json")).expect("a note"));
    world.must(&["box", "bake", "small"]);
    assert_eq!(why_cold(&world), "`hello` boots cold: the warm box has 2 cpus and 1 GiB");
    let small = world.must(&["up", "small"]).stderr;
    assert!(small.contains("from the warm box"), "{small}");
    let pruned = world.must(&["box", "prune", "--all"]).stderr;
    assert!(pruned.contains("are free"), "{pruned}");
    assert!(!world.tree().contains("warm."), "{}", world.tree());
}

#[test]
fn what_does_not_fit_or_is_damaged_boots_cold_from_a_fresh_disk() {
    let Some(world) = warm_world(BARE) else { return };
    world.must(&["box", "bake", "hello"]);
    let whole = fs::read(file(&world, "warm.memory")).expect("a memory");
    let mut flipped = whole.clone();
    flipped[1_000_000] ^= 1;
    let destroy = || world.must(&["destroy", "hello", "--discard", "--discard-unseen"]);
    // QEMU has read it by then, and its guest stood still.
    put(&file(&world, "warm.memory"), &flipped);
    let why = why_cold(&world);
    assert!(why.contains("QEMU did not take its memory back") || why.contains("its bytes are not"), "{why}");
    destroy();
    put(&file(&world, "warm.memory"), &whole);
    world.knob("refuse-become", "");
    assert_eq!(
        why_cold(&world),
        "`hello` boots cold: it did not become a machine of its own: no more random bytes"
    );
    world.release("refuse-become");
    destroy();
    let blocks = fs::read(file(&world, "warm.blocks")).expect("blocks");
    put(&file(&world, "warm.blocks"), b"x");
    assert!(
        why_cold(&world).starts_with("`hello` boots cold: the changed blocks of its disk cannot be used")
    );
    destroy();
    put(&file(&world, "warm.blocks"), &blocks);
    let qemu = world.path("bin/qemu-system-x86_64");
    // It is a link to a file of the repository.
    fs::remove_file(&qemu).expect("removed");
    put(&qemu, b"#!/bin/sh\n# a newer one\n");
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("mode");
    assert_eq!(why_cold(&world), "`hello` boots cold: the warm box was made with another QEMU");
}

#[test]
fn a_box_that_cannot_be_warm_is_a_box() {
    let Some(world) = warm_world(BARE) else { return };
    world.knob("fail-migrate", "");
    let said = world.must(&["box", "bake", "hello", "-v"]).stderr;
    assert!(said.contains("the box `bare` has no warm half: QEMU could not write its memory"), "{said}");
    assert!(!is_warm(&world) && !world.tree().contains("warm."));
    assert_no_machine_is_left(&world);
    assert_eq!(why_cold(&world), "`hello` boots cold: the box has no warm half");
}

#[test]
fn one_that_is_cut_off_is_made_anew() {
    let Some(world) = warm_world(BARE) else { return };
    world.must(&["box", "bake", "hello"]);
    world.knob("pause-incoming", "");
    let running = world.start(&mut world.machine(&["up", "hello"]));
    world.wait_for("pause-incoming");
    running.kill();
    running.wait();
    world.release("pause-incoming");
    assert_eq!(why_cold(&world), "");
}
