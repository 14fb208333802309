//! Where files lie and who may read them; homes that are unusual; output that nobody reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::folders::is_root;
use crate::world::World;

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "077"] {
        let world = World::new();
        world.write(".config/machine/provision.toml", "base = false\n");
        let mut command = world.command("/bin/sh");
        command.args(["-c", "umask $0; exec machine up hello", umask]);
        let outcome = world.finish(&mut command);
        assert_eq!(outcome.code, 0, "{outcome}");
        let tree = world.tree();
        // Lima's own files are its business; they lie below a folder that only the user may enter.
        let of_lima =
            |path: &str| path.starts_with(".local/share/machine/lima/") && !path.ends_with("lima.yaml");
        let ours = tree.lines().filter_map(|line| line.split_once(' ')).filter(|(_, rest)| {
            let path = rest.split(' ').next().unwrap_or_default();
            !of_lima(path)
                && !path.contains("/mux")
                && !path.starts_with(".config/")
                && !path.contains("/bin/qemu")
        });
        let loose: Vec<_> = ours.filter(|(mode, _)| *mode != "600" && *mode != "700").collect();
        // The folders above ours are the system's own, made when they were missing.
        assert_eq!(loose, [], "umask {umask}");
    }
}

#[test]
fn a_home_with_a_space_works() {
    let world = World::with_home("my home", false);
    world.configure(BARE);
    world.must(&["up", "hello"]);
    assert_eq!(world.must(&["run", "hello", "--", "echo", "there"]).stdout, "there\n");
    assert_eq!(world.must(&["up", "hello"]).stderr, "hello is ready.   machine ssh hello\n");
    world.must(&["down", "hello"]);
    world.must(&["up", "hello"]);
    world.must(&["destroy", "hello", "--yes"]);
    assert!(!world.tree().contains("lima/hello"));
}

#[test]
fn without_a_home_nothing_is_guessed() {
    let world = World::new();
    let outcome = world.finish(world.machine(&["up", "hello"]).env("HOME", "relative"));
    assert_snapshot!(outcome, @"
    exit code 2
    --- stderr
    error: there is no home folder: HOME is not set, or not an absolute path
    hint: set HOME
    ");
    if is_root() {
        // Then the account's own folder counts, and nobody has one.
        let outcome = world.finish(world.machine(&["up", "hello"]).env_remove("HOME"));
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(
            outcome.stderr.contains("failed to make the folder `/nonexistent/.local/state/machine`"),
            "{outcome}"
        );
    }
    assert_eq!(world.effects(), "");
}

#[test]
fn a_read_only_home_is_named() {
    let world = World::new();
    fs::set_permissions(world.home(""), fs::Permissions::from_mode(0o500)).expect("mode");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    error: failed to make the folder `~/.local/state/machine`
    caused by: Permission denied (os error 13)
    ");
    fs::set_permissions(world.home(""), fs::Permissions::from_mode(0o700)).expect("mode");
    fs::set_permissions(world.home(".config/machine"), fs::Permissions::from_mode(0o500)).expect("mode");
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 1
    --- stderr
    error: failed to write `~/.config/machine/projects.toml`
    caused by: Permission denied (os error 13) at path "~/.config/machine/.tmp-X"
    "#);
    fs::set_permissions(world.home(".config/machine"), fs::Permissions::from_mode(0o700)).expect("mode");
    world.write(".config/machine/provision.toml", "base = false\n");
    world.must(&["up", "hello"]);
}

#[test]
fn folders_follow_the_xdg_variables() {
    let world = World::new();
    world.configure(BARE);
    let moved = |args: &[&str]| {
        let mut command = world.machine(args);
        command.env("XDG_DATA_HOME", world.home("d")).env("XDG_STATE_HOME", world.home("s"));
        world.finish(&mut command)
    };
    assert_eq!(moved(&["up", "hello"]).code, 0);
    assert!(world.home("d/machine/lima/hello").exists() && world.home("s/machine/machines/hello").exists());
    assert!(!world.home(".local").exists());
    let hosts = world.mask(&world.read(".ssh/config.d/machine"));
    let proxy = hosts.lines().find(|line| line.contains("ProxyCommand")).expect("a line");
    assert_eq!(proxy, "  ProxyCommand env XDG_DATA_HOME=~/d XDG_STATE_HOME=~/s <bin>/machine connect hello");
}

#[test]
fn a_folder_too_deep_for_a_socket_is_refused_before_anything_is_made() {
    let world = World::new();
    world.configure(BARE);
    let deep = world.home(&"deep/".repeat(12));
    let outcome = world.finish(world.machine(&["up", "hello"]).env("XDG_DATA_HOME", &deep));
    assert_eq!(outcome.code, 2, "{outcome}");
    assert!(!outcome.stderr.contains("bind"), "{outcome}");
    assert!(!deep.exists());
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    for args in [
        &["list"][..],
        &["list", "--json"],
        &["--help"],
        &["man"],
        &["completions", "zsh"],
        &["up", "--json"],
        &["doctor"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = world.machine(args).stdout(writer).stderr(Stdio::piped()).output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    }
    let mut command = world.command("/bin/sh");
    command.args(["-c", "exec machine list >&-"]);
    assert_eq!(world.finish(&mut command).code, 0);
}

#[test]
fn quiet_says_nothing_and_verbose_says_the_commands_without_the_key() {
    let world = World::new();
    world.configure(BARE);
    assert_snapshot!(world.run(&["up", "hello", "-q"]), @"exit code 0");
    assert_snapshot!(world.run(&["down", "hello", "-q"]), @"exit code 0");
    let outcome = world.must(&["up", "hello", "-v"]);
    assert!(outcome.stderr.contains("\n+ ssh -F ~/.local/share/machine/s/ID/config"), "{outcome}");
    assert!(!outcome.stderr.contains("PRIVATE KEY"), "{outcome}");
    assert_eq!(world.run(&["list", "-q", "-v"]).code, 2);
}

#[test]
fn what_a_failing_step_prints_cannot_steer_the_terminal() {
    let world = World::new();
    world.configure(BARE);
    world.bake("hello");
    world.knob("fail-step", "ssh_known_hosts");
    let outcome = world.run(&["up", "hello"]);
    assert!(
        !outcome.stderr.contains('\u{1b}') && outcome.stderr.contains("E: Unable to locate package\n"),
        "{outcome}"
    );
    let logs = fs::read_dir(world.home(".local/state/machine/machines/hello/logs")).expect("logs").count();
    assert_eq!(logs, 1);
}

#[test]
fn nothing_of_the_hosts_environment_reaches_a_child() {
    let world = World::new();
    world.configure(BARE);
    let mut command = world.machine(&["up", "hello"]);
    command
        .env("CANARY_TOKEN", "canary-7c1")
        .env("https_proxy", "http://user:canary-7c1@proxy")
        .env("LD_LIBRARY_PATH", "/x");
    assert_eq!(world.finish(&mut command).code, 0);
    let mut command = world.machine(&["run", "hello", "--", "env"]);
    assert!(!world.finish(command.env("CANARY_TOKEN", "canary-7c1")).stdout.contains("canary"));
    assert!(!world.log_taken().contains("canary"));
    assert!(!world.read(".local/share/machine/lima/hello/lima.yaml").contains("canary"));
}
