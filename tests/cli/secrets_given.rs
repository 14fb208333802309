//! Secrets of the user's own table for a project of a repository's file: given once somebody has said yes, and not by any
//! other way.

use insta::assert_snapshot;

use crate::claims::{inside, repository};
use crate::secret_sources::given;
use crate::world::World;

const CANARY: &str = "canary-4f1d-value";
/// What a repository says of itself, and asks for nothing.
const REPOSITORYS: &str = "[hello]\nrepos = [\".\"]\nsetup = false\n";

#[test]
fn a_repository_cannot_name_secrets_but_may_be_given_some() {
    let world = World::new();
    world.configure("");
    world.knob("pass", CANARY);
    let git = |args: &[&str]| {
        let done = world.command("/usr/bin/git").args(args).status().expect("git");
        assert!(done.success());
    };
    git(&["init", "-q", "hello"]);
    git(&["-C", "hello", "remote", "add", "origin", "git@github.com:you/hello.git"]);
    let secrets = "[hello.secrets]\nTOKEN = { command = [\"pass\", \"show\", \"npm\"] }\n\n[hello.git]\ntoken = \"TOKEN\"\n";
    let own = "[hello]\nrepos = [\".\"]\nsetup = false\n";
    world.write("hello/.machine/provision.toml", "base = false\n");
    world.write("hello/.machine/projects.toml", format!("{own}\n{secrets}"));
    let up = || world.finish(world.machine(&["up", "hello"]).current_dir(world.home("hello")));
    let refused = up();
    assert_eq!(refused.code, 5, "{refused}");
    for key in ["secrets", "git"] {
        assert!(refused.stderr.contains(&format!("`{key}` is not a repository's to give")), "{refused}");
    }
    world.write("hello/.machine/projects.toml", own);
    world.write(
        ".config/machine/projects.toml",
        format!("[hello]\n\n{secrets}\n[other.secrets]\nTOKEN = {{ env = \"NOT_SET\" }}\n"),
    );
    // What the user's own table gives it is asked for, too.
    assert_eq!(up().code, 5);
    assert!(!world.log_taken().contains("pass "));
    world.must(&["trust", "hello"]);
    let outcome = up();
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(given(&world).contains(&format!("\nTOKEN 0 17\n{CANARY}\nend\n")), "{}", given(&world));
    world.must(&["run", "hello", "--", "true"]);
    // Another repository with a project of that name, once the machine is gone.
    world.must(&["destroy", "hello", "--discard", "--yes"]);
    git(&["-C", "hello", "remote", "set-url", "origin", "git@github.com:evil/hello.git"]);
    world.log_taken();
    assert_eq!(up().code, 5);
    assert!(!world.log_taken().contains("pass "));
}

#[test]
fn a_repositorys_machine_gets_none_that_nobody_has_agreed_to() {
    let world = World::new();
    world.knob("pass", CANARY);
    repository(&world, "src/hello", Some("git@github.com:you/hello.git"), REPOSITORYS);
    let run = |args: &[&str]| inside(&world, "src/hello", args);
    assert_eq!(run(&["up", "--no-cache"]).code, 0);
    world.configure("[hello.secrets]\nTOKEN = { command = [\"pass\", \"show\", \"npm\"] }\n");
    world.log_taken();
    // Neither a session nor the command itself is a way around the question that `up` asks.
    let session = run(&["run", "--", "true"]);
    assert_snapshot!(session, @"
    exit code 0
    --- stderr
    warning: the files of `hello` are not allowed to have its secrets
    look at them, and say yes: `machine up hello`
    ");
    let refused = run(&["secrets"]);
    assert_eq!(refused.code, 5, "{refused}");
    assert!(refused.stderr.contains("to allow it, once you have read it: `machine trust "), "{refused}");
    assert!(!world.log_taken().contains("pass "));
    world.must(&["trust", "src/hello"]);
    assert!(run(&["run", "--", "true"]).stderr.contains("1 secret is in /run/secrets"));
    // A file that says something else now has not been agreed to: what is there goes.
    world.write("src/hello/.machine/projects.toml", format!("{REPOSITORYS}cpus = 1\n"));
    world.log_taken();
    assert!(run(&["run", "--", "true"]).stderr.contains("are not allowed to have its secrets"));
    assert!(world.effects().contains("guest secrets cleared"));
    world.write("src/hello/.machine/projects.toml", REPOSITORYS);
    assert!(run(&["run", "--", "true"]).stderr.contains("1 secret is in /run/secrets"));
    world.log_taken();
    world.must(&["trust", "revoke", "src/hello"]);
    assert!(world.effects().contains("guest secrets cleared"));
}
