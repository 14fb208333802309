//! `machine keys`: what is granted, in words and in config.toml, and what is refused before anything is written.

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::{Running, World, wait_until};

const KEY: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
const CONFIG: &str = ".config/machine/config.toml";

fn configured() -> World {
    let world = World::new();
    world.configure(BARE);
    world
}

#[test]
fn grants_are_written_for_one_project_or_all() {
    let world = configured();
    let before = world.read(CONFIG);
    assert_snapshot!(world.run(&["keys", "grant", "hello", "--host", "github.com", "--key", KEY, "--ask", "first"]), @"
    exit code 0
    --- stderr
    hello: SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU may log in to the hosts of its repositories and git@github.com; asks: first
    ");
    assert_snapshot!(world.read(CONFIG).replace(&before, ""), @r#"
    [keys.for.hello]
    only = ["SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"]
    hosts = ["git@github.com"]
    ask = "first"
    "#);
    assert_snapshot!(world.run(&["keys", "hello", "grant", "--host", "me@gitlab.com", "--sign", KEY]), @"
    exit code 0
    --- stderr
    hello: SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU may log in to the hosts of its repositories and git@github.com, me@gitlab.com; SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU may sign commits too; asks: first
    ");
    assert_snapshot!(world.run(&["keys", "revoke", "hello", "--key", KEY]), @"
    exit code 0
    --- stderr
    hello: no key may log in to the hosts of its repositories and git@github.com, me@gitlab.com; SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU may sign commits too; asks: first
    ");
    assert_snapshot!(world.run(&["keys", "grant", "--all", "--host", "codeberg.org"]), @"
    exit code 0
    --- stderr
    every project: every key of the agent may log in to the hosts of its repositories and git@codeberg.org
    ");
    assert_snapshot!(world.read(CONFIG).replace(&before, ""), @r#"
    [keys]
    hosts = ["git@codeberg.org"]

    [keys.for.hello]
    only = []
    hosts = ["git@github.com", "me@gitlab.com"]
    ask = "first"
    sign = ["SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"]
    "#);
    assert_eq!(world.run(&["keys", "revoke", "hello"]).code, 0);
    assert_snapshot!(world.read(CONFIG).replace(&before, ""), @r#"
    [keys]
    hosts = ["git@codeberg.org"]
    "#);
}

#[test]
fn what_is_taken_from_every_project_is_not_taken_from_one_that_has_its_own() {
    let world = configured();
    let before = world.read(CONFIG);
    world.must(&["keys", "grant", "hello", "--key", KEY, "--ask", "always"]);
    world.must(&["keys", "grant", "--all", "--ask", "first"]);
    world.must(&["keys", "revoke", "--all"]);
    assert_snapshot!(world.read(CONFIG).replace(&before, ""), @r#"
    [keys.for.hello]
    only = ["SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"]
    ask = "always"
    "#);
}

#[test]
fn grants_at_one_time_are_all_kept() {
    let world = configured();
    let hosts =
        ["github.com", "gitlab.com", "codeberg.org", "me@github.com", "you@github.com", "us@gitlab.com"];
    let all: Vec<_> = hosts
        .map(|host| world.start(&mut world.machine(&["keys", "grant", "--all", "--host", host])))
        .into_iter()
        .map(Running::wait)
        .collect();
    for outcome in &all {
        assert_eq!(outcome.code, 0, "{outcome}");
    }
    let text = world.read(CONFIG);
    for host in hosts {
        assert!(text.contains(host), "{host}: {text}");
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let world = configured();
    let before = world.read(CONFIG);
    let outcome = world.run(&["keys", "grant", "hello", "--host", "github.com", "--dry-run"]);
    assert!(outcome.stdout.contains("hosts = [\"git@github.com\"]"), "{outcome}");
    assert_eq!(world.read(CONFIG), before);
}

#[test]
fn what_cannot_be_granted_is_said() {
    let world = configured();
    let before = world.read(CONFIG);
    let refused = |words: &[&str]| world.run(&[&["keys", "grant", "hello"], words].concat());
    assert_snapshot!(refused(&["--host", "git.example.com"]), @"
    exit code 1
    --- stderr
    error: the host key of `git.example.com` is not known here, so the machine cannot know it
    hint: connect once and compare its fingerprint: `ssh git.example.com`
    ");
    assert_snapshot!(refused(&["--host=-oProxyCommand=x"]), @"
    exit code 2
    --- stderr
    error: --host: expected a host such as `git.example.com` or `user@git.example.com:2222`, got `-oProxyCommand=x`
    ");
    assert_snapshot!(refused(&["--key", "me@laptop"]), @"
    exit code 2
    --- stderr
    error: expected a key such as `SHA256:…`, as `ssh-add -l` shows it, or `ssh-ed25519 AAAA…`, got `me@laptop`
    hint: `ssh-add -l` lists fingerprints and comments
    ");
    assert_snapshot!(refused(&["--key=-----BEGIN OPENSSH PRIVATE KEY-----"]), @"
    exit code 2
    --- stderr
    error: this is a private key; the public one, or its fingerprint, belongs here
    hint: `ssh-add -l` lists fingerprints and comments
    ");
    assert_snapshot!(refused(&["--ask", "sometimes"]), @"
    exit code 2
    --- stderr
    error: --ask: expected `never`, `first` or `always`, got `sometimes`
    ");
    assert_snapshot!(refused(&[]), @"
    exit code 2
    --- stderr
    error: nothing to grant is named
    hint: --host, --key, --sign or --ask
    ");
    assert_eq!(world.run(&["keys", "revoke", "hello", "--host", "github.com"]).code, 2);
    assert_eq!(world.read(CONFIG), before);
}

#[test]
fn hops_are_shown_as_far_as_there_are_any() {
    let world = configured();
    assert_snapshot!(world.run(&["keys", "hello"]), @"
    exit code 0
    --- stdout
    · machine   there is none yet: `machine up hello`
    ");
    world.must(&["up", "hello"]);
    assert_snapshot!(world.run(&["keys", "hello"]), @"
    exit code 1
    --- stdout
    ✓ ssh       OpenSSH 9.2
    ✗ agent     none here: SSH_AUTH_SOCK is not set, and ssh names no IdentityAgent; start one and `ssh-add` a key
    · host      none to log in to: the project has no repository over ssh, and none is granted
    · session   none is open, so nothing answers in the guest: `machine ssh hello`, or `machine keys hold hello`
    ");
    assert_snapshot!(world.run(&["keys", "log"]), @"
    exit code 0
    --- stderr
    `hello` has asked nothing of the agent yet
    ");
    assert_snapshot!(world.run(&["keys", "status", "--json"]), @r#"
    exit code 1
    --- stdout
    {
      "project": "hello",
      "ok": false,
      "hops": [
        {
          "name": "ssh",
          "verdict": "ok",
          "text": "OpenSSH 9.2"
        },
        {
          "name": "agent",
          "verdict": "problem",
          "text": "none here: SSH_AUTH_SOCK is not set, and ssh names no IdentityAgent; start one and `ssh-add` a key"
        },
        {
          "name": "host",
          "verdict": "remark",
          "text": "none to log in to: the project has no repository over ssh, and none is granted"
        },
        {
          "name": "session",
          "verdict": "remark",
          "text": "none is open, so nothing answers in the guest: `machine ssh hello`, or `machine keys hold hello`"
        }
      ]
    }
    "#);
}

#[test]
fn what_the_file_says_and_what_counts_are_told_apart() {
    let world = configured();
    world.must(&["up", "hello"]);
    world.configure("[hello]\nforward_agent = false\n");
    assert_snapshot!(world.run(&["keys"]), @"
    exit code 1
    --- stdout
    ✗ lent      `forward_agent = false` in projects.toml does not count yet, and it is lent still: `machine up hello`
    ");
    world.must(&["up", "hello"]);
    assert_snapshot!(world.run(&["keys"]), @"
    exit code 0
    --- stdout
    · lent      nothing: `forward_agent = false` in projects.toml
    ");
}

#[test]
fn keys_are_held_shown_and_released() {
    let world = configured();
    world.must(&["up", "hello"]);
    assert_snapshot!(world.run(&["keys", "hold", "hello", "--for", "90m"]), @"
    exit code 0
    --- stderr
    `hello` may use what it is granted for 1 h 30 min, also with no terminal open; end it: `machine keys release hello`
    ");
    let listed: serde_json::Value =
        serde_json::from_str(&world.must(&["list", "--json"]).stdout).expect("JSON");
    assert!(listed[0]["keys_held_until"].is_u64(), "{listed}");
    assert!(world.must(&["list"]).stderr.contains("hello: its keys are held for 1 h 30 min"));
    // Again is for another time, not beside it.
    assert_eq!(world.run(&["keys", "hold", "hello", "--for", "2d"]).code, 0);
    assert!(world.must(&["list"]).stderr.contains("hello: its keys are held for 48 h"));
    assert_snapshot!(world.run(&["keys", "release", "hello"]), @"
    exit code 0
    --- stderr
    the keys of `hello` are held no longer
    ");
    assert_snapshot!(world.run(&["keys", "release", "hello"]), @"
    exit code 0
    --- stderr
    the keys of `hello` were not held
    ");
    assert_eq!(world.run(&["keys", "hold", "hello"]).code, 0);
    for released in [true, false] {
        let outcome = world.must(&["keys", "release", "hello", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert_eq!(document, serde_json::json!({"project": "hello", "released": released}));
    }
    assert_eq!(world.run(&["keys", "hold", "hello"]).code, 0);
    // What is not lent any more is not held either.
    world.configure("[hello]\nforward_agent = false\n");
    world.must(&["up", "hello"]);
    assert!(!world.must(&["list"]).stderr.contains("held"));
    world.configure(BARE);
    assert_snapshot!(world.run(&["keys", "hello"]), @"
    exit code 1
    --- stdout
    ✗ lent      nothing, until the next `machine up hello`
    ");
    world.must(&["up", "hello"]);
    assert_eq!(world.run(&["keys", "hold", "hello"]).code, 0);
    // It is no session that `down` would ask about, and ends with the machine.
    world.must(&["down", "hello"]);
    wait_until("the hold has ended", || !world.must(&["list"]).stderr.contains("held"));
}

#[test]
fn what_cannot_be_held_is_said() {
    let world = configured();
    assert_snapshot!(world.run(&["keys", "hold", "hello", "--for", "8 hours"]), @"
    exit code 2
    --- stderr
    error: --for: expected a time such as `30m` or `8h`, `7d` at most, got `8 hours`
    ");
    assert_snapshot!(world.run(&["keys", "hold", "hello"]), @"
    exit code 1
    --- stderr
    error: the project `hello` has no machine yet
    hint: make it: `machine up hello`
    ");
    world.configure("[hello]\nforward_agent = false\n");
    assert_snapshot!(world.run(&["keys", "hold", "hello"]), @"
    exit code 2
    --- stderr
    error: `hello` is lent no key: `forward_agent = false`
    ");
}
