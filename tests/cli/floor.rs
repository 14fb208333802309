//! What a machine may reach of its host: the keys that open it, what they change in a machine that is there, and the
//! clone that needs one of them.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

/// A file that the guest was given by a step.
fn file_of(world: &World, step: &str, name: &str) -> String {
    let script =
        fs::read_to_string(world.path(&format!("play/guests/hello/script-{step}"))).expect("the step ran");
    let (_, rest) =
        script.split_once(&format!("base64 -d >'{name}' <<'MACHINE_FILE'\n")).expect("a file in it");
    let bytes = STANDARD.decode(rest.lines().next().expect("base64")).expect("base64");
    String::from_utf8(bytes).expect("text")
}

/// The lines about closed and open addresses in the file that the guest was given.
fn rules(world: &World) -> String {
    let text = file_of(world, "floor", "floor.nft");
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("ip daddr"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Puts a proxy into config.toml, or takes it out again.
fn name_proxy(world: &World, proxy: Option<&str>) {
    let config = world.read(".config/machine/config.toml");
    let (before, _) = config.split_once("\n[network]").unwrap_or((&config, ""));
    let table = proxy.map_or_else(String::new, |proxy| format!("\n[network]\nproxy = \"{proxy}\"\n"));
    world.write(".config/machine/config.toml", format!("{before}{table}"));
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

#[test]
fn a_proxy_is_one_more_door_and_told_to_the_guest_until_it_is_taken_away() {
    let world = World::new();
    world.configure("[hello]\nallow = [\"10.9.9.9:443\"]\n");
    world.must(&["up", "hello"]);
    name_proxy(&world, Some("http://10.1.1.1:3128"));
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT    DIFFERENCE                                  NEEDS
    access  10.9.9.9:443 → 10.9.9.9:443, 10.1.1.1:3128  re-provision
    --- stderr
    apply: `machine up hello`
    ");
    let stderr = world.must(&["up", "hello"]).stderr;
    assert!(stderr.contains("  · floor: 2 doors open T s\n"), "{stderr}");
    assert!(rules(&world).contains("ip daddr 10.1.1.1 meta l4proto { tcp, udp } th dport 3128 accept"));
    assert_snapshot!(file_of(&world, "environment", "proxy.conf"), @r#"
    [Manager]
    DefaultEnvironment="HTTPS_PROXY=http://10.1.1.1:3128" "HTTP_PROXY=http://10.1.1.1:3128" "NO_PROXY=localhost,127.0.0.1,::1,10.9.9.9" "http_proxy=http://10.1.1.1:3128" "https_proxy=http://10.1.1.1:3128" "no_proxy=localhost,127.0.0.1,::1,10.9.9.9"
    "#);
    assert!(file_of(&world, "environment", "sshd.conf").contains("\"https_proxy=http://10.1.1.1:3128\""));
    name_proxy(&world, None);
    let stderr = world.must(&["up", "hello"]).stderr;
    assert!(stderr.contains("  · floor: 1 door open T s\n"), "{stderr}");
    assert_eq!(file_of(&world, "environment", "proxy.conf"), "");
    assert!(!file_of(&world, "environment", "env.sh").contains("proxy"));
}

#[test]
fn a_box_is_built_by_a_proxy_and_keeps_nothing_of_it() {
    let world = World::new();
    world.configure(BARE);
    name_proxy(&world, Some("http://10.1.1.1:3128"));
    let stderr = world.must(&["up", "hello"]).stderr;
    let steps: Vec<&str> =
        stderr.lines().filter(|line| line.contains("· environment") || line.contains("· floor")).collect();
    assert_snapshot!(steps.join("\n"), @"
    · environment: PATH, +6 T s
    · floor: 1 door open T s
    · environment: PATH T s
    · floor: host and LAN closed T s
    · environment: PATH, +6 T s
    · floor: 1 door open T s
    ");
}

#[test]
fn a_proxy_with_a_log_in_is_refused_and_not_shown() {
    let world = World::new();
    world.configure(BARE);
    name_proxy(&world, Some("http://me:hunter2@proxy.corp:3128"));
    let refused = world.run(&["up", "hello"]);
    assert!(!refused.to_string().contains("hunter2"));
    assert_snapshot!(refused, @r#"
    exit code 2
    --- stderr
    error: config.toml:11:9: network.proxy: a log-in has no place here: every program of every machine would have it
      11 | proxy = "http://***@proxy.corp:3128"
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: edit `~/.config/machine/config.toml`
    "#);
    assert_eq!(world.effects(), "");
}

#[test]
fn a_clone_that_a_proxy_may_have_stopped_says_so() {
    let world = World::new();
    world.configure("[hello]\nrepos = [\"https://10.9.9.9:8443/you/blog.git\"]\n");
    world.knob("fail-clone", "");
    name_proxy(&world, Some("http://10.1.1.1:3128"));
    let stderr = world.run(&["up", "hello"]).stderr;
    assert!(
        stderr.contains("see whether the proxy of config.toml, `http://10.1.1.1:3128`, lets it through"),
        "{stderr}"
    );
    assert!(!stderr.contains("allow"), "{stderr}");
}
