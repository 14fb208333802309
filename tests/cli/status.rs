//! `status`: one project and its machine, and its profiles' checks.

use insta::assert_snapshot;

use crate::world::World;

const CHECKED: &str = "base = false\ncheck = [\"true\", \"echo no luck >&2; exit 3\", \"exit 4\"]\n";

#[test]
fn a_project_is_told_before_and_after_it_has_a_machine() {
    let world = World::new();
    world.configure("[hello]\nports = [3000]\nrepos = [\"git@github.com:you/hello.git\"]\n");
    assert_snapshot!(world.run(&["status", "hello"]), @"
    exit code 0
    --- stdout
    project     hello, ~/.config/machine/projects.toml
    state       none
    size        2 cpus, 4 GiB of memory, 40 GiB of disk
    repository  git@github.com:you/hello.git in ~/code/hello
    ports       3000
    ");
    world.configure("[hello]\nmemory = \"2GiB\"\n");
    world.must(&["up", "hello"]);
    let told = world.must(&["status"]).to_string();
    let takes = told.lines().find(|line| line.starts_with("takes")).expect("what it takes");
    assert_eq!(takes.contains(" of memory, "), cfg!(target_os = "linux"), "{takes}");
    assert_snapshot!(told.replace(&format!("{takes}\n"), ""), @"
    exit code 0
    --- stdout
    project    hello, ~/.config/machine/projects.toml
    state      ready, for 1 min
    size       2 cpus, 2 GiB of memory, 40 GiB of disk
    made       debian-13, from a box, just now
    ssh        machine-hello, 127.0.0.1:PORT
    last used  just now
    config     the machine is what it says
    ");
    world.configure("[hello]\nmemory = \"3GiB\"\n");
    world.must(&["down", "hello"]);
    let told = world.must(&["status", "hello"]).stdout;
    assert!(told.contains("\nstate      stopped\n"), "{told}");
    assert!(told.contains("\nconfig     one difference: `machine diff hello`\n"), "{told}");
}

#[test]
fn a_machine_whose_project_is_gone_is_told_and_an_unknown_name_is_an_error() {
    let world = World::new();
    world.configure("[hello]\n");
    world.must(&["up", "hello"]);
    world.configure("[other]\n");
    let told = world.must(&["status", "hello"]).stdout;
    let gone = "its project is gone from the configuration; delete it: `machine destroy hello`";
    assert!(told.contains(gone), "{told}");
    assert_snapshot!(world.run(&["status", "nobody"]), @r#"
    exit code 2
    --- stderr
    error: there is no project `nobody` in `~/.config/machine/projects.toml`
    hint: add it: a line `[nobody]` in that file, with `repos = ["…"]` below it if it has any
    "#);
}

#[test]
fn checks_are_run_again_as_the_user() {
    let world = World::new();
    world.configure("[hello]\n");
    world.write(".config/machine/provision.toml", CHECKED);
    world.must(&["up", "hello"]);
    world.effects();
    let outcome = world.run(&["status", "hello", "--check"]);
    assert_eq!(outcome.code, 1);
    let checks: Vec<&str> = outcome.stdout.lines().filter(|line| line.starts_with("check")).collect();
    assert_snapshot!(checks.join("\n"), @"
    check      ✓ provision.toml: true
    check      ✗ provision.toml: echo no luck >&2; exit 3: no luck
    check      ✗ provision.toml: exit 4: exit code 4
    ");
    assert_snapshot!(world.effects(), @r#"
    limactl list
    git who commits
    ssh session: "plain" "" "bash" "-c" "true"
    ssh session: "plain" "" "bash" "-c" "echo no luck >&2; exit 3"
    ssh session: "plain" "" "bash" "-c" "exit 4"
    "#);
    // A port is masked by a word.
    let told = world.run(&["status", "hello", "--check", "--json"]).stdout.replace("PORT", "1");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["open_sessions"], serde_json::json!([]));
    assert_eq!(told["from_box"], serde_json::json!(true));
    assert_snapshot!(format!("{:#}", told["checks"]), @r#"
    [
      {
        "profile": "provision.toml",
        "check": "true",
        "failed": null
      },
      {
        "profile": "provision.toml",
        "check": "echo no luck >&2; exit 3",
        "failed": "no luck"
      },
      {
        "profile": "provision.toml",
        "check": "exit 4",
        "failed": "exit code 4"
      }
    ]
    "#);
    world.must(&["down", "hello"]);
    let outcome = world.run(&["status", "hello", "--check"]);
    assert_eq!(outcome.code, 1);
    assert_snapshot!(outcome.stderr, @"`hello` does not run, so nothing was checked");
    // Without it, a failed check is no business of `status`.
    world.must(&["status", "hello"]);
}
