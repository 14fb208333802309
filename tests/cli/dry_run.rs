//! `--dry-run` prints the very commands and changes nothing.

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

/// Runs with `--dry-run` and makes sure that nothing below the home folder changed.
fn dry(world: &World, args: &[&str]) -> String {
    let before = world.tree();
    let args: Vec<&str> = args.iter().copied().chain(["--dry-run"]).collect();
    let outcome = world.run(&args).to_string();
    assert_eq!(world.tree(), before, "{args:?} changed something");
    outcome
}

#[test]
fn up_from_nothing() {
    let world = World::new();
    world.configure("[blog]\nrepos = [\"git@github.com:you/blog.git\"]\nsetup = [\"npm ci\"]\n");
    // Lima's version is known from now on.
    world.must(&["doctor"]);
    world.effects();
    assert_snapshot!(dry(&world, &["up", "blog"]), @r#"
    exit code 0
    --- stdout
    # box
    # the box `bare` is built, by the machine `bake-ID`:
    # image
    # `<world>/image` is there
    # create
    ssh-keygen -q -t ed25519 -N '' -C machine-bake-ID -f ~/.local/state/machine/machines/bake-ID/host_key
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json create --name bake-ID ~/.local/state/machine/machines/bake-ID/lima.yaml
    # boot
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m bake-ID
    ssh -F ~/.local/share/machine/s/ID/config -o ControlMaster=yes -o ControlPersist=600 -o 'ForwardAgent="~/.local/share/machine/s/ID/agent"' -f -N guest
    # provision
    # only the steps that the guest has no stamp of:
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-guest-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # guest: session helper, apt settings
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-environment-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # environment: PATH
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-floor-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # floor: host and LAN closed
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-shell-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # shell: bash
    # seal
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'bash -s' <<'N bytes'
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n bash -s' <<'N bytes'
    # capture
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json stop bake-ID
    # take `~/.local/share/machine/lima/bake-ID/disk`
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json delete -f bake-ID
    # the box `bare` is there
    # create
    ssh-keygen -q -t ed25519 -N '' -C machine-blog -f ~/.local/state/machine/machines/blog/host_key
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json create --name blog ~/.local/state/machine/machines/blog/lima.yaml
    # boot
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m blog
    ssh -F ~/.local/share/machine/s/ID/config -o ControlMaster=yes -o ControlPersist=600 -o 'ForwardAgent="~/.local/share/machine/s/ID/agent"' -f -N guest
    # provision
    # only the steps that the guest has no stamp of:
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-guest-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # guest: session helper, apt settings
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-environment-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # environment: PATH
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-floor-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # floor: host and LAN closed
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-git-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # git: no identity configured
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # apt: git
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-shell-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # shell: bash
    # repos
    ssh -F ~/.local/share/machine/s/ID/config -T -o 'ForwardAgent="~/.local/share/machine/s/ID/agent"' guest -- '/usr/local/lib/machine/session WORDS'  # git clone git@github.com:you/blog.git, unless it is there
    ssh -F ~/.local/share/machine/s/ID/config -T guest -- '/usr/local/lib/machine/session WORDS'  # setup of blog
    # ssh
    # write `~/.ssh/config.d/machine`
    "#);
    assert_snapshot!(world.effects(), @"git who commits");
}

#[test]
fn not_even_limas_version_is_remembered() {
    let world = World::new();
    world.configure(BARE);
    let printed = dry(&world, &["up", "hello"]);
    assert!(printed.starts_with("exit code 0\n--- stdout\n# box\n"), "{printed}");
}

#[test]
fn up_of_a_project_that_is_not_written_down() {
    let world = World::new();
    assert_snapshot!(dry(&world, &["up", "hello"]), @r#"
    exit code 0
    --- stdout
    # write project `hello` to `~/.config/machine/projects.toml`
    # box
    # the box `base` is built, by the machine `bake-ID`:
    # image
    # `<world>/image` is there
    # create
    ssh-keygen -q -t ed25519 -N '' -C machine-bake-ID -f ~/.local/state/machine/machines/bake-ID/host_key
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json create --name bake-ID ~/.local/state/machine/machines/bake-ID/lima.yaml
    # boot
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m bake-ID
    ssh -F ~/.local/share/machine/s/ID/config -o ControlMaster=yes -o ControlPersist=600 -o 'ForwardAgent="~/.local/share/machine/s/ID/agent"' -f -N guest
    # provision
    # only the steps that the guest has no stamp of:
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-guest-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # guest: session helper, apt settings
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-environment-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # environment: PATH, +1
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-floor-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # floor: host and LAN closed
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-shell-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # shell: bash
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # apt: ca-certificates, curl, +3
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # base: install.sh
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # base: setup.sh
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # base: 21 checks
    # seal
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'bash -s' <<'N bytes'
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n bash -s' <<'N bytes'
    # capture
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json stop bake-ID
    # take `~/.local/share/machine/lima/bake-ID/disk`
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json delete -f bake-ID
    # the box `base` is there
    # create
    ssh-keygen -q -t ed25519 -N '' -C machine-hello -f ~/.local/state/machine/machines/hello/host_key
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json create --name hello ~/.local/state/machine/machines/hello/lima.yaml
    # boot
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m hello
    ssh -F ~/.local/share/machine/s/ID/config -o ControlMaster=yes -o ControlPersist=600 -o 'ForwardAgent="~/.local/share/machine/s/ID/agent"' -f -N guest
    # provision
    # only the steps that the guest has no stamp of:
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-guest-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # guest: session helper, apt settings
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-environment-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # environment: PATH, +1
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-floor-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # floor: host and LAN closed
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-git-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # git: no identity configured
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # apt: ca-certificates, curl, +3
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # base: install.sh
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # base: setup.sh
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # base: 21 checks
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-shell-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # shell: bash
    # ssh
    # write `~/.ssh/config.d/machine`
    "#);
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl --version
    limactl --version
    ");
}

#[test]
fn verbs_on_a_machine() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.effects();
    assert_snapshot!(dry(&world, &["up", "hello"]), @"
    exit code 0
    --- stdout
    # hello: ready, nothing to do
    ");
    assert_snapshot!(dry(&world, &["down", "hello"]), @"
    exit code 0
    --- stdout
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json stop hello
    ");
    assert_snapshot!(dry(&world, &["destroy", "hello"]), @"
    exit code 0
    --- stdout
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json stop hello
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json delete -f hello
    ");
    assert_snapshot!(dry(&world, &["uninstall"]), @"
    exit code 0
    --- stdout
    # would remove `Include config.d/machine` from `~/.ssh/config`
    # would remove `~/.ssh/config.d/machine`
    # would remove `~/.local/share/machine/launcher`
    --- stderr
    machines stay, with the work in them: hello (`machine destroy NAME` deletes one)
    these folders stay; delete them when you no longer need what is in them:
      ~/.local/share/machine
      ~/.local/state/machine
      ~/.cache/machine
      ~/.config/machine
    the program itself is your package manager's: `brew uninstall machine`, or `cargo uninstall machine`
    ");
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ");
}

#[test]
fn a_start_and_a_call_of_lima() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.effects();
    let lima = world.run(&["lima", "--dry-run", "--", "list", "-q"]).to_string();
    assert_snapshot!(lima, @"
    exit code 0
    --- stdout
    LIMA_HOME=~/.local/share/machine/lima limactl list -q
    ");
    world.must(&["down", "hello"]);
    assert_snapshot!(dry(&world, &["up", "hello"]), @r#"
    exit code 0
    --- stdout
    # boot
    LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m hello
    ssh -F ~/.local/share/machine/s/ID/config -o ControlMaster=yes -o ControlPersist=600 -o 'ForwardAgent="~/.local/share/machine/s/ID/agent"' -f -N guest
    # provision
    # only the steps that the guest has no stamp of:
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-guest-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # guest: session helper, apt settings
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-environment-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # environment: PATH
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-floor-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # floor: host and LAN closed
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-git-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # git: no identity configured
    ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'sudo -n systemd-run --quiet --wait --pipe --collect --unit=machine-step-shell-HASH -p KillMode=control-group -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s' <<'N bytes'  # shell: bash
    # ssh
    # write `~/.ssh/config.d/machine`
    "#);
}

#[test]
fn secrets_and_keys_that_are_held() {
    let world = World::new();
    world.configure("[hello.secrets]\nTOKEN = { command = [\"pass\", \"show\", \"npm\"] }\n");
    world.knob("pass", "a value\n");
    world.must(&["up", "hello"]);
    world.effects();
    assert_snapshot!(dry(&world, &["secrets", "hello"]), @"
    exit code 0
    --- stdout
    # read `TOKEN` from the command `pass`
    # write all of them into /run/secrets of `hello`
    ");
    assert_snapshot!(dry(&world, &["secrets", "hello", "--clear"]), @"
    exit code 0
    --- stdout
    # empty /run/secrets of `hello`
    ");
    assert_snapshot!(dry(&world, &["keys", "hold", "hello"]), @"
    exit code 0
    --- stdout
    # hold the keys of `hello` for 8 h
    ");
    assert_snapshot!(dry(&world, &["keys", "release", "hello"]), @"
    exit code 0
    --- stderr
    the keys of `hello` are not held
    ");
    assert_snapshot!(world.effects(), @"
    limactl list
    limactl list
    ");
    world.must(&["keys", "hold", "hello"]);
    // What holds is at work, so the folders may change.
    assert_snapshot!(world.run(&["keys", "release", "hello", "--dry-run"]), @"
    exit code 0
    --- stdout
    # end the hold of the keys of `hello`
    ");
    assert!(world.must(&["list"]).stderr.contains("its keys are held"));
    world.must(&["down", "hello", "--force"]);
    assert_eq!(dry(&world, &["secrets", "hello"]), world.run(&["secrets", "hello"]).to_string());
}

#[test]
fn init_names_the_files_and_writes_none() {
    let world = World::new();
    let printed = dry(&world, &["init"]);
    assert!(
        printed.starts_with("exit code 0\n--- stdout\n# would write `~/.config/machine/projects.toml`:\n"),
        "{printed}"
    );
    assert!(printed.contains("\n# would write `~/.config/machine/provision.toml`:\n"), "{printed}");
    assert_eq!(world.effects(), "");
}
