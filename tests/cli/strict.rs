//! `isolation = "strict"`: root's work goes over a key of its own, and never by the login user's `sudo`. Whether that user
//! then is no root is the guest suite's.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

const STRICT: &str = "[hello]\nisolation = \"strict\"\n";
const ROOT_KEY: &str = ".local/state/machine/machines/hello/root_key";

fn strict() -> World {
    let world = World::new();
    world.configure(STRICT);
    world
}

#[test]
fn root_has_a_key_that_only_this_computer_has() {
    let world = strict();
    world.write("secret", "a secret");
    fs::set_permissions(world.home("secret"), fs::Permissions::from_mode(0o600)).expect("mode");
    world.configure(&format!("{STRICT}secrets = {{ A = {{ file = \"~/secret\" }} }}\n"));
    world.must(&["box", "bake", "hello"]);
    let baked = world.log_taken();
    assert!(baked.contains("\nguest root by root_key\nguest seal\n"), "{baked}");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 0
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    ✓ box       bare, strict  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
      · git: no identity configured T s
      · isolation: 1 check T s
    ✓ provision 2 of 7 steps run T s
    ✓ secrets   1 in /run/secrets T s
    ✓ ssh       Host machine-hello T s
    Ready in T s.   machine ssh hello   ·   ssh machine-hello
    ");
    let log = world.log_taken();
    let lines: Vec<&str> = log.lines().collect();
    for root in ["guest step ", "guest secrets filled"] {
        let at = lines.iter().position(|line| line.starts_with(root)).expect("done");
        assert_eq!(lines[at - 1], "guest root by root_key", "{log}");
    }
    assert!(!log.contains("sudo") && !baked.contains("sudo"), "{log}");
    // What is given to Lima, and so to the guest, has the public half.
    let yaml = world.read(".local/share/machine/lima/hello/lima.yaml");
    let public = world.read(&format!("{ROOT_KEY}.pub"));
    let public = public.rsplit_once(' ').expect("a comment").0;
    assert!(yaml.contains("  passwordlessSudo: false\n") && yaml.contains(&format!("ROOT='{public}'\n")));
    let private = world.read(ROOT_KEY);
    assert!(!yaml.contains(private.lines().rev().nth(1).expect("a key")));
    assert_eq!(fs::metadata(world.home(ROOT_KEY)).expect("there").permissions().mode() & 0o777, 0o600);
    // Sessions are the login user's, by Lima's key.
    world.must(&["run", "hello", "--", "true"]);
    assert!(!world.log_taken().contains("root"));
    assert!(world.must(&["list", "--json"]).stdout.contains("\"isolation\": \"strict\""));
    // A record that is lost is found in the machine itself.
    fs::remove_file(world.home(".local/state/machine/machines/hello/machine.json")).expect("removed");
    world.must(&["up", "hello"]);
    assert!(!world.log_taken().contains("sudo"));
    world.must(&["destroy", "hello", "--discard"]);
    assert!(!world.home(ROOT_KEY).exists());
}

#[test]
fn another_isolation_takes_a_fresh_machine() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.configure(STRICT);
    assert_snapshot!(world.run(&["diff", "hello"]), @"
    exit code 0
    --- stdout
    WHAT       DIFFERENCE         NEEDS
    isolation  standard → strict  rebuild
    --- stderr
    `up` refuses this; apply all: `machine rebuild hello`
    ");
    world.effects();
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 1
    --- stderr
    error: `hello` was made with `isolation = "standard"`, and is to have "strict", which only a fresh machine has
    hint: make it anew: `machine rebuild hello`
    "#);
    assert_eq!(world.effects(), "git who commits\nlimactl list\n");
    assert_eq!(world.run(&["up", "hello", "--dry-run"]).code, 1);
    // It goes on as what it is.
    world.must(&["run", "hello", "--", "true"]);
    assert!(world.must(&["rebuild", "hello", "--dry-run"]).stdout.contains("root_key"));
    world.must(&["rebuild", "hello", "--discard", "--discard-unseen"]);
    assert!(world.home(ROOT_KEY).exists());
    world.configure(BARE);
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 1
    --- stderr
    error: `hello` was made with `isolation = "strict"`, and is to have "standard", which only a fresh machine has
    hint: make it anew: `machine rebuild hello`
    "#);
}

#[test]
fn it_does_not_sleep() {
    let world = strict();
    world.must(&["up", "hello"]);
    world.effects();
    assert_snapshot!(world.run(&["sleep", "hello"]), @r#"
    exit code 1
    --- stderr
    error: `hello` does not sleep: it has `isolation = "strict"`, and what is in its memory goes to no disk
    hint: `machine down hello` gives the memory back as well; the next start is a cold one
    "#);
    assert_eq!(world.run(&["sleep", "hello", "--dry-run"]).code, 1);
    assert_snapshot!(world.run(&["sleep", "--all"]), @"
    exit code 0
    --- stderr
    `hello` stays as it is: strict machines do not sleep
    ");
    assert_eq!(world.effects(), "");
}

#[test]
fn an_exported_file_says_that_it_is_not() {
    let world = strict();
    world.write(".config/machine/config.toml", "");
    let outcome = world.must(&["export", "hello"]);
    assert_snapshot!(outcome.stderr, @r#"`isolation = "strict"` takes a way in for root that only `machine` has: in the file, the login user has sudo"#);
    assert!(!outcome.stdout.contains("isolation"));
}
