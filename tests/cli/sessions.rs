//! `run` and `ssh`: the command's own exit code and bytes, nothing provisioned, the agent for as long as they last.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::{World, wait_until};

/// A world with the machine `hello`, ready.
fn ready() -> World {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.effects();
    world
}

#[test]
fn exit_codes_are_the_commands_own() {
    let world = ready();
    for code in [0, 1, 7, 125, 255] {
        let script = format!("exit {code}");
        assert_eq!(world.run(&["run", "hello", "--", "sh", "-c", &script]).code, code);
    }
    world.effects();
    assert_snapshot!(world.run(&["run", "--", "no-such-program"]), @r#"
    exit code 127
    --- stderr
    machine: no-such-program: command not found in the guest
    "#);
    assert_snapshot!(world.effects(), @r#"ssh session, agent lent: "plain" "" "no-such-program""#);
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let world = ready();
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'%').collect();
    let args: [&[u8]; 8] = [b"", b"a b", b"'\"`$(x)\\", b"x;y&z|", b"A=B", b"line\nend", b"-n --", &bytes];
    let mut command = world.machine(&["run", "hello", "--", "printf", "%s|"]);
    command.args(args.map(OsStr::from_bytes));
    let output = command.output().expect("started");
    let mut expected = args.join(&b'|');
    expected.push(b'|');
    assert_eq!(output.stdout, expected);
    assert!(output.status.success());
}

#[test]
fn input_is_passed_on() {
    let world = ready();
    let mut command = world.machine(&["run", "hello", "--", "tr", "a-z", "A-Z"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("a pipe").write_all(b"a poem\n").expect("written");
    assert_eq!(child.wait_with_output().expect("ended").stdout, b"A POEM\n");
}

#[test]
fn a_login_shell_reads_our_input_and_gives_its_code() {
    let world = ready();
    let mut command = world.machine(&["ssh", "hello"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("a pipe").write_all(b"exit 3\n").expect("written");
    assert_eq!(child.wait().expect("ended").code(), Some(3));
    assert_snapshot!(world.effects(), @r#"ssh session, agent lent: "login" """#);
}

#[test]
fn nothing_started_is_125() {
    let world = World::new();
    world.configure(BARE);
    assert_snapshot!(world.run(&["run", "hello", "--", "true"]), @"
    exit code 125
    --- stderr
    error: the project `hello` has no machine yet
    hint: make it: `machine up hello`
    ");
    world.must(&["up", "hello"]);
    world.must(&["down", "hello"]);
    world.knob("fail-start", "");
    assert_snapshot!(world.run(&["run", "hello", "--", "true"]), @"
    exit code 125
    --- stderr
    error: `LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m hello` failed
    caused by: Working on it
               exiting, status={Running:false Exiting:true Errors:[qemu died]}
    hint: the whole log: `~/.local/state/machine/machines/hello/start.log`
    ");
    world.release("fail-start");
    let long = "x".repeat(130_000);
    world.effects();
    assert_snapshot!(world.run(&["run", "hello", "--", "echo", &long]), @"
    exit code 125
    --- stderr
    error: the command is 130047 bytes long once encoded; the limit is 122880
    hint: pass long input through standard input instead
    ");
    assert_eq!(world.effects(), "");
}

#[test]
fn words_that_mean_nothing_are_usage() {
    let world = ready();
    assert_snapshot!(world.run(&["run", "hello"]), @"
    exit code 2
    --- stderr
    error: the following required arguments were not provided:
      <CMD>...

    Usage: machine run <PROJECT> -- <CMD>...

    For more information, try '--help'.
    ");
    assert_snapshot!(world.run(&["run", "hello", "ls"]), @"
    exit code 2
    --- stderr
    error: unexpected argument 'ls' found

    Usage: machine run [OPTIONS] [PROJECT] -- <CMD>...

    For more information, try '--help'.
    ");
    assert_snapshot!(world.run(&["run", "helo", "--", "ls"]), @"
    exit code 2
    --- stderr
    error: there is no project `helo` in `~/.config/machine/projects.toml`
    hint: did you mean `hello`?
    ");
    assert_eq!(world.effects(), "");
}

#[test]
fn a_stopped_machine_is_started_and_not_provisioned() {
    let world = ready();
    world.must(&["down", "hello"]);
    world.configure("[hello]\nenv = { A = \"1\" }\n");
    world.effects();
    assert_snapshot!(world.run(&["run", "hello", "--", "echo", "there"]), @"
    exit code 0
    --- stdout
    there
    --- stderr
    ✓ boot      ssh ready T s
    ");
    assert_snapshot!(world.effects(), @r#"
    limactl list
    limactl start --timeout=30m hello
    ssh open master, agent lent
    ssh session, agent lent: "plain" "" "echo" "there"
    "#);
    assert_eq!(world.run(&["run", "hello", "--", "echo", "again"]).stderr, "");
    assert_snapshot!(world.effects(), @r#"ssh session, agent lent: "plain" "" "echo" "again""#);
}

#[test]
fn an_unfinished_machine_is_told() {
    let world = World::new();
    world.configure(BARE);
    world.knob("fail-step", "ssh_known_hosts");
    assert_snapshot!(world.run(&["up", "hello"]), @"
    exit code 1
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    building the box `bare`, once; machines start from it
    ✓ image     image T s
    ✓ create    disk up to 16 GiB T s
    ✓ boot      ssh ready T s
      · guest: session helper, apt settings T s
      · environment: PATH T s
      · floor: host and LAN closed T s
      · shell: bash T s
    ✓ provision 4 of 4 steps run T s
    ✓ seal      2 packages T s
    ✓ stop      shut down, disk clean T s
    ✓ capture   bare  0.01 MiB T s
    ✓ box       bare  cached, built today T s
    ✓ create    disk up to 40 GiB T s
    ✓ boot      ssh ready T s
    error: the step `git: no identity configured` failed in the guest
    caused by: Reading package lists...
               E: Unable to locate package
    hint: its whole output: `~/.local/state/machine/machines/hello/logs/git.HASH.log`
    hint: once it is mended, go on from this step: `machine up hello`
    ");
    assert_snapshot!(world.run(&["run", "hello", "--", "echo", "there"]), @"
    exit code 0
    --- stdout
    there
    --- stderr
    `hello` is unfinished: `machine up hello` goes on where it stopped
    ");
}

#[test]
fn down_asks_before_it_ends_a_session() {
    let world = ready();
    let session =
        world.start(&mut world.machine(&["run", "hello", "--", "sh", "-c", "echo started >&2; sleep 60"]));
    session.wait_for("started");
    world.effects();
    assert_snapshot!(world.run(&["down", "hello"]), @"
    exit code 4
    --- stderr
    these sessions are open on `hello`:
      machine run hello (process PID)
    error: `hello` has open sessions
    hint: end them, or: `machine down hello --force`
    ");
    assert_eq!(world.effects(), "");
    let listed = world.must(&["list", "--json"]);
    assert!(listed.stdout.contains("\"sessions\": 1"), "{listed}");
    assert_eq!(world.run(&["down", "hello", "--force"]).code, 0);
    session.interrupt();
    session.wait();
}

#[test]
fn the_agent_answers_while_a_session_is_open_and_not_after_it() {
    let world = ready();
    let mut command = world.machine(&["run", "hello", "--", "sh", "-c", "echo started >&2; sleep 60"]);
    let session = world.start(&mut command);
    session.wait_for("started");
    assert_eq!(ask(&agent_socket(&world)), Some(REFUSED));
    let log = world.read(".local/state/machine/machines/hello/agent.log");
    assert!(log.contains(r#""machine":"hello""#) && log.contains(r#""verdict":"refused""#), "{log}");
    session.interrupt();
    assert_eq!(session.wait().code, 130);
    wait_until("nobody serves", || ask(&agent_socket(&world)).is_none());
    assert!(agent_socket(&world).exists());
}

#[test]
fn without_forward_agent_no_session_lends_it() {
    let world = World::new();
    world.configure("[hello]\nforward_agent = false\n");
    world.must(&["up", "hello"]);
    world.must(&["run", "hello", "--", "true"]);
    let effects = world.effects();
    assert!(!effects.contains("session, agent lent"), "{effects}");
    assert!(world.read(".ssh/config.d/machine").contains("\n  ForwardAgent no\n"));
    assert_eq!(ask(&agent_socket(&world)), None);
}

fn agent_socket(world: &World) -> PathBuf {
    let folder = std::fs::read_dir(world.home(".local/share/machine/s")).expect("sockets").flatten().next();
    folder.expect("one machine").path().join("agent")
}

/// The answer to whoever does not say where the connection leads: `SSH_AGENT_FAILURE`.
const REFUSED: [u8; 5] = [0, 0, 0, 1, 5];

/// What an agent's socket says when it is asked for a list; nothing when nobody listens.
fn ask(socket: &std::path::Path) -> Option<[u8; 5]> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream.write_all(&[0, 0, 0, 1, 11]).ok()?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}
