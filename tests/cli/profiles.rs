//! `profiles`: what is listed, what is written, and what is refused.

use std::fs;

use insta::assert_snapshot;

use crate::world::World;

const OWN: &str = ".config/machine/profiles";

#[test]
fn profiles_are_listed_without_any_configuration() {
    let world = World::new();
    assert_snapshot!(world.run(&["profiles"]), @"
    exit code 0
    --- stdout
    PROFILE       FROM     DESCRIPTION
    base          bundled  What every machine has: shells, git, build tools, Docker, Node LTS, uv, gh, the agents
    cypress       bundled  For Cypress: Chromium, Xvfb and the libraries it needs; not on Ubuntu, whose Chromium is a snap
    supabase-fly  bundled  The CLIs of Supabase and Fly.io
    python        bundled  Modern Python: uv, ruff, pyright
    rust          bundled  Rust: rustup with stable, system-wide, on PATH for everyone
    go            bundled  Go 1.27.3 in /usr/local/go
    ");
    assert_eq!((world.effects(), world.home(OWN).exists()), (String::new(), false));
}

#[test]
fn own_profiles_are_listed_with_what_is_wrong_with_them() {
    let world = World::new();
    // A broken projects.toml is no reason not to see the profiles.
    world.configure("[bad\n");
    world.write(&format!("{OWN}/tools/profile.toml"), "description = \"My tools\"\nrequires = [\"go\"]\n");
    world.write(&format!("{OWN}/broken/profile.toml"), "descripton = \"x\"\n");
    world.write(&format!("{OWN}/README"), "");
    let outcome = world.run(&["profiles"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let own = |line: &&str| line.contains(OWN);
    assert_snapshot!(outcome.stdout.lines().filter(own).collect::<Vec<_>>().join("\n"), @"
    broken        ~/.config/machine/profiles  cannot be used
    tools         ~/.config/machine/profiles  My tools
    ");
    assert_snapshot!(outcome.stderr, @"broken: profiles/broken/profile.toml:1:1: unknown key `descripton`; did you mean `description`?");
    let listed: serde_json::Value =
        serde_json::from_str(&world.must(&["profiles", "--json"]).stdout).expect("JSON");
    let listed = listed.as_array().expect("a list");
    assert_eq!((listed.len(), listed[0]["profile"].as_str()), (8, Some("base")));
    assert_snapshot!(format!("{:#}", listed[5]), @r#"
    {
      "profile": "go",
      "bundled": true,
      "folder": null,
      "description": "Go 1.27.3 in /usr/local/go",
      "requires": [],
      "problem": null
    }
    "#);
    assert_snapshot!(format!("{:#}", listed[6]), @r#"
    {
      "profile": "broken",
      "bundled": false,
      "folder": "~/.config/machine/profiles/broken",
      "description": null,
      "requires": null,
      "problem": "profiles/broken/profile.toml:1:1: unknown key `descripton`; did you mean `description`?"
    }
    "#);
}

#[test]
fn a_repositorys_profiles_are_listed_there() {
    let world = World::new();
    let done = world.command("/usr/bin/git").args(["init", "-q", "x"]).status().expect("git");
    assert!(done.success());
    world.write("x/.machine/projects.toml", "");
    world.write("x/.machine/profiles/team/profile.toml", "description = \"The team's\"\n");
    let outcome = world.finish(world.machine(&["profiles"]).current_dir(world.home("x")));
    assert!(outcome.stdout.contains("~/x/.machine/profiles  The team's"), "{outcome}");
    assert!(!world.run(&["profiles"]).stdout.contains("team"));
    // What the team has can be copied to one's own.
    let copy = ["profiles", "new", "mine", "--from", "team", "-q"];
    assert_eq!(world.finish(world.machine(&copy).current_dir(world.home("x"))).code, 0);
    assert_eq!(world.read(&format!("{OWN}/mine/profile.toml")), "description = \"The team's\"\n");
}

#[test]
fn a_new_profile_is_a_starter_that_works() {
    let world = World::new();
    assert_snapshot!(world.run(&["profiles", "new", "mine"]), @r#"
    exit code 0
    --- stderr
    wrote `~/.config/machine/profiles/mine/profile.toml`
    its projects name it in `~/.config/machine/projects.toml`: `profiles = ["mine"]`
    "#);
    assert!(world.read(&format!("{OWN}/mine/profile.toml")).starts_with("# The profile mine:"));
    world.configure("[hello]\nprofiles = [\"mine\"]\n");
    assert!(world.must(&["profiles"]).stdout.contains("What is in it"));
    let before = world.tree();
    assert_snapshot!(world.run(&["profiles", "new", "mine"]), @"
    exit code 2
    --- stderr
    error: `~/.config/machine/profiles/mine` is there already
    hint: edit `~/.config/machine/profiles/mine/profile.toml`, or choose another name
    ");
    assert_eq!(world.tree(), before);
    world.must(&["up", "hello"]);
}

#[test]
fn a_copy_has_scripts_that_can_be_run_whatever_the_umask_is() {
    let world = World::new();
    world.configure("[hello]\n");
    for umask in ["000", "077"] {
        let machine = world.path("bin/machine");
        let line = format!("umask {umask}; exec {} profiles new go-{umask} --from go", machine.display());
        let outcome = world.finish(world.command("/bin/sh").args(["-c", &line]));
        assert_eq!(outcome.code, 0, "{outcome}");
    }
    let of_copies = |line: &&str| line.contains("/go-");
    let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let tree = world.tree();
    assert_snapshot!(tree.lines().filter(of_copies).map(words).collect::<Vec<_>>().join("\n"), @"
    644 .config/machine/profiles/go-000/pins.txt
    644 .config/machine/profiles/go-000/profile.toml
    644 .config/machine/profiles/go-077/pins.txt
    644 .config/machine/profiles/go-077/profile.toml
    755 .config/machine/profiles/go-000/
    755 .config/machine/profiles/go-000/install.sh
    755 .config/machine/profiles/go-000/setup.sh
    755 .config/machine/profiles/go-077/
    755 .config/machine/profiles/go-077/install.sh
    755 .config/machine/profiles/go-077/setup.sh
    ");
    let outcome = world.must(&["profiles"]);
    assert_eq!((outcome.stdout.matches("Go 1.").count(), outcome.stderr.as_str()), (3, ""), "{outcome}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let world = World::new();
    world.configure("");
    let before = world.tree();
    let outcome = world.must(&["profiles", "new", "mine", "--from", "rust", "--dry-run"]);
    assert!(
        outcome.stdout.contains("# would write `~/.config/machine/profiles/mine/install.sh`:\n#!/usr"),
        "{outcome}"
    );
    assert_eq!((outcome.stderr.as_str(), world.tree()), ("", before));
}

#[test]
fn the_answer_can_be_json() {
    let world = World::new();
    assert_snapshot!(world.run(&["profiles", "new", "mine", "--from", "python", "--json"]), @r#"
    exit code 0
    --- stdout
    {
      "profile": "mine",
      "folder": "~/.config/machine/profiles/mine",
      "files": [
        "profile.toml"
      ]
    }
    "#);
}

#[test]
fn what_cannot_be_a_new_profile_is_refused() {
    let world = World::new();
    world.configure("");
    let before = world.tree();
    let refused = |args: &[&str]| world.run(&[&["profiles", "new"], args].concat());
    assert_snapshot!(refused(&["go"]), @"
    exit code 2
    --- stderr
    error: `go` is the name of a bundled profile
    hint: copy it under another name: `machine profiles new my-go --from go`
    ");
    assert_snapshot!(refused(&["../x"]), @"
    exit code 2
    --- stderr
    error: NAME: expected a profile name of lower-case letters, digits and `-`, got `../x`: it is a path
    hint: choose another name: `machine profiles new NAME`
    ");
    assert_snapshot!(refused(&["My_Tools"]), @"
    exit code 2
    --- stderr
    error: NAME: expected a profile name of lower-case letters, digits and `-`, got `My_Tools`: it has capital letters; did you mean `my-tools`?
    hint: choose another name: `machine profiles new NAME`
    ");
    assert_snapshot!(refused(&["mine", "--from", "gp"]), @"
    exit code 2
    --- stderr
    error: unknown profile `gp`; did you mean `go`?
    hint: profiles are base, cypress, supabase-fly, python, rust, go; one of your own is a folder in `~/.config/machine/profiles`
    ");
    assert_snapshot!(refused(&["mine", "--from", "/etc"]), @"
    exit code 2
    --- stderr
    error: --from: expected a profile name of lower-case letters, digits and `-`, got `/etc`: it is a path
    hint: see which there are: `machine profiles`
    ");
    assert_eq!(refused(&[]).code, 2);
    assert_eq!(world.tree(), before);
    world.write(OWN, "a file where the folder should be");
    assert_snapshot!(refused(&["mine"]), @"
    exit code 2
    --- stderr
    error: `~/.config/machine/profiles` is no folder
    hint: move it away, then the same command again
    ");
}

#[test]
fn names_of_profiles_are_completed() {
    let world = World::new();
    world.write(&format!("{OWN}/golang-tools/profile.toml"), "");
    let mut command = world.machine(&["--", "machine", "profiles", "new", "x", "--from", "go"]);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "5").env("_CLAP_IFS", "\n");
    assert_snapshot!(world.finish(&mut command), @"
    exit code 0
    --- stdout
    go
    golang-tools
    ");
    fs::remove_dir_all(world.home(".config")).expect("removed");
    let mut command = world.machine(&["--", "machine", "profiles", "new", "x", "--from", "cy"]);
    command.env("COMPLETE", "fish");
    assert!(world.finish(&mut command).stdout.contains("cypress"));
}
