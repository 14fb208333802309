//! Grants of config.toml as the filter follows them, between OpenSSH's own programs: given, taken back, asked about.
//!
//! Each refusal stands beside a success by the same means, so that a broken fixture cannot pass.

use std::path::Path;

use crate::agent_filter::{Stage, fingerprint};
use crate::folders::{give_away, put};

#[test]
fn a_grant_counts_at_once_and_so_does_its_end() {
    let Some(stage) = Stage::new() else { return };
    let change = |words: &[&str]| {
        let outcome = stage.world.finish(stage.with_agent("machine").args(["keys"]).args(words));
        assert_eq!(outcome.code, 0, "{outcome}");
    };
    let evil = format!("{}@localhost", stage.user);
    let known = format!("127.0.0.1 {}\nlocalhost {}\n", stage.public("git"), stage.public("evil"));
    stage.world.write(".ssh/known_hosts", known);
    // One session stays open all the while.
    let control = format!("ControlPath={}", stage.path("agent/mux").display());
    let over = ["-o", control.as_str()];
    assert_eq!(
        stage.ssh(&["-o", &control, "-o", "ControlMaster=yes", "-o", "ControlPersist=60"], "true").code,
        0
    );
    assert_eq!(stage.ssh(&over, &stage.login(2, "")).stdout, "");
    change(&["grant", "hello", "--host", &evil]);
    assert_eq!(stage.ssh(&over, &stage.login(2, "")).stdout, "inside\n");
    change(&["revoke", "hello", "--host", &evil]);
    assert_eq!(stage.ssh(&over, &stage.login(2, "")).stdout, "");
    let fingerprint = fingerprint(&stage, "other");
    change(&["grant", "hello", "--key", &fingerprint]);
    // The key that signs is shown still.
    assert_eq!(stage.ssh(&over, "ssh-add -l").stdout.lines().count(), 2);
    let logged_in = stage.ssh(&over, &stage.login(1, ""));
    assert_eq!(logged_in.stdout, "inside\n", "{logged_in}");
    change(&["revoke", "hello", "--key", &fingerprint]);
    let none = stage.ssh(&over, &stage.login(1, ""));
    assert_eq!(none.stdout, "", "{none}");
    change(&["revoke", "hello"]);
    assert_eq!(stage.ssh(&over, &stage.login(1, "")).stdout, "inside\n");
    let mut end = stage.world.command("/usr/bin/ssh");
    stage.world.finish(end.args(["-F", "none", "-o", &control, "-O", "exit", "machine-hello"]));
}

#[test]
fn the_owner_is_asked() {
    let Some(stage) = Stage::new() else { return };
    let outcome =
        stage.world.finish(stage.with_agent("machine").args(["keys", "grant", "hello", "--ask", "always"]));
    assert_eq!(outcome.code, 0, "{outcome}");
    let ask = |answer: &str, line: &str| {
        let program = stage.path(answer);
        let script = format!(
            "#!/bin/sh\necho \"$SSH_ASKPASS_PROMPT $1\" >>{0}.asked\nexit {answer}\n",
            program.display()
        );
        put(&program, script.as_bytes());
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("mode");
        put(&program.with_extension("asked"), b"");
        give_away(&program.with_extension("asked"));
        let running = stage.world.start(stage.ssh_command(&[], line).env("SSH_ASKPASS", &program));
        if answer == "1" {
            running.wait_for("its owner said no");
        }
        let outcome = running.wait();
        let asked = std::fs::read_to_string(program.with_extension("asked")).expect("text");
        (outcome, asked)
    };
    let (allowed, asked) = ask("0", &stage.sign("work", "git"));
    assert!(allowed.stdout.starts_with("-----BEGIN SSH SIGNATURE-----"), "{allowed}");
    let key = fingerprint(&stage, "work");
    assert_eq!(asked, format!("confirm May the machine `hello` sign a commit or tag with the key {key}?\n"));
    let (refused, _) = ask("1", &stage.sign("work", "git"));
    assert!(refused.stdout.is_empty(), "{refused}");
    assert!(stage.refused(&stage.sign("work", "git"), "set SSH_ASKPASS").stdout.is_empty());
    // What is refused anyway is not asked about.
    assert_eq!(ask("0", &stage.sign("work", "file")).1, "");
}

#[test]
fn a_stale_or_empty_agent_is_named() {
    let Some(stage) = Stage::new() else { return };
    let keys = |socket: &Path| {
        let mut command = stage.world.machine(&["keys", "hello"]);
        stage.world.finish(command.env("SSH_AUTH_SOCK", socket))
    };
    let good = keys(&stage.path("agent/socket"));
    assert_eq!(good.code, 0, "{good}");
    assert!(good.stdout.contains("2 keys at") && good.stdout.contains("logs in and signs commits"), "{good}");
    assert!(good.stdout.contains("· session   none is open"), "{good}");
    let nobody = keys(&stage.path("nowhere"));
    assert!(nobody.code == 1 && nobody.stdout.contains("✗ agent     nobody answers at"), "{nobody}");
    assert_eq!(stage.world.finish(stage.with_agent("/usr/bin/ssh-add").arg("-qD")).code, 0);
    let empty = keys(&stage.path("agent/socket"));
    assert!(empty.code == 1 && empty.stdout.contains("has no key, or is locked"), "{empty}");
    assert!(empty.stdout.contains("signs commits, and is not in the agent"), "{empty}");
}
