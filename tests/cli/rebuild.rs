//! What has changed since a machine was made, and a fresh one in its place.

use insta::assert_snapshot;

use crate::world::World;

fn a_machine_with_less_to_have() -> World {
    let world = World::new();
    world.write(".config/machine/projects.toml", "[hello]\n");
    world.write(".config/machine/provision.toml", "base = false\napt = [\"jq\", \"tree\"]\n");
    world.must(&["up", "hello"]);
    world.write(".config/machine/projects.toml", "[hello]\ncpus = 1\nenv = { A = \"1\" }\n");
    world.write(".config/machine/provision.toml", "base = false\napt = [\"jq\"]\n");
    world
}

#[test]
fn diff_and_up_tell_what_only_a_fresh_machine_has() {
    let world = a_machine_with_less_to_have();
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT            DIFFERENCE                                   NEEDS
    cpus            2 → 1                                        restart
    provision.toml  apt: jq                                      re-provision
    removed         apt tree: no longer listed, still installed  rebuild
    env             +A                                           re-provision
    --- stderr
    apply: `machine down hello && machine up hello`
    apply all: `machine rebuild hello`
    ");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 1 cpu · 4 GiB
    ✓ boot      was running T s
      · environment: PATH, +1 T s
      · apt: jq T s
    ✓ provision 2 of 6 steps run T s
    ✓ ssh       Host machine-hello T s
    the new size counts from the next start on: `machine down hello && machine up hello`
    only a fresh machine would have: removed (apt tree: no longer listed, still installed); to make one: `machine rebuild hello`
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT     DIFFERENCE                                   NEEDS
    cpus     2 → 1                                        restart
    removed  apt tree: no longer listed, still installed  rebuild
    --- stderr
    apply: `machine down hello && machine up hello`
    apply all: `machine rebuild hello`
    ");
}

#[test]
fn rebuild_makes_a_fresh_machine_once_no_work_is_lost() {
    let world = a_machine_with_less_to_have();
    world.bake("hello");
    let refused = world.run(&["rebuild", "hello"]);
    assert_eq!(refused.code, 3, "{refused}");
    assert_snapshot!(world.run(&["rebuild", "hello", "--yes"]), @"
    exit code 0
    --- stderr
    ✓ box       provision.toml  cached, built today T s
    ✓ look      0 repositories looked at T s
    ✓ look      0 repositories looked at T s
    ✓ destroy   the old `hello` is gone T s
    hello  debian-13 · no profiles · 1 cpu · 4 GiB
    ✓ box       provision.toml  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · environment: PATH, +1 T s
      · git: no identity configured T s
    ✓ provision 2 of 6 steps run T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stderr
    `hello` is what its configuration says
    ");
}

#[test]
fn no_difference_is_passed_over() {
    let world = World::new();
    world.configure("[hello]\n");
    world.must(&["up", "hello"]);
    let same = "`hello` is what its configuration says";
    assert!(world.must(&["diff", "hello"]).stderr.contains(same));
    world.configure("[hello]\nshell = \"zsh\"\n");
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT           DIFFERENCE                                 NEEDS
    configuration  something else that the next `up` applies  re-provision
    --- stderr
    apply: `machine up hello`
    ");
    let status = world.must(&["status", "hello"]).stdout;
    assert!(status.contains("one difference: `machine diff hello`"), "{status}");
    world.must(&["up", "hello"]);
    assert!(world.must(&["diff", "hello"]).stderr.contains(same));
    let config = world.read(".config/machine/config.toml");
    world.write("other-image", "another image");
    let other = world.home("other-image").display().to_string();
    let image = world.path("image").display().to_string();
    world.write(".config/machine/config.toml", config.replace(&image, &other));
    world.configure("[hello]\nshell = \"zsh\"\nkeep_awake = true\n");
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT        DIFFERENCE               NEEDS
    image       debian-13 → another one  rebuild
    keep_awake  false → true             re-provision
    --- stderr
    apply: `machine up hello`
    apply all: `machine rebuild hello`
    ");
    world.must(&["rebuild", "hello", "--discard"]);
    assert!(world.must(&["diff", "hello"]).stderr.contains(same));
}
