//! A sample of each class of bad configuration, end to end: exit code 2, nothing created, all problems at once.
//! The texts of the messages are the business of the unit tests beside src/config.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::world::World;

/// Runs `up` on a bad projects.toml and makes sure that nothing came of it.
fn refuse(text: &str) -> String {
    let world = World::new();
    world.configure(text);
    let before = world.tree();
    let outcome = world.run(&["up", "blog"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{text}\n{outcome}");
    assert!(outcome.stderr.starts_with("error: projects.toml:"), "{text}\n{outcome}");
    assert!(outcome.stderr.ends_with("hint: edit `~/.config/machine/projects.toml`\n"), "{text}\n{outcome}");
    assert_eq!(world.tree(), before, "{text}");
    assert_eq!(world.effects(), "", "{text}");
    outcome.stderr
}

#[test]
fn each_key_has_values_it_refuses() {
    let lines = [
        "repos = \"git@github.com:you/blog.git\"",
        "repos = [\"ext::sh\"]",
        "repos = [\"git@github.com:a/x\", \"git@github.com:b/x\"]",
        "repos = [{ url = \"git@github.com:a/x\", dir = \"../x\" }]",
        "profiles = [\"nope\"]",
        "profiles = [\"../base\"]",
        "cpus = 0",
        "cpus = -1",
        "cpus = 4096",
        "cpus = 1.5",
        "memory = \"16 GB\"",
        "memory = \"0GiB\"",
        "memory = 4",
        "memory = \"99999999TiB\"",
        "disk = \"1GiB\"",
        "disk = \"-4GiB\"",
        "shell = \"tcsh\"",
        "shell = [\"zsh\"]",
        "env = { \"A B\" = \"1\" }",
        "env = { PATH = 1 }",
        "env = { A = \"x\\ny\" }",
        "setup = true",
        "setup = \"npm ci\"",
        "forward_agent = \"yes\"",
        "allow = [\"127.0.0.1:5432\"]",
        "allow = [\"localhost\"]",
        "allow = [\"192.168.5.0/24:80\"]",
        "image = \"debian-99\"",
        "image = { amd64 = { location = \"/x\", digest = \"md5:0\" } }",
        "memroy = \"4GiB\"",
        "apt = [\"git\"]",
        "ports = [0]",
        "secrets = { A = \"b\" }",
        "cpus = 2\ncpus = 3",
        "cpus =",
    ];
    for line in lines {
        refuse(&format!("[blog]\n{line}\n"));
    }
}

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    assert_snapshot!(refuse("[blog]\nmemory = \"16 GB\"\ncpus = 0\nmemroy = \"1GiB\"\n[Shop]\n"), @r#"
    error: projects.toml:2:10: memory: expected a size such as `4GiB`, got `16 GB`; did you mean `16GiB`?
      2 | memory = "16 GB"
        |          ^^^^^^^
    error: projects.toml:3:8: cpus: expected at least 1, got `0`
      3 | cpus = 0
        |        ^
    error: projects.toml:4:1: unknown key `memroy`; did you mean `memory`?
      4 | memroy = "1GiB"
        | ^^^^^^
    error: projects.toml:5:2: expected a project name of lower-case letters, digits and `-`, got `Shop`: it has capital letters; did you mean `shop`?
      5 | [Shop]
        |  ^^^^
    hint: edit `~/.config/machine/projects.toml`
    "#);
}

#[test]
fn files_that_cannot_be_read_as_text() {
    for bytes in [&b"\xff\xfe[\0b\0"[..], b"[blog]\nenv = { A = \"\xff\" }\n", b"[blog\n", b"[blog]\0\n"] {
        let world = World::new();
        world.write(".config/machine/projects.toml", bytes);
        let outcome = world.run(&["up", "blog"]);
        assert_eq!(outcome.code, 2, "{bytes:?}\n{outcome}");
        assert_eq!(world.effects(), "");
    }
}

#[test]
fn a_file_that_may_not_be_read() {
    let world = World::new();
    let file = world.write(".config/machine/projects.toml", "[blog]\n");
    fs::set_permissions(file, fs::Permissions::from_mode(0o000)).expect("mode");
    assert_snapshot!(world.run(&["up", "blog"]), @"
    exit code 2
    --- stderr
    error: cannot read `~/.config/machine/projects.toml`
    caused by: Permission denied (os error 13)
    ");
}

#[test]
fn a_repositorys_file_that_others_may_write() {
    let world = World::new();
    world.make_folder(&world.home("blog/.git"));
    let file = world.write("blog/projects.toml", "[blog]\n");
    fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("mode");
    let outcome = world.finish(world.machine(&["up", "blog"]).current_dir(world.home("blog")));
    assert_snapshot!(outcome, @"
    exit code 2
    --- stderr
    error: `~/blog/projects.toml` can be changed by other users
    hint: take that away: `chmod go-w ~/blog/projects.toml`
    ");
}

#[test]
fn a_folder_in_the_place_of_a_file() {
    let world = World::new();
    world.make_folder(&world.home(".config/machine/projects.toml"));
    let outcome = world.run(&["list"]);
    assert_eq!(outcome.code, 2, "{outcome}");
}

#[test]
fn the_other_files_are_judged_too() {
    let cases = [
        ("config.toml", "acelerator = \"kvm\"\n"),
        ("config.toml", "accelerator = \"fast\"\n"),
        ("config.toml", "ca_certs = [\"/no/such.crt\"]\n"),
        ("config.toml", "[images.debian-13.amd64]\nlocation = \"http://x/y\"\n"),
        ("provision.toml", "apt = \"git\"\n"),
        ("provision.toml", "script = \"missing.sh\"\n"),
        ("provision.toml", "aptt = []\n"),
    ];
    for (file, text) in cases {
        let world = World::new();
        world.configure("[blog]\n");
        world.write(&format!(".config/machine/{file}"), text);
        let before = world.tree();
        let outcome = world.run(&["up", "blog"]);
        assert_eq!(outcome.code, 2, "{text}\n{outcome}");
        assert!(outcome.stderr.contains(&format!("~/.config/machine/{file}")), "{text}\n{outcome}");
        assert_eq!(world.tree(), before, "{text}");
        let effects = world.effects();
        assert!(!effects.contains("limactl"), "{effects}");
    }
}

#[test]
fn a_disk_does_not_shrink() {
    let world = World::new();
    world.configure("[blog]\ndisk = \"40GiB\"\n");
    world.must(&["up", "blog"]);
    world.effects();
    world.configure("[blog]\ndisk = \"20GiB\"\n");
    assert_snapshot!(world.run(&["up", "blog"]), @r#"
    exit code 2
    --- stderr
    error: ~/.config/machine/projects.toml: disk: `20GiB` would shrink the disk of `blog`, which is 40GiB
    hint: a disk only grows: set `disk = "40GiB"` or more
    hint: or make it anew with the smaller one: `machine rebuild blog`
    "#);
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl list
    ");
    assert_snapshot!(world.run(&["diff", "blog"]), @"
    exit code 0
    --- stdout
    WHAT  DIFFERENCE       NEEDS
    disk  40 GiB → 20 GiB  rebuild
    --- stderr
    `up` refuses this; apply all: `machine rebuild blog`
    ");
    world.configure("[blog]\ndisk = \"60GiB\"\n");
    world.must(&["up", "blog"]);
}

#[test]
fn a_project_of_another_file_is_not_taken_over() {
    let world = World::new();
    world.configure("[blog]\n");
    world.must(&["up", "blog"]);
    world.write("other/projects.toml", "[blog]\ncpus = 1\n");
    world.write("other/provision.toml", "base = false\n");
    assert_snapshot!(world.run(&["up", "blog", "--config", "other"]), @"
    exit code 2
    --- stderr
    error: the machine `blog` belongs to `~/.config/machine/projects.toml`, not to `~/other/projects.toml`
    hint: give this project another name in `~/other/projects.toml`
    hint: or let the machine follow that file from now on: `machine up blog` asks
    ");
}
