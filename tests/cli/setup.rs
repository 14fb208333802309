//! `init`, `doctor` and `uninstall`: what is put on this computer, looked at, and taken away again.

use std::fs;
use std::net::TcpListener;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::outcome::Outcome;
use crate::world::{World, skip};

/// The lines of a report but those about this computer: its KVM and the shell's PATH.
fn report(outcome: &Outcome) -> String {
    let differs = |line: &&str| !line.contains(" accelerator ") && !line.contains(" PATH ");
    outcome.to_string().lines().filter(differs).map(|line| line.to_string() + "\n").collect()
}

#[test]
fn init_writes_a_configuration_once() {
    let world = World::new();
    let outcome = world.run(&["init"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert_snapshot!(outcome.stderr, @"
    wrote `~/.config/machine/projects.toml`
    wrote `~/.config/machine/provision.toml`
    added `Include config.d/machine` at the top of `~/.ssh/config`
    ");
    assert_eq!(world.read(".ssh/config"), "Include config.d/machine\n");
    world.write(".config/machine/projects.toml", BARE);
    assert_snapshot!(world.run(&["init"]).stderr, @"
    `~/.config/machine/projects.toml` is there and stays as it is
    `~/.config/machine/provision.toml` is there and stays as it is
    ");
    assert_eq!(world.read(".config/machine/projects.toml"), BARE);
}

#[test]
fn init_here_needs_a_repository_with_a_remote() {
    let world = World::new();
    assert_snapshot!(world.run(&["init", "--here"]), @"
    exit code 2
    --- stderr
    error: `--here` needs a git repository, and the current folder is in none
    ");
    let done = world.command("/usr/bin/git").args(["init", "-q", "x"]).status().expect("git");
    assert!(done.success());
    let outcome = world.finish(world.machine(&["init", "--here"]).current_dir(world.home("x")));
    assert_snapshot!(outcome, @"
    exit code 2
    --- stderr
    error: the repository `~/x` has no remote `origin`
    hint: add one: `git remote add origin git@host:you/name.git`
    ");
    assert_eq!(world.run(&["init", "--name", "x"]).code, 2);
}

#[test]
fn doctor_looks_at_everything_it_needs() {
    if !cfg!(target_os = "linux") {
        skip("another report on this system");
        return;
    }
    let world = World::new();
    world.write(
        ".ssh/config",
        "Host *\n  SendEnv LANG TOKEN\n  DynamicForward 1080\nHost other\n  RemoteForward 1 localhost:2\n",
    );
    let outcome = world.run(&["doctor"]);
    assert_snapshot!(report(&outcome).replace(std::env::consts::ARCH, "ARCH"), @"
    exit code 0
    --- stdout
    ✓ limactl      <bin>/limactl
    ✓ ssh          <bin>/ssh
    ✓ ssh-keygen   <bin>/ssh-keygen
    ✓ ssh-add      /usr/bin/ssh-add
    ✓ ssh-agent    /usr/bin/ssh-agent
    ✓ git          <bin>/git
    ✓ curl         <bin>/curl
    ✓ ps           /usr/bin/ps
    ✓ qemu         <bin>/qemu-system-ARCH
    ✓ qemu-img     <bin>/qemu-img
    ✓ zstd         /usr/bin/zstd
    · runtime      machines do not sleep: there is no runtime folder: XDG_RUNTIME_DIR is not set
                   log in so that XDG_RUNTIME_DIR is set (a desktop, ssh and `su -` do), or use `machine down`
    · agent        none (SSH_AUTH_SOCK is not set): repositories over ssh cannot be cloned
    · ssh hosts    `Host machine-…` are not known to ssh yet: `machine up` or `machine init` adds the Include
    · ssh config   line 2 of `~/.ssh/config` also counts for `ssh machine-…`: SendEnv LANG TOKEN
    · ssh config   line 3 of `~/.ssh/config` also counts for `ssh machine-…`: DynamicForward 1080
    ");
    assert_snapshot!(world.effects(), @r"
    limactl --version
    ssh version
    ");
}

#[test]
fn doctor_fails_when_something_needed_is_missing() {
    let world = World::new();
    world.knob("version", "limactl version 2.1.4\n");
    world.knob("ssh-version", "OpenSSH_8.8p1, OpenSSL 1.1.1\n");
    let outcome = world.run(&["doctor", "--json"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, ""));
    let document: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(document["ok"], false);
    let checks = document["checks"].as_array().expect("a list");
    let of = |name: &str| checks.iter().find(|check| check["check"] == name).expect("a check");
    assert_eq!(of("limactl")["verdict"], "problem");
    assert!(of("limactl")["text"].as_str().is_some_and(|text| text.contains("Lima 2.1.4 is too old")));
    assert_eq!(of("ssh")["text"], "OpenSSH 8.8: machines can use no key with it; install 8.9 or later");
    assert_eq!(of("git")["verdict"], "ok");
    assert_eq!(of("agent")["verdict"], "remark");
}

#[test]
fn doctor_prints_no_line_of_blanks() {
    let world = World::new();
    let outcome = world.finish(world.machine(&["doctor"]).env("HOME", "/nonexistent"));
    assert!(outcome.stdout.contains("limactl"), "{outcome}");
    assert!(outcome.stdout.lines().all(|line| !line.trim().is_empty()), "{outcome}");
}

#[test]
fn doctor_says_whether_machines_have_a_proxy_and_one_answers() {
    let world = World::new();
    let proxy = |outcome: &Outcome| {
        let line = outcome.stdout.lines().find(|line| line.contains(" proxy "));
        line.unwrap_or_default().to_string()
    };
    let behind_one =
        |world: &World| world.finish(world.machine(&["doctor"]).env("https_proxy", "http://10.9.9.9:1"));
    assert_snapshot!(proxy(&behind_one(&world)), @r#"· proxy        this computer uses one (`https_proxy`), machines do not: `network = { proxy = "http://…" }` in config.toml leads them to it"#);
    let config = world.read(".config/machine/config.toml");
    let name_proxy = |port: u16| {
        let text = format!("{config}\n[network]\nproxy = \"http://localhost:{port}\"\n");
        world.write(".config/machine/config.toml", text);
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    name_proxy(port);
    assert_eq!(proxy(&behind_one(&world)), format!("✓ proxy        machines use http://192.168.5.2:{port}"));
    drop(listener);
    let told = proxy(&world.run(&["doctor"]));
    assert!(told.contains("nobody answers at http://192.168.5.2:"), "{told}");
}

#[test]
fn uninstall_takes_away_what_was_added_and_names_what_stays() {
    let world = World::new();
    world.configure(BARE);
    world.write(".ssh/config", "Host *\n");
    world.must(&["up", "hello"]);
    world.effects();
    assert_snapshot!(world.run(&["uninstall"]), @"
    exit code 0
    --- stderr
    removed `Include config.d/machine` from `~/.ssh/config`
    removed `~/.ssh/config.d/machine`
    removed `~/.local/share/machine/launcher`
    machines stay, with the work in them: hello (`machine destroy NAME` deletes one)
    these folders stay; delete them when you no longer need what is in them:
      ~/.local/share/machine
      ~/.local/state/machine
      ~/.cache/machine
      ~/.config/machine
    the program itself is your package manager's: `brew uninstall machine`, or `cargo uninstall machine`
    ");
    assert_eq!(world.read(".ssh/config"), "Host *\n");
    assert!(!world.home(".ssh/config.d/machine").exists());
    assert!(!world.home(".local/share/machine/launcher").exists());
    assert!(world.home(".local/share/machine/lima/hello/disk").exists());
    assert_eq!(world.effects(), "");
    let again = world.must(&["uninstall"]);
    assert!(!again.stderr.contains("removed"), "{again}");
}

#[test]
fn uninstall_where_nothing_was_installed() {
    let world = World::new();
    fs::remove_dir_all(world.home(".config")).expect("removed");
    assert_snapshot!(world.run(&["uninstall"]), @"
    exit code 0
    --- stderr
    the program itself is your package manager's: `brew uninstall machine`, or `cargo uninstall machine`
    ");
    assert_eq!(world.tree(), "");
}

#[test]
fn an_image_is_downloaded_verified_and_kept() {
    let world = World::new();
    world.configure(BARE);
    // The digest of the nine bytes that the scripted curl writes: `an image` and no newline.
    let table = |digest: &str| {
        let of = |arch: &str| {
            format!(
                "[images.debian-13.{arch}]\nlocation = \"https://mirror.example/i.qcow2\"\ndigest = \"sha256:{digest}\"\n"
            )
        };
        format!("accelerator = \"tcg\"\n{}{}", of("amd64"), of("arm64"))
    };
    world.write(".config/machine/config.toml", table(&"0".repeat(64)));
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 1
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    building the box `bare`, once; machines start from it
    error: failed to download the image `https://mirror.example/i.qcow2`
    caused by: the image `~/.cache/machine/images/HASH.part` is not the expected one
    caused by: its digest is HASH, expected HASH
    hint: name another place with the same bytes in config.toml, below `[images.NAME.ARCH]`:
    location = "https://…"
    digest = "sha256:HASH"
    hint: go on from there: `machine up hello`
    "#);
    assert_snapshot!(world.effects(), @"
    git who commits
    limactl --version
    curl --fail --location --proto =https --retry 3 --silent --show-error --continue-at - --output ~/.cache/machine/images/HASH.part -- https://mirror.example/i.qcow2
    ");
    assert!(!world.tree().contains(".part"), "{}", world.tree());
    world.knob("fail-curl", "");
    assert_snapshot!(world.run(&["up", "hello"]), @r#"
    exit code 1
    --- stderr
    hello  debian-13 · no profiles · 2 cpus · 4 GiB
    building the box `bare`, once; machines start from it
    error: failed to download the image `https://mirror.example/i.qcow2`
    caused by: `curl --fail --location --proto '=https' --retry 3 --silent --show-error --continue-at - --output ~/.cache/machine/images/HASH.part -- https://mirror.example/i.qcow2` failed: exit status: 22
    caused by: curl: (22) The requested URL returned error: 404
    hint: name another place with the same bytes in config.toml, below `[images.NAME.ARCH]`:
    location = "https://…"
    digest = "sha256:HASH"
    hint: go on from there: `machine up hello`
    "#);
}
