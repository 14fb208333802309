//! What a machine may reach of its host: the keys that open it, what they change in a machine that is there, and the
//! clone that needs one of them.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

/// The lines about closed and open addresses in the file that the guest was given.
fn rules(world: &World) -> String {
    let script = fs::read_to_string(world.path("play/guests/hello/script-floor")).expect("the step ran");
    let (_, rest) = script.split_once("base64 -d >'floor.nft' <<'MACHINE_FILE'\n").expect("a file in it");
    let text = STANDARD.decode(rest.lines().next().expect("base64")).expect("base64");
    let text = String::from_utf8(text).expect("text");
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("ip daddr"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_key_opens_its_part_of_a_machine_that_is_there() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.configure("[hello]\nhost_access = true\nallow = [\"10.2.0.0/16\", \"10.9.9.9:22\"]\n");
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT    DIFFERENCE                                      NEEDS
    access  closed → host_access, 10.2.0.0/16, 10.9.9.9:22  re-provision
    --- stderr
    apply: `machine up hello`
    ");
    world.effects();
    assert!(world.must(&["up", "hello"]).stderr.contains("  · floor: host, 2 doors open T s\n"));
    assert_eq!(world.effects().matches("guest step ").count(), 1);
    assert_snapshot!(rules(&world), @"
    ip daddr RESOLVER meta l4proto { tcp, udp } th dport 53 accept
    ip daddr 10.2.0.0/16 accept
    ip daddr 10.9.9.9 meta l4proto { tcp, udp } th dport 22 accept
    ip daddr 192.168.5.0/24 accept
    ip daddr { 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16, 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 240.0.0.0/4 } reject with icmpx admin-prohibited
    ");
    world.configure(BARE);
    assert!(world.must(&["up", "hello"]).stderr.contains("  · floor: host and LAN closed T s\n"));
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stderr
    `hello` is what its configuration says
    ");
}

#[test]
fn a_clone_behind_a_closed_door_names_the_key() {
    let world = World::new();
    world.configure("[hello]\nrepos = [\"https://10.9.9.9:8443/you/blog.git\"]\n");
    world.knob("fail-clone", "");
    let stderr = world.run(&["up", "hello"]).stderr;
    let told: Vec<&str> = stderr.lines().filter(|line| line.contains("10.9.9.9")).collect();
    assert_snapshot!(told.join("\n"), @r#"
    warning: cloning `https://10.9.9.9:8443/you/blog.git` failed: git@github.com: Permission denied (publickey).
    the network around this computer is closed to the machine, `10.9.9.9:8443` with it: put `allow = ["10.9.9.9:8443"]` below `[hello]` in your own projects.toml, then: `machine up hello`
    "#);
    world.configure(
        "[hello]\nrepos = [\"https://10.9.9.9:8443/you/blog.git\"]\nallow = [\"10.9.9.9:8443\"]\n",
    );
    assert!(!world.run(&["up", "hello"]).stderr.contains("allow"));
}
