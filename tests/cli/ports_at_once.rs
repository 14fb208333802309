//! Ports that are added, removed and opened while the machine runs. These tests really listen, so they are alone.

use insta::assert_snapshot;

use crate::ports::{LIMA, Ports, listens, world};
use crate::world::{Running, World};

#[test]
fn added_ports_count_at_once() {
    let ports = Ports::new();
    let world = world(&ports);
    world.must(&["up", "hello"]);
    world.effects();
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello", "add", &ports.new_one(), "--dry-run"])), @r#"
    exit code 0
    --- stdout
    ssh -F ~/.local/share/machine/s/ID/config -o 'ControlPath="~/.local/share/machine/s/ID/fwd"' -O forward -L 127.0.0.1:NEW:127.0.0.1:NEW guest
    # write `ports = [WEB, API:80, NEW]` to `~/.config/machine/projects.toml`
    "#);
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello", "add", &ports.new_one()])), @"
    exit code 0
    --- stderr
    `hello` declares NEW
    ");
    assert_snapshot!(ports.mask(&world.effects()), @"
    ssh open holder of ports
    ssh forward 127.0.0.1:NEW:127.0.0.1:NEW
    ");
    assert!(listens(ports.new_one().parse().expect("a port")));
    assert_snapshot!(ports.mask(&world.read(".config/machine/projects.toml")), @r#"
    [hello]
    ports = [WEB, "API:80", NEW] # mine

    [shop]
    cpus = 1
    "#);
    assert!(ports.mask(&world.read(&format!("{LIMA}/lima.yaml"))).contains("hostPort: NEW\n"));
}

#[test]
fn ports_that_are_added_at_one_time_are_all_kept() {
    let ports = Ports::new();
    let world = world(&ports);
    let free = Ports::new();
    let wanted =
        [("hello", free.web().to_string()), ("shop", free.api().to_string()), ("hello", free.new_one())];
    let all: Vec<_> = wanted
        .each_ref()
        .map(|(name, port)| world.start(&mut world.machine(&["ports", name, "add", port])))
        .into_iter()
        .map(Running::wait)
        .collect();
    for outcome in &all {
        assert_eq!(outcome.code, 0, "{outcome}");
    }
    let text = world.read(".config/machine/projects.toml");
    for (_, port) in &wanted {
        assert!(text.contains(port.as_str()), "{port}: {text}");
    }
}

#[test]
fn removed_ports_are_gone_at_once_and_stay_so() {
    let ports = Ports::new();
    let world = world(&ports);
    world.must(&["up", "hello"]);
    world.must(&["ports", "hello", "add", &ports.new_one()]);
    let again = world.run(&["ports", "hello", "add", &ports.new_one()]);
    assert_snapshot!(ports.shown(&again), @"
    exit code 2
    --- stderr
    error: `hello` declares `NEW` already, so it cannot have `NEW` too
    hint: each port of either side stands once; see them: `machine ports hello`
    ");
    world.effects();
    let web = ports.web().to_string();
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello", "remove", &web, &ports.new_one()])), @"
    exit code 0
    --- stderr
    `hello` gives up WEB, NEW
    ");
    assert_snapshot!(ports.mask(&world.effects()), @"
    ssh cancel 127.0.0.1:WEB:127.0.0.1:WEB
    ssh cancel 127.0.0.1:WEB:127.0.0.1:WEB at Lima's master
    ssh cancel 127.0.0.1:NEW:127.0.0.1:NEW
    ");
    assert!(!listens(ports.web()) && listens(ports.api()));
    assert_snapshot!(ports.mask(&world.read(".config/machine/projects.toml")), @r#"
    [hello]
    ports = ["API:80"] # mine

    [shop]
    cpus = 1
    "#);
    // Nothing is left to do, now and at the next start.
    assert!(world.must(&["up", "hello"]).stderr.contains("hello is ready"));
    world.must(&["down", "hello"]);
    world.must(&["up", "hello"]);
    assert!(!listens(ports.web()) && listens(ports.api()));
}

#[test]
fn opened_ports_last_as_long_as_was_said() {
    let ports = Ports::new();
    let world = world(&ports);
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello", "--open", &ports.new_one()])), @"
    exit code 1
    --- stderr
    error: `hello` does not run, and a port is opened while it does
    hint: start it: `machine up hello`; or declare it: `machine ports hello add PORT`
    ");
    world.must(&["up", "hello"]);
    world.effects();
    let new = ports.new_one();
    world.must(&["run", "hello", "--open", &new, "--", "sh", "-c", &format!("test -n {new}")]);
    assert_snapshot!(ports.mask(&world.effects()), @r#"
    ssh open holder of ports
    ssh forward 127.0.0.1:NEW:127.0.0.1:NEW
    ssh session, agent lent: "plain" "" "sh" "-c" "test -n NEW"
    ssh cancel 127.0.0.1:NEW:127.0.0.1:NEW
    "#);
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello", "--open", &new])), @"
    exit code 0
    --- stderr
    `hello` has NEW open until it stops
    ");
    assert_snapshot!(ports.shown(&world.run(&["ports", "hello"])), @"
    exit code 0
    --- stdout
    HOST             GUEST  STATE
    127.0.0.1:WEB  WEB  forwarded  nothing listens on port WEB in the guest
    127.0.0.1:API  80     forwarded  nothing listens on port 80 in the guest
    127.0.0.1:NEW  NEW  forwarded  open until the machine stops; nothing listens on port NEW in the guest
    ");
    world.must(&["run", "hello", "--open", &new, "--", "true"]);
    assert!(listens(new.parse().expect("a port")));
    world.must(&["down", "hello"]);
    world.must(&["up", "hello"]);
    assert!(!listens(new.parse().expect("a port")));
}

#[test]
fn a_port_that_programs_trust_is_asked_for() {
    let world = World::new();
    world.configure("[hello]\n");
    assert_snapshot!(world.run(&["ports", "hello", "add", "5432"]), @"
    exit code 2
    --- stderr
    error: port 5432 of this computer is usually for PostgreSQL, and programs that look for that would reach the guest
    hint: if that is what you want, add `--yes`; or take another port: `machine ports hello add 15432:5432`
    ");
    assert_snapshot!(world.run(&["ports", "hello", "add", "443"]), @"
    exit code 2
    --- stderr
    error: invalid value '443' for '<PORT>...': only root may listen on port 443 of this computer; did you mean `8443:443`?

    For more information, try '--help'.
    ");
    assert_snapshot!(world.run(&["ports", "hello", "remove", "3000"]), @"
    exit code 2
    --- stderr
    error: `hello` declares no port 3000; it declares none
    ");
    world.must(&["ports", "hello", "add", "5432", "--yes"]);
    assert_eq!(world.read(".config/machine/projects.toml"), "[hello]\nports = [5432]\n");
}
