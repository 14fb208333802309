//! The cache of boxes: built once, shared, found damaged, built on after an interrupt, listed, emptied, carried.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use sha2::{Digest, Sha256};

use crate::first_up::BARE;
use crate::outcome::Outcome;
use crate::world::{World, skip, wait_until};

fn configured() -> World {
    let world = World::new();
    world.configure(BARE);
    world
}

fn boxes(world: &World) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(world.home(".cache/machine/boxes")).expect("a cache");
    let mut found: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

fn creates(world: &World) -> Vec<String> {
    let effects = world.effects();
    effects.lines().filter(|line| line.starts_with("limactl create")).map(String::from).collect()
}

#[test]
fn the_second_project_of_a_stack_starts_from_the_box_of_the_first() {
    let world = World::new();
    world.configure("[one]\n[two]\n");
    world.must(&["up", "one"]);
    assert_eq!(creates(&world).len(), 2);
    assert_snapshot!(world.run(&["up", "two"]), @"
    exit code 0
    --- stderr
    two  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
    ✓ provision 1 of 5 steps run T s
    ✓ ssh       Host machine-two T s
    Ready in T s.   machine ssh two   ·   ssh machine-two
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ssh-keygen -q -t ed25519 -N  -C machine-two -f ~/.local/state/machine/machines/two/host_key
    ssh-keygen -y -f ~/.local/state/machine/machines/two/host_key
    limactl create --name two ~/.local/state/machine/machines/two/lima.yaml
    limactl list
    limactl start --timeout=30m two
    ssh open master, agent lent
    ssh ask
    ssh stop steps left over
    guest step git
    ");
}

#[test]
fn stacks_share_what_they_have_in_common() {
    let world = World::new();
    world.write(".config/machine/projects.toml", "[one]\n[two]\nprofiles = [\"python\"]\n");
    world.must(&["box", "bake", "one"]);
    world.effects();
    assert_snapshot!(world.run(&["box", "bake", "two"]), @"
    exit code 0
    --- stderr
    building the box `base + python`, once; machines start from it
    ✓ box       base  cached, built today T s
    ✓ create    disk up to 16 GiB T s
    ✓ boot      ssh ready T s
      · apt: python3-dev, python3-venv T s
      · npm: pyright@1.1.414 T s
      · uv: ruff==0.17.6 T s
      · python: 4 checks T s
    ✓ provision 4 of 12 steps run T s
    ✓ seal      2 packages T s
    ✓ stop      shut down, disk clean T s
    ✓ capture   base + python  0.01 MiB T s
    ✓ box       base + python  cached, built today T s
    ");
    assert_eq!(boxes(&world).len(), 2);
    // Nothing changed: nothing runs.
    world.effects();
    world.must(&["box", "bake", "two"]);
    assert_snapshot!(world.effects(), @"git who commits");
}

#[test]
fn one_more_line_in_provision_toml_runs_what_depends_on_it() {
    let world = World::new();
    world.write(".config/machine/projects.toml", "[one]\n");
    world.write(".config/machine/provision.toml", "apt = [\"jq\"]\n");
    world.must(&["box", "bake", "one"]);
    world.effects();
    world.write(".config/machine/provision.toml", "apt = [\"jq\", \"tree\"]\n");
    let outcome = world.must(&["box", "bake", "one"]);
    assert!(outcome.stderr.contains("apt: jq, tree"), "{outcome}");
    assert_eq!(world.effects().matches("guest step HASH").count(), 1);
}

#[test]
fn a_damaged_box_is_told_and_built_anew() {
    let world = configured();
    world.bake("hello");
    let [place] = &boxes(&world)[..] else { panic!("one box") };
    fs::write(place.join("disk"), "another disk").expect("written");
    let outcome = world.run(&["up", "hello"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(outcome.stderr.contains("the box `bare` is damaged (its `disk` has 12 bytes, not "), "{outcome}");
    assert_eq!(creates(&world).len(), 2);
}

#[test]
fn a_failed_build_goes_on_where_it_stopped() {
    let world = configured();
    world.knob("fail-seal", "");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    building the box `bare`, once; machines start from it
    ✓ image     image T s
    ✓ create    disk up to 16 GiB T s
    ✓ boot      ssh ready T s
      · guest: session helper, apt settings T s
      · environment: PATH T s
      · floor: host and LAN closed T s
      · shell: bash T s
    ✓ provision 4 of 4 steps run T s
    the machine that builds it is kept, stopped
    error: `ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n bash -s' <<'N bytes'` failed: exit status: 1
    caused by: update-initramfs: failed
    hint: go on from there: `machine up hello`
    ");
    assert!(!boxes(&world).iter().any(|path| !path.to_string_lossy().contains("/.new-")));
    world.release("fail-seal");
    world.effects();
    world.must(&["up", "hello"]);
    let effects = world.effects();
    assert_eq!(effects.matches("limactl create").count(), 1, "only the project's: {effects}");
    assert_eq!(effects.matches("guest step guest").count(), 0, "{effects}");
}

#[test]
fn a_build_that_was_killed_is_no_box_and_goes_on() {
    for knob in ["pause-create-late", "pause-guest", "hang-seal"] {
        let world = configured();
        world.knob(knob, "");
        let running = world.start(&mut world.machine(&["up", "hello"]));
        world.wait_for(knob);
        running.kill();
        running.wait();
        world.release(knob);
        // An orphaned limactl may still be at work; it is not ours to end.
        wait_until("it has ended", || world.tree().contains("/disk "));
        let listed = world.must(&["box", "list", "--json"]).stdout;
        assert!(listed.contains("\"state\": \"unfinished\"") && !listed.contains("\"whole\""), "{listed}");
        world.must(&["up", "hello"]);
        assert_eq!(boxes(&world).len(), 1, "{knob}");
        let tree = world.tree();
        assert!(!tree.contains("lima/bake-") && !tree.contains("machines/bake-"), "{knob}\n{tree}");
    }
}

#[test]
fn two_that_need_the_same_box_build_it_once() {
    let world = World::new();
    world.configure("[one]\n[two]\n");
    world.knob("hang-seal", "");
    let one = world.start(&mut world.machine(&["up", "one"]));
    world.wait_for("hang-seal");
    let two = world.start(&mut world.machine(&["up", "two"]));
    two.wait_for("waiting for");
    world.release("hang-seal");
    let (one, two) = (one.wait(), two.wait());
    assert_eq!((one.code, two.code), (0, 0), "{one}\n{two}");
    assert_eq!(creates(&world).len(), 3);
}

#[test]
fn without_the_cache_a_machine_is_provisioned_in_place() {
    let world = configured();
    let outcome = world.must(&["up", "hello", "--no-cache"]);
    assert!(outcome.stderr.contains("✓ image"), "{outcome}");
    assert_eq!(creates(&world).len(), 1);
    assert_snapshot!(world.run(&["up", "hello", "--refresh"]), @"
    exit code 2
    --- stderr
    error: `--refresh` is for a machine that is to be made, and `hello` is there
    hint: make it anew: `machine rebuild hello --refresh`
    ");
}

#[test]
fn refresh_builds_the_box_anew() {
    let world = configured();
    world.bake("hello");
    world.must(&["box", "bake", "--refresh"]);
    assert_eq!(creates(&world).len(), 1);
    assert_eq!(boxes(&world).len(), 1);
}

#[test]
fn an_old_box_is_told_and_used() {
    let world = configured();
    world.bake("hello");
    let path = boxes(&world)[0].join("box.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    let created = manifest["created"].as_u64().expect("a time");
    manifest["created"] = (created - 40 * 86_400).into();
    fs::write(&path, manifest.to_string()).expect("written");
    let outcome = world.must(&["up", "hello"]);
    assert!(outcome.stderr.contains("✓ box       bare  cached, 40 days old"), "{outcome}");
    let told = "the box `bare` is 40 days old; newer packages: `machine box bake --refresh`";
    assert!(outcome.stderr.contains(told), "{outcome}");
    assert_eq!(creates(&world).len(), 1);
}

#[test]
fn machines_go_on_without_the_cache() {
    let world = configured();
    world.must(&["up", "hello"]);
    fs::remove_dir_all(world.home(".cache/machine")).expect("removed");
    world.must(&["down", "hello"]);
    world.must(&["up", "hello"]);
    assert_eq!(world.must(&["run", "hello", "--", "echo", "there"]).stdout, "there\n");
}

#[test]
fn list_and_prune() {
    let world = configured();
    assert_snapshot!(world.run(&["box", "list"]), @"
    exit code 0
    --- stderr
    no boxes yet; `machine up` builds them, and `machine box bake`
    ");
    world.bake("hello");
    assert_snapshot!(world.run(&["box", "prune"]), @"
    exit code 0
    --- stderr
    nothing to remove
    ");
    let listed = world.must(&["box", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!((listed[0]["name"].as_str(), listed[0]["state"].as_str()), (Some("bare"), Some("whole")));
    assert!(world.must(&["box", "list", "-v"]).stdout.contains("npm @openai/codex 0.169.0"));
    for age in ["30", "30d"] {
        assert!(world.must(&["box", "prune", "--unused-for", age]).stderr.contains("nothing to remove"));
    }
    world.must(&["box", "prune", "--all", "--dry-run"]);
    assert_eq!(boxes(&world).len(), 1);
    world.must(&["box", "prune", "--all"]);
    assert!(boxes(&world).is_empty());
}

#[test]
fn a_box_is_carried_to_another_computer() {
    let world = configured();
    world.bake("hello");
    let saved = world.home("carried");
    let saved_arg = saved.display().to_string();
    assert_snapshot!(world.run(&["box", "save", &saved_arg]), @"
    exit code 0
    --- stdout
    sha256:HASH
    --- stderr
    ✓ save      bare → ~/carried T s
    ");
    let sums = fs::read(saved.join("SHA256SUMS")).expect("checksums");
    let digest = Sha256::digest(sums).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    world.must(&["box", "prune", "--all"]);
    let refused = world.run(&["box", "load", &saved_arg]);
    assert_eq!(refused.code, 5, "{refused}");
    assert!(boxes(&world).is_empty());
    world.must(&["box", "load", &saved_arg, "--digest", &digest]);
    world.effects();
    world.must(&["up", "hello"]);
    assert_eq!(creates(&world).len(), 1, "the project's only");
    fs::write(saved.join("vmlinuz"), "another kernel").expect("written");
    let damaged = world.run(&["box", "load", &saved_arg, "--digest", &digest]);
    assert_eq!(damaged.code, 1, "{damaged}");
    assert!(damaged.stderr.contains("is damaged"), "{damaged}");
}

/// Runs a shell line as somebody who may mount, in a namespace of its own; none where the system forbids that.
pub fn in_a_namespace(world: &World, line: &str) -> Option<Outcome> {
    let unshare = |line: &str| {
        let mut command = world.command("unshare");
        command.args(["--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c", line]);
        command
    };
    let may = unshare("mount -t tmpfs tmpfs /mnt").status().is_ok_and(|status| status.success());
    if !may {
        skip("nobody but root may mount here");
    }
    may.then(|| world.finish(&mut unshare(line)))
}

#[test]
fn a_full_disk_is_said_with_its_numbers_and_old_boxes_stay() {
    let world = World::new();
    world.configure("[small]\n[large]\nprofiles = [\"go\"]\n");
    world.make_folder(&world.home(".cache/machine"));
    let line = "mount -t tmpfs -o size=2m tmpfs ~/.cache/machine && machine -q box bake small && \
        touch ../play/knobs/large-disk && machine box bake large; echo code $?; machine box list";
    let Some(outcome) = in_a_namespace(&world, line) else { return };
    assert_snapshot!(outcome, @"
    exit code 0
    --- stdout
    code 1
    BOX         KEY            IMAGE            SIZE      WARM  BUILT  LAST USED
    bare        ID       debian-13 amd64  0.01 MiB  -     today  today
    unfinished  bake-ID  -                -         -     -      -
    --- stderr
    building the box `go`, once; machines start from it
    ✓ image     image T s
    ✓ create    disk up to 16 GiB T s
    ✓ boot      ssh ready T s
      · guest: session helper, apt settings T s
      · environment: PATH T s
      · floor: host and LAN closed T s
      · shell: bash T s
      · apt: python3-pip, unzip T s
      · go: install.sh T s
      · go: setup.sh T s
      · go: 3 checks T s
    ✓ provision 8 of 8 steps run T s
    ✓ seal      2 packages T s
    ✓ stop      shut down, disk clean T s
    the machine that builds it is kept, stopped
    error: the box takes 2.86 MiB, and `~/.cache/machine/boxes/.new-HASH` has 1.96 MiB left
    hint: make room there, such as by `machine box prune`, then run the command again
    hint: go on from there: `machine box bake large`
    ");
}

#[test]
fn a_box_that_cannot_be_read_is_built_anew_and_can_be_pruned() {
    let world = configured();
    let set_mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    };
    world.bake("hello");
    set_mode(&boxes(&world)[0].join("disk"), 0o000);
    // It was seen whole, so its contents are asked again only when its times change.
    let listed = world.must(&["box", "list"]).stdout;
    assert!(listed.contains("its `disk` cannot be read: Permission denied"), "{listed}");
    let outcome = world.must(&["up", "hello"]);
    assert!(outcome.stderr.contains("the box `bare` is damaged (its `disk` cannot be read: "), "{outcome}");
    set_mode(&boxes(&world)[0], 0o000);
    world.write(".cache/machine/boxes/note", "a file");
    world.must(&["box", "list"]);
    world.must(&["box", "prune"]);
    assert!(boxes(&world).is_empty());
}
