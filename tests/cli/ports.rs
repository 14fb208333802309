//! Declared ports: held by Lima, looked after, told; collisions by their owner.
//! These tests really listen, so they are alone.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use insta::assert_snapshot;

use crate::outcome::Outcome;
use crate::world::{World, wait_until};

/// Ports that nobody has, with the words that stand for them in snapshots.
pub struct Ports(Vec<(u16, &'static str)>);

impl Ports {
    /// Chooses them.
    pub fn new() -> Self {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        // Kept until all are chosen, so that no two are the same.
        let listeners = [bind(), bind(), bind()];
        let numbers = listeners.iter().map(|one| one.local_addr().expect("an address").port());
        Self(numbers.zip(["WEB", "API", "NEW"]).collect())
    }

    /// Declared for both sides.
    pub fn web(&self) -> u16 {
        self.0[0].0
    }

    /// Declared as leading to port 80.
    pub fn api(&self) -> u16 {
        self.0[1].0
    }

    /// Not declared.
    pub fn new_one(&self) -> String {
        self.0[2].0.to_string()
    }

    /// A text with words for the numbers.
    pub fn mask(&self, text: &str) -> String {
        let named =
            self.0.iter().fold(text.to_string(), |text, (port, word)| text.replace(&port.to_string(), word));
        // What is proposed instead of a taken one.
        self.0.iter().fold(named, |text, (port, _)| text.replace(&(port + 1).to_string(), "NEXT"))
    }

    /// An outcome with words for the numbers.
    pub fn shown(&self, outcome: &Outcome) -> String {
        self.mask(&outcome.to_string())
    }

    fn toml(&self) -> String {
        format!("[hello]\nports = [{}, \"{}:80\"] # mine\n\n[shop]\ncpus = 1\n", self.web(), self.api())
    }
}

/// A computer whose project `hello` declares two of them; its box is built.
pub fn world(ports: &Ports) -> World {
    let world = World::alone();
    world.configure(&ports.toml());
    world.bake("hello");
    world
}

/// Whether somebody listens on 127.0.0.1.
pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Lima's folder of the machine.
pub const LIMA: &str = ".local/share/machine/lima/hello";

#[test]
fn up_has_lima_hold_them_and_a_second_up_finds_them_there() {
    let ports = Ports::new();
    let world = world(&ports);
    assert_snapshot!(ports.shown(&world.run(&["up", "hello"])), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
    ✓ provision 1 of 5 steps run T s
    ✓ ssh       Host machine-hello T s
    ✓ ports     WEB, API:80 T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert!(listens(ports.web()) && listens(ports.api()));
    assert_snapshot!(ports.mask(&world.effects()), @"
    git who commits
    limactl list
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
    world.must(&["up", "hello"]);
    assert_snapshot!(ports.mask(&world.effects()), @"
    git who commits
    limactl list
    ");
}

#[test]
fn what_is_behind_each_port_is_told() {
    let ports = Ports::new();
    let world = world(&ports);
    world.must(&["up", "hello"]);
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello"])), @"
    exit code 0
    --- stdout
    HOST             GUEST  STATE
    127.0.0.1:WEB  WEB  forwarded  nothing listens on port WEB in the guest
    127.0.0.1:API  80     forwarded  nothing listens on port 80 in the guest
    ");
    world.knob("guest-sockets", "0: 00000000:0050 0:0 0A 0:0 0:0 0 0 0 7 1\n");
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello", "--json"])), @r#"
    exit code 0
    --- stdout
    [
      {
        "host": WEB,
        "guest": WEB,
        "declared": true,
        "state": "forwarded",
        "note": "nothing listens on port WEB in the guest"
      },
      {
        "host": API,
        "guest": 80,
        "declared": true,
        "state": "answering",
        "note": null
      }
    ]
    "#);
    world.must(&["down", "hello"]);
    wait_until("the ports are closed", || !listens(ports.web()) && !listens(ports.api()));
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello"])), @"
    exit code 0
    --- stdout
    HOST             GUEST  STATE
    127.0.0.1:WEB  WEB  declared  the machine does not run
    127.0.0.1:API  80     declared  the machine does not run
    ");
}

#[test]
fn a_taken_port_is_told_before_anything_starts() {
    let ports = Ports::new();
    let world = world(&ports);
    let mut stranger = world.command("/usr/bin/perl");
    stranger.arg(world.path("bin/guest-port.pl")).arg(ports.web().to_string());
    let mut stranger = stranger.spawn().expect("started");
    wait_until("the stranger listens", || listens(ports.web()));
    assert_snapshot!(ports.shown(&world.run(&["up", "hello"])), @r#"
    exit code 1
    --- stderr
    error: port WEB of this computer is taken by `qemu-system-x86_64` (process PID)
    hint: end it, or declare another one instead of `WEB`, such as `"NEXT:WEB"`
    "#);
    assert!(!world.home(LIMA).exists());
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello"])), @"
    exit code 0
    --- stdout
    HOST             GUEST  STATE
    127.0.0.1:WEB  WEB  taken     by `qemu-system-x86_64` (process PID)
    127.0.0.1:API  80     declared  the machine does not run
    ");
    stranger.kill().and_then(|()| stranger.wait()).expect("ended");
    world.must(&["up", "hello"]);
}

#[test]
fn a_port_of_another_project_names_it() {
    let ports = Ports::new();
    let world = world(&ports);
    world.must(&["up", "hello"]);
    world.configure(&format!("{}ports = [{}]\n", ports.toml(), ports.web()));
    world.effects();
    assert_snapshot!(ports.shown(&world.run(&["up", "shop"])), @r#"
    exit code 1
    --- stderr
    error: port WEB of this computer is taken by the project `hello`
    hint: stop that machine: `machine down hello`, or declare another one instead of `WEB`, such as `"NEXT:WEB"`
    "#);
    world.must(&["down", "hello"]);
    wait_until("the port is free", || !listens(ports.web()));
    world.must(&["up", "shop"]);
    assert_snapshot!(ports.shown(&world.run(&["up", "hello"])), @r#"
    exit code 1
    --- stderr
    error: port WEB of this computer is taken by the project `shop`
    hint: stop that machine: `machine down shop`, or declare another one instead of `WEB`, such as `"NEXT:WEB"`
    "#);
}

#[test]
fn what_lima_lost_is_held_by_a_master_of_ours() {
    let ports = Ports::new();
    let world = world(&ports);
    world.must(&["up", "hello"]);
    world.effects();
    let lose = |master: &str| {
        world.kill(&format!("{master}.{}.pid", ports.web()));
        wait_until("it is lost", || !listens(ports.web()));
    };
    lose(&format!("{LIMA}/ssh.sock"));
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello"])), @"
    exit code 0
    --- stdout
    HOST             GUEST  STATE
    127.0.0.1:WEB  WEB  declared   nobody holds it: `machine up` does
    127.0.0.1:API  80     forwarded  nothing listens on port 80 in the guest
    ");
    world.effects();
    world.must(&["run", "hello", "--", "true"]);
    assert_snapshot!(ports.mask(&world.effects()), @r#"
    ssh open holder of ports
    ssh forward 127.0.0.1:WEB:127.0.0.1:WEB
    ssh session, agent lent: "plain" "" "true"
    "#);
    assert!(listens(ports.web()));
    // A second time, by `up`: the master that holds them is there.
    let holder = world.tree().lines().find_map(|line| {
        let path = line.split(' ').find(|word| word.contains("/fwd."))?;
        Some(path.rsplit_once("/fwd.")?.0.trim_start_matches("~/").to_string())
    });
    lose(&format!("{}/fwd", holder.expect("a master of ours")));
    assert_snapshot!(ports.shown(&world.run(&["up", "hello"])), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ ports     WEB, API:80 T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert_snapshot!(ports.mask(&world.effects()), @"
    git who commits
    limactl list
    ssh forward 127.0.0.1:WEB:127.0.0.1:WEB
    ");
    world.must(&["down", "hello"]);
    wait_until("the ports are closed", || !listens(ports.web()));
}

#[test]
fn a_changed_file_is_followed_by_up_and_told_by_diff() {
    let ports = Ports::new();
    let world = world(&ports);
    world.must(&["up", "hello"]);
    world.configure(&format!("[hello]\nports = [{}, {}]\n", ports.web(), ports.new_one()));
    world.effects();
    assert_snapshot!(ports.shown(&world.run(&["diff", "hello"])), @"
    exit code 0
    --- stdout
    WHAT   DIFFERENCE         NEEDS
    ports  +NEW, -API:80  re-provision
    --- stderr
    apply: `machine up hello`
    ");
    assert_snapshot!(ports.shown(&world.run(&["up", "hello", "--dry-run"])), @r#"
    exit code 0
    --- stdout
    # ports
    ssh -F ~/.local/share/machine/s/ID/config -o 'ControlPath="~/.local/share/machine/s/ID/fwd"' -O cancel -L 127.0.0.1:API:127.0.0.1:80 guest
    # Lima holds them from its start on; only those that it does not:
    ssh -F ~/.local/share/machine/s/ID/config -o 'ControlPath="~/.local/share/machine/s/ID/fwd"' -o ControlMaster=yes -o ControlPersist=yes -f -N guest
    ssh -F ~/.local/share/machine/s/ID/config -o 'ControlPath="~/.local/share/machine/s/ID/fwd"' -O forward -L 127.0.0.1:WEB:127.0.0.1:WEB guest
    ssh -F ~/.local/share/machine/s/ID/config -o 'ControlPath="~/.local/share/machine/s/ID/fwd"' -O forward -L 127.0.0.1:NEW:127.0.0.1:NEW guest
    "#);
    assert_snapshot!(ports.shown(&world.run(&["up", "hello"])), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ ports     WEB, NEW T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    assert!(listens(ports.web()) && !listens(ports.api()));
    world.must(&["down", "hello"]);
    world.configure(&format!("[hello]\nports = [{}]\n", ports.api()));
    world.must(&["up", "hello"]);
    assert!(!listens(ports.web()) && listens(ports.api()));
}

#[test]
fn a_repositorys_ports_are_the_users_to_open() {
    let world = World::new();
    world.write("blog/.git/HEAD", "ref: refs/heads/main\n");
    world.write("blog/projects.toml", "[blog]\nports = [3000]\n");
    let mut command = world.machine(&["up"]);
    command.current_dir(world.home("blog"));
    assert_snapshot!(world.finish(&mut command), @"
    exit code 5
    --- stderr
    error: `~/blog/projects.toml` asks for more than the machine of the project `blog` of `~/blog`:
      ports: port 3000 of this computer leads to port 3000 of the guest
    hint: to allow it, once you have read it: `machine trust ~/blog/projects.toml`
    ");
}
