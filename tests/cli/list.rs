//! `list`, help and completion: what must be quick starts next to nothing.

use std::fs;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::folders::is_root;
use crate::mask::without_resident;
use crate::world::{World, skip};

/// Copies the machine `hello` under other names, as if each had been created.
fn multiply(world: &World, names: &[String]) {
    let (state, lima) = (".local/state/machine/machines", ".local/share/machine/lima");
    let record = world.read(&format!("{state}/hello/machine.json"));
    let yaml = world.read(&format!("{lima}/hello/lima.yaml"));
    for name in names {
        let uuid = format!("{:032x}", name.len() * 7919 + usize::from(name.as_bytes()[1]));
        let record: serde_json::Value = serde_json::from_str(&record).expect("a record");
        let record = serde_json::json!({"name": name, "uuid": uuid})
            .as_object()
            .expect("an object")
            .iter()
            .fold(record, |mut record, (key, value)| {
                record[key] = value.clone();
                record
            });
        world.write(&format!("{state}/{name}/machine.json"), record.to_string());
        world.write(&format!("{lima}/{name}/lima.yaml"), &yaml);
        world.write(&format!("{lima}/{name}/disk"), "a disk");
    }
}

#[test]
fn ten_machines_are_one_limactl() {
    let world = World::new();
    let names: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
    world.configure(&format!("{BARE}[{}]\n[unborn]\n", names.join("]\n[")));
    world.must(&["up", "hello"]);
    multiply(&world, &names);
    world.log_taken();
    let outcome = world.run(&["list"]);
    assert_eq!(world.calls(), ["limactl"]);
    // Nothing that is no scripted program either, such as ps; on macOS nothing else knows the memory.
    let verbose = world.run(&["-v", "list"]).stderr;
    let started: Vec<&str> = verbose.lines().filter(|line| line.starts_with("+ ")).collect();
    assert!(started.len() == 1 || cfg!(target_os = "macos"), "{verbose}");
    assert_snapshot!(without_resident(&outcome.to_string()), @"
    exit code 0
    --- stdout
    PROJECT  STATE    CPUS  MEMORY  DISK    ALLOCATED  SESSIONS  IDLE   LAST USED  PORTS
    hello    ready    2     4 GiB   40 GiB  0 MiB      0         0 min  just now
    p0       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p1       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p2       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p3       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p4       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p5       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p6       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p7       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    p8       stopped  2     4 GiB   40 GiB  0 MiB      0         -      just now
    unborn   none     2     4 GiB   40 GiB  -          0         -      -
    ");
}

#[test]
fn json_has_everything_in_bytes_and_seconds() {
    let world = World::new();
    world.configure("[hello]\nmemory = \"2GiB\"\n[unborn]\n");
    world.must(&["up", "hello"]);
    let outcome = world.run(&["list", "--json"]);
    let mut rows: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let used = rows[0]["last_used"].take();
    assert!(used.as_u64().is_some_and(|seconds| seconds > 1_700_000_000), "{used}");
    assert!(rows[0]["disk_used_bytes"].take().is_u64());
    assert!(rows[0]["idle_seconds"].take().is_u64());
    let resident = rows[0]["resident_bytes"].take();
    assert_eq!(
        resident.as_u64().is_some_and(|bytes| bytes > 100_000),
        cfg!(target_os = "linux"),
        "{resident}"
    );
    assert_snapshot!(format!("{rows:#}"), @r#"
    [
      {
        "project": "hello",
        "state": "ready",
        "cpus": 2,
        "memory_bytes": 2147483648,
        "resident_bytes": null,
        "disk_bytes": 42949672960,
        "disk_used_bytes": null,
        "image_bytes": null,
        "last_used": null,
        "idle_seconds": null,
        "sessions": 0,
        "keys_held_until": null,
        "ports": [],
        "isolation": "standard",
        "configured": true,
        "note": null
      },
      {
        "project": "unborn",
        "state": "none",
        "cpus": 2,
        "memory_bytes": 4294967296,
        "resident_bytes": null,
        "disk_bytes": 42949672960,
        "disk_used_bytes": null,
        "image_bytes": null,
        "last_used": null,
        "idle_seconds": null,
        "sessions": 0,
        "keys_held_until": null,
        "ports": [],
        "isolation": "standard",
        "configured": true,
        "note": null
      }
    ]
    "#);
}

#[test]
fn only_a_machine_that_runs_has_memory_and_only_its_own() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    let resident = || {
        let rows = world.must(&["list", "--json"]).stdout;
        let rows: serde_json::Value = serde_json::from_str(&rows).expect("JSON");
        rows[0]["resident_bytes"].clone()
    };
    let row = || world.must(&["list"]).stdout.lines().last().expect("a row").to_string();
    if cfg!(target_os = "linux") {
        let pid = world.read(".local/share/machine/lima/hello/qemu.pid");
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("a process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        let kibibytes: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
        assert_eq!(resident().as_u64(), Some(kibibytes * 1024));
        let shown = format!("{} MiB", (kibibytes + 512) / 1024);
        assert_eq!(row().matches(&shown).count(), if shown == "0 MiB" { 2 } else { 1 }, "{}", row());
    }
    // After a crash of the host, QEMU's pid may be that of any program.
    let stranger = world.start(world.command("sleep").arg("60"));
    let qemu = world.read(".local/share/machine/lima/hello/qemu.pid");
    world.write(".local/share/machine/lima/hello/qemu.pid", stranger.pid().to_string());
    assert!(row().starts_with("hello    ready  2     4 GiB   -         40 GiB"), "{}", row());
    stranger.kill();
    world.write(".local/share/machine/lima/hello/qemu.pid", qemu);
    world.must(&["down", "hello"]);
    assert!(resident().is_null());
}

#[test]
fn nothing_at_all_starts_nothing() {
    let world = World::new();
    assert_snapshot!(world.run(&["list"]), @"
    exit code 0
    --- stderr
    no projects yet; make one: `machine up NAME`
    ");
    assert_eq!(world.effects(), "");
}

#[test]
fn a_machine_without_a_project_is_an_orphan() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.must(&["down", "hello"]);
    world.configure("[other]\n");
    assert_snapshot!(without_resident(&world.run(&["ls"]).to_string()), @"
    exit code 0
    --- stdout
    PROJECT  STATE    CPUS  MEMORY  DISK    ALLOCATED  SESSIONS  IDLE  LAST USED  PORTS
    hello    stopped  2     4 GiB   40 GiB  0 MiB      0         -     just now
    other    none     2     4 GiB   40 GiB  -          0         -     -
    --- stderr
    hello: its project is gone from the configuration; delete it: `machine destroy hello`
    ");
}

#[test]
fn help_and_completion_start_no_program() {
    let world = World::new();
    world.configure("[blog]\n[books]\n[hello]\n");
    for args in [&["--help"][..], &["up", "--help"], &["--version"], &["completions", "bash"], &["man"]] {
        let outcome = world.must(args);
        assert!(!outcome.stdout.is_empty() && outcome.stderr.is_empty(), "{outcome}");
    }
    let mut command = world.machine(&["--", "machine", "up", "b"]);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
    assert_snapshot!(world.finish(&mut command), @"
    exit code 0
    --- stdout
    blog
    books
    ");
    assert_eq!(world.effects(), "");
}

#[test]
fn completion_offers_commands_by_their_names() {
    let world = World::new();
    let offered = |word: &str| {
        let mut command = world.machine(&["--", "machine", word]);
        command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "1").env("_CLAP_IFS", "\n");
        let outcome = world.finish(&mut command);
        outcome.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = offered("");
    for name in ["up", "ssh", "run", "down", "list"] {
        assert!(all.iter().any(|line| line == name), "{name}: {all:?}");
    }
    assert!(
        !all.iter().any(|line| ["start", "shell", "exec", "stop", "ls"].contains(&line.as_str())),
        "{all:?}"
    );
    // Whoever types another name gets that.
    assert_eq!(offered("star"), ["start"]);
}

#[test]
fn completion_knows_machines_whose_project_is_gone_and_survives_a_broken_file() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    world.configure("[blog]\nmemory = 12\n[bad\n");
    world.effects();
    let mut command = world.machine(&["--", "machine", "ssh", ""]);
    command.env("COMPLETE", "fish");
    let outcome = world.finish(&mut command);
    assert!(outcome.stdout.lines().any(|line| line == "hello"), "{outcome}");
    assert_eq!((outcome.code, world.effects()), (0, String::new()));
}

/// The help up to its exit codes, and from there on.
fn help() -> (String, String) {
    let outcome = World::new().must(&["--help"]);
    let codes = outcome.stdout.find("Exit codes:").expect("exit codes");
    (outcome.stdout[..codes].to_string(), outcome.stdout[codes..].to_string())
}

#[test]
fn help_lists_the_daily_commands_first() {
    assert_snapshot!(help().0, @"
    A virtual machine of its own for every project, driven through Lima

    Usage: machine [OPTIONS] <COMMAND>

    Daily:
      up           Bring projects up: from nothing, stopped, half-built or running to ready [start]
      ssh          Open a login shell in the project's first repository, starting the machine if it is stopped [shell]
      run          Run a command in the project's first repository; its exit code is passed on [exec]
      down         Stop machines; disks are kept [stop]
      sleep        Put machines to sleep: no memory, and everything in them goes on when they wake
      secrets      Fill the guest's memory with the project's secrets anew, empty it, or list names and ages
      list         List every project and machine [ls]
      status       Show all that is known of a project and its machine; run its profiles' checks again

    Projects and this computer:
      init         Write a commented configuration, and let ssh know our hosts
      profiles     List the profiles that projects can name, or write a new one
      keys         See and change what a machine may use of the ssh-agent, and what it has asked of it
      ports        List a project's ports, open and close them on this computer
      diff         Compare what a machine was made from with what the configuration says now
      rebuild      Make a fresh machine from today's configuration, in the place of the one that is there
      destroy      Delete a machine, after showing what would be lost
      prune        Delete machines that were not used for long, each as `destroy` does
      box          See, fill, empty and carry the cache of boxes that machines start from
      bake         Build the box of a project's stack ahead of its machine; the same as `box bake`
      trust        Allow a repository's own files what they ask for beyond their machine; list it, take it back
      doctor       Check this computer, and say what to mend
      uninstall    Undo what `machine` added to this computer, and name what stays

    Around it:
      boundary     Show what crosses between this computer and a machine, each channel tried now
      export       Print a project as one file for plain Lima, which needs no `machine`
      lima         Run Lima's own command line on our machines
      completions  Print the completion script of a shell
      man          Print the manual page

    Options:
          --config <DIR>  Folder with projects.toml, instead of the repository's or ~/.config/machine
                          [env: MACHINE_CONFIG_DIR]
      -v, --verbose       Print every command that is run
      -q, --quiet         Print warnings and errors only
      -y, --yes           Take the default answer of questions that lose nothing
          --no-wait       Fail with exit code 4 instead of waiting for another `machine`
      -h, --help          Print help
      -V, --version       Print version
    ");
}

#[test]
fn help_ends_with_the_exit_codes() {
    assert_snapshot!(help().1, @"
    Exit codes:
      0    done
      1    the operation failed
      2    usage or configuration
      3    refused to lose work (see `machine destroy --help`)
      4    busy: another `machine` holds this project (with --no-wait), or sessions
           are open (`down` without a terminal)
      5    configuration not trusted
      125  `machine` failed before the guest command of `run` or `ssh` started;
           otherwise that command's own code
      130  interrupted

    Start with `machine up NAME`, in a git repository or anywhere. `machine man` prints the manual.
    ");
}

#[test]
fn without_a_command_there_is_help_and_code_2() {
    assert_eq!(World::new().run(&[]).code, 2);
}

#[test]
fn manual_pages_are_written_one_a_command() {
    let world = World::new();
    world.make_folder(&world.home("man"));
    world.must(&["man", "--dir", "man"]);
    let mut names: Vec<String> = fs::read_dir(world.home("man"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(
        ["machine.1", "machine-up.1", "machine-profiles.1", "machine-profiles-new.1"]
            .iter()
            .all(|page| names.iter().any(|name| name == page)),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.contains("connect")), "{names:?}");
}

#[test]
fn root_is_refused_with_the_reason() {
    if !is_root() {
        skip("only root can be refused");
        return;
    }
    let world = World::new();
    let mut command = world.machine(&["list"]);
    std::os::unix::process::CommandExt::uid(&mut command, 0);
    std::os::unix::process::CommandExt::gid(&mut command, 0);
    assert_snapshot!(world.finish(&mut command), @"
    exit code 2
    --- stderr
    error: `machine` does not run as root: Lima refuses it, and your keys are not root's
    hint: run it as the user whose projects these are
    ");
    assert_eq!(world.effects(), "");
}
