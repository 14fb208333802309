//! What `boundary` makes of a guest's answer, and of a machine that does not give one.

use insta::assert_snapshot;

use crate::outcome::Outcome;
use crate::world::World;

const ANSWER: &str = "escape \u{1b}]52;c;eA==\u{7}\naccount dev:x:1000:1000::/home/dev:/bin/bash\nhostname lima-hello\n\
    mount ext4 /\nsecrets\nvariables SE9NRT0vaG9tZS9kZXYK\ntried control open\ntried DNS open\ntried loopback4 closed\n";

/// A world with a running machine whose guest answers so.
fn answering(answer: &str) -> World {
    let world = World::new();
    world.configure("[hello]\n");
    world.must(&["up", "hello"]);
    world.knob("probe-answer", answer);
    world.effects();
    world
}

/// The lines that do not depend on which networks the computer of the test is in.
fn lines(outcome: &Outcome) -> String {
    let depends = ["host-address", "host-::1", "lan", "cloud", "other"];
    let words = |line: &str| line.split_whitespace().nth(1).unwrap_or_default().to_string();
    let same = |line: &&str| !depends.iter().any(|channel| words(line).starts_with(channel));
    outcome.stdout.lines().filter(same).map(|line| format!("{line}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn a_line_says_what_was_seen_and_the_rest_is_not_probed() {
    let world = answering(ANSWER);
    let before = world.tree();
    let outcome = world.run(&["boundary", "hello"]);
    assert_snapshot!(lines(&outcome), @"
    ✓ files              closed: no folder of this computer is among the guest's 1 filesystems
    ✓ lima-settings      closed: what Lima uses is what `machine` wrote: no mount, forward or script of others
    · lima-data          not probed: the disk that Lima hands to the guest could not be read
    · identity           crosses, as stated: the guest is called `lima-hello`, its user `dev`: the project's name, nothing of yours
    ✓ environment        closed: nothing of this computer's environment or proxies is in the guest's
    ✓ guest-root         closed: the login user was not root in the guest
    · agent-in-a-session not probed: this computer has no ssh-agent to be lent
    · agent-at-rest      not probed: this computer has no ssh-agent that could answer
    · lima-connection    not probed: Lima has no connection of its own open
    ✓ secrets            closed: this project has no secrets, and the guest has nothing at /run/secrets
    ✓ repository-file    closed: the project is in a file of your own: no repository's file has a say
    ✓ host-127.0.0.1     closed: a listener of this computer at 127.0.0.1 was not reached; root, past the guest's own rules, was not tried
    · dns                crosses, as stated: this computer's resolver answers the guest, for names of every kind
    · guest-ports        not probed: the guest's own listener was not there
    · host-key           not probed: a new connection with the pinned key could not be made
    · ssh-options        not probed: your ssh does not know this machine's host
    · x11                not probed: your ssh does not know this machine's host
    · terminal           crosses, as stated: raw in `ssh` and `run`, as with any ssh; cleaned in everything that `machine` says, as was tried
    ✓ host-files         closed: 14 folders, sockets and keys of ours: yours alone
    · hypervisor         not probed: the process that runs the machine was not found
    · editors            not probed: what an editor does over Remote-SSH is the editor's: a hostile guest can run code on its side, and it forwards ports by itself
    ");
    assert_snapshot!(world.effects(), @"
    limactl list
    ssh resolve any-host
    ssh list keys, agent lent
    ssh ask
    guest probe
    ssh resolve -G machine-hello
    ssh ask over Lima's connection
    ssh connect apart
    ssh connect apart
    ");
    // What every session leaves.
    let own = ["/locks/", "/sessions/", "/agent.lock"];
    let names = |tree: &str| -> Vec<String> {
        tree.lines().filter(|line| !own.iter().any(|part| line.contains(part))).map(String::from).collect()
    };
    assert_eq!(names(&world.tree()), names(&before), "nothing is changed");
}

#[test]
fn a_stopped_machine_is_started() {
    let world = answering(ANSWER);
    world.must(&["down", "hello"]);
    world.effects();
    world.run(&["boundary"]);
    assert!(world.effects().contains("limactl start"));
}

#[test]
fn a_folder_of_the_host_in_the_guest_fails_and_its_name_steers_no_terminal() {
    let world = answering(&format!("{ANSWER}mount virtiofs /mnt/\u{1b}[31mhome\n"));
    let outcome = world.run(&["boundary", "hello", "--json"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    let document: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((&document["project"], &document["ok"]), (&"hello".into(), &false.into()));
    let detail = "the guest has a `virtiofs` filesystem at `/mnt/home`";
    let expected = serde_json::json!({"channel": "files", "verdict": "failed", "detail": detail});
    assert_eq!(document["channels"][0], expected);
}

#[test]
fn half_an_answer_is_an_error() {
    let world = answering(ANSWER);
    world.knob("half-an-answer", "");
    assert_snapshot!(world.run(&["boundary", "hello"]), @"
    exit code 1
    --- stderr
    error: the guest's answer was incomplete
    ");
}

#[test]
fn a_machine_that_is_not_there() {
    let world = World::new();
    world.configure("[hello]\n");
    assert_snapshot!(world.run(&["boundary"]), @"
    exit code 1
    --- stderr
    error: the project `hello` has no machine yet
    hint: make it: `machine up hello`
    ");
}
