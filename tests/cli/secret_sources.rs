//! Where secrets are kept: each kind of source, and sources that fail, hang, flood and tell.

use std::fs;

use insta::assert_snapshot;

use crate::world::World;

/// A world with a project that has these secrets.
fn with(secrets: &str) -> World {
    let world = World::new();
    world.configure(&format!("[hello]\n\n[hello.secrets]\n{secrets}"));
    world.bake("hello");
    world
}

/// What the guest was given, as it came.
pub fn given(world: &World) -> String {
    let files = fs::read_dir(world.path("play/guests/hello")).expect("a guest");
    let memory = files.flatten().find(|file| file.file_name().to_string_lossy().starts_with("memory-"));
    fs::read_to_string(memory.expect("filled").path()).expect("text")
}

#[test]
fn every_kind_of_source_is_asked_and_its_value_arrives() {
    let world = with(
        "A = \"op://Dev/blog/url\"\nB = { command = [\"pass\", \"show\", \"np m\"], export = true }\n\
         C = { env = \"STRIPE_KEY\" }\nD = { file = \"~/.secrets/sentry\" }\nE = { keychain = \"git\", account = \"me\" }\n",
    );
    world.knob("op", "value of op\n");
    world.knob("pass", "of pass: it's\nmore \"lines\"\n");
    world.knob("secret-tool", "of-secret-tool");
    let file = world.write(".secrets/sentry", "of a file\r\n");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mode");
    let outcome = world.finish(world.machine(&["up", "hello"]).env("STRIPE_KEY", "of-a-variable"));
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(outcome.stderr.contains("✓ secrets   5 in /run/secrets"), "{outcome}");
    let (_, frames) = given(&world)
        .split_once('\n')
        .map(|(head, rest)| (head.to_string(), rest.to_string()))
        .expect("framed");
    if cfg!(target_os = "linux") {
        assert_snapshot!(frames, @r#"
        A 0 11
        value of op
        B 1 27
        of pass: it's
        more "lines"

        C 0 13
        of-a-variable
        D 0 9
        of a file
        E 0 14
        of-secret-tool
        end
        "#);
        assert_snapshot!(world.effects(), @"
        git who commits
        limactl list
        op read op://Dev/blog/url
        pass show np m
        secret-tool lookup service git account me
        ssh-keygen -q -t ed25519 -N  -C machine-hello -f ~/.local/state/machine/machines/hello/host_key
        ssh-keygen -y -f ~/.local/state/machine/machines/hello/host_key
        limactl create --name hello ~/.local/state/machine/machines/hello/lima.yaml
        limactl list
        limactl start --timeout=30m hello
        ssh open master, agent lent
        ssh ask
        ssh stop steps left over
        guest step git
        guest secrets filled
        ");
    }
    // What is kept in a variable is in no child's environment, and a program gets nothing that it has no use for.
    let environment = fs::read_to_string(world.path("play/environment-pass")).expect("noted");
    assert!(!environment.contains("STRIPE_KEY") && !environment.contains("of-a-variable"), "{environment}");
}

#[test]
fn a_log_in_of_1password_goes_to_it_alone_and_into_no_line() {
    let world = with("A = \"op://Dev/blog/url\"\nB = { command = [\"pass\", \"show\", \"npm\"] }\n");
    world.knob("op", "value of op\n");
    world.knob("pass", "value of pass\n");
    let mut command = world.machine(&["-v", "up", "hello"]);
    command.env("OP_SERVICE_ACCOUNT_TOKEN", "ops_canary").env("OP_SESSION_me", "session_canary");
    let outcome = world.finish(command.env("PASSWORD_STORE_DIR", "/store"));
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(outcome.stderr.contains("+ op read op://Dev/blog/url\n"), "{outcome}");
    assert!(!outcome.stderr.contains("canary"), "{outcome}");
    let of = |name: &str| fs::read_to_string(world.path(&format!("play/environment-{name}"))).expect("noted");
    assert!(of("op").contains("ops_canary") && of("op").contains("session_canary"));
    assert!(!of("pass").contains("canary") && of("pass").contains("PASSWORD_STORE_DIR=/store"));
}

#[test]
fn failing_sources_are_all_named_before_anything_starts() {
    let world = with(
        "A = \"op://Dev/blog/url\"\nB = { command = [\"pass\", \"show\", \"npm\"] }\nC = { env = \"NOT_SET\" }\n\
         D = { file = \"~/open\" }\nE = { command = [\"no-such-program\"] }\nF = { keychain = \"x\" }\n",
    );
    world.knob("op", "");
    world.knob("pass", "canary-that-pass-printed\n");
    world.knob("pass-says", "\u{1b}[31mgpg: canary-that-pass-printed is locked\n");
    world.knob("pass-fails", "");
    world.knob("secret-tool", "\n");
    world.write("open", "x");
    let outcome = world.run(&["-v", "up", "hello"]);
    assert!(!outcome.to_string().contains("canary"), "{outcome}");
    let outcome = world.run(&["up", "hello"]);
    if cfg!(target_os = "linux") {
        assert_snapshot!(outcome, @"
        exit code 1
        --- stderr
        error: secrets of `hello` cannot be read
        caused by: A, from `op://Dev/blog/url`: it gave nothing
                   B, from the command `pass`: exit status: 1: gpg: *** is locked
                   C, from the variable `NOT_SET`: it is not set
                   D, from the file `~/open`: its mode is 0644, so others may read it: `chmod 600 ~/open`
                   E, from the command `no-such-program`: the program `no-such-program` is not installed, or not on PATH
                   F, from the keychain's `x`: it gave nothing
        hint: sources are in the table `secrets` of your projects.toml
        hint: nothing was started; once it is mended: `machine up hello`
        ");
    }
    let effects = world.effects();
    assert!(!effects.contains("create") && !effects.contains("ssh"), "{effects}");
    assert!(!world.home(".local/share/machine/lima/hello").exists());
}

#[test]
fn a_source_that_hangs_is_stopped_with_all_it_started() {
    let world = with("A = { command = [\"pass\", \"show\", \"npm\"], timeout = 1 }\n");
    world.knob("pass-hangs", "");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    error: a secret of `hello` cannot be read
    caused by: A, from the command `pass`: `pass` gave no answer within 1 s
    hint: sources are in the table `secrets` of your projects.toml
    hint: nothing was started; once it is mended: `machine up hello`
    ");
    let ps = world.command("/bin/ps").args(["-ww", "-A", "-o", "args="]).output().expect("ps");
    assert!(!String::from_utf8_lossy(&ps.stdout).contains("sleep 4242"));
}

#[test]
fn a_source_that_floods_is_refused() {
    let world = with("A = { command = [\"pass\", \"show\", \"npm\"] }\n");
    world.knob("pass-floods", "");
    let outcome = world.run(&["up", "hello"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("A, from the command `pass`: "), "{outcome}");
    assert!(!world.home(".local/share/machine/lima/hello").exists());
}

#[test]
fn environments_of_1password_are_read_by_what_op_offers() {
    let world = with("TOKEN = { op_environment = \"abc\", export = true }\n");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    error: a secret of `hello` cannot be read
    caused by: TOKEN, from `TOKEN` of the 1Password Environment `abc`: this `op` is missing, or offers no 1Password Environments: `op update`
    hint: sources are in the table `secrets` of your projects.toml
    hint: nothing was started; once it is mended: `machine up hello`
    ");
    world.knob("op-help-environment", "Read environment variables from a 1Password Environment\n");
    world.knob("op", "OTHER=x\nTOKEN=\"value of op\"\n");
    world.must(&["up", "hello"]);
    assert!(given(&world).contains("\nTOKEN 1 11\nvalue of op\n"), "{}", given(&world));
    world.release("op-help-environment");
    world.knob("op-help-run", "Flags:\n      --environment string\n");
    world.knob("op", "value of run\n");
    world.log_taken();
    world.must(&["secrets", "hello"]);
    assert!(given(&world).contains("\nTOKEN 1 12\nvalue of run\n"), "{}", given(&world));
    assert!(world.log_taken().contains("op run --no-masking --environment abc -- printenv TOKEN\n"));
}
