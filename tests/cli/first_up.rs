//! The first command a newcomer types, and the same one again.

use insta::assert_snapshot;

use crate::world::World;

/// One project without repositories, for tests that need not see more.
pub const BARE: &str = "[hello]\n";

#[test]
fn the_first_command_a_newcomer_types_works() {
    let world = World::new();
    let outcome = world.run(&["up", "hello"]);
    assert_snapshot!(outcome, @"
    exit code 0
    --- stderr
    wrote project `hello` (an empty project) to `~/.config/machine/projects.toml`
    hello  debian-13 · base · 2 cpus · 4 GiB
    building the box `base`, once; machines start from it
    ✓ image     image T s
    ✓ create    disk up to 16 GiB T s
    ✓ boot      ssh ready T s
      · the first provisioning takes some minutes, a quarter of an hour under software emulation; it happens once
      · guest: session helper, apt settings T s
      · environment: PATH, +1 T s
      · floor: host and LAN closed T s
      · shell: bash T s
      · apt: ca-certificates, curl, +3 T s
      · base: install.sh T s
      · base: setup.sh T s
      · base: 21 checks T s
    ✓ provision 8 of 8 steps run T s
    ✓ seal      2 packages T s
    ✓ stop      shut down, disk clean T s
    ✓ capture   base  0.01 MiB T s
    ✓ box       base  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
    ✓ provision 1 of 9 steps run T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_eq!(world.read(".ssh/config"), "Include config.d/machine\n");
    assert!(world.read(".config/machine/projects.toml").contains("\n[hello]\n"));
    assert!(world.read(".config/machine/provision.toml").contains("\n#base = true\n"));
}

#[test]
fn the_effects_of_the_first_command() {
    let world = World::new();
    world.must(&["up", "hello"]);
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl --version
    ssh-keygen -q -t ed25519 -N  -C machine-bake-ID -f ~/.local/state/machine/machines/bake-ID/host_key
    ssh-keygen -y -f ~/.local/state/machine/machines/bake-ID/host_key
    limactl create --name bake-ID ~/.local/state/machine/machines/bake-ID/lima.yaml
    limactl list
    limactl start --timeout=30m bake-ID
    ssh open master, agent lent
    ssh ask
    ssh stop steps left over
    guest step guest
    guest step environment
    guest step floor
    guest step shell
    guest step HASH
    guest step HASH
    guest step HASH
    guest step HASH
    ssh close master
    ssh open master, agent lent
    ssh ask
    guest list packages
    guest seal
    ssh close master
    limactl stop bake-ID
    limactl list
    limactl delete -f bake-ID
    ssh-keygen -q -t ed25519 -N  -C machine-hello -f ~/.local/state/machine/machines/hello/host_key
    ssh-keygen -y -f ~/.local/state/machine/machines/hello/host_key
    limactl create --name hello ~/.local/state/machine/machines/hello/lima.yaml
    limactl list
    limactl start --timeout=30m hello
    ssh open master, agent lent
    ssh ask
    ssh stop steps left over
    guest step git
    ");
}

#[test]
fn up_on_a_running_unchanged_machine_is_one_limactl() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello is ready.   machine ssh hello
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ");
}

#[test]
fn editors_find_the_machine_by_its_host_block() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    assert_snapshot!(world.mask(&world.read(".ssh/config.d/machine")), @r#"
    # Written by machine: one block a machine. Changes are overwritten; `machine uninstall` removes it.

    Host machine-hello
      HostName 127.0.0.1
      Port PORT
      User dev
      ProxyCommand <bin>/machine connect hello
      HostKeyAlias machine-hello
      UserKnownHostsFile "~/.local/share/machine/s/ID/known_hosts"
      GlobalKnownHostsFile /dev/null
      StrictHostKeyChecking yes
      UpdateHostKeys no
      HostKeyAlgorithms ssh-ed25519
      IdentityFile "~/.local/share/machine/lima/_config/user"
      IdentitiesOnly yes
      IdentityAgent "~/.local/share/machine/s/ID/agent"
      PreferredAuthentications publickey
      ForwardAgent "~/.local/share/machine/s/ID/agent"
      ForwardX11 no
      ForwardX11Trusted no
      ControlMaster no
      ControlPath none
      PermitLocalCommand no
      SendEnv -*
    "#);
}
