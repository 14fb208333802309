//! `destroy` looks before it deletes, and leaves nothing.

use insta::assert_snapshot;

use crate::world::World;

const BLOG: &str = "[blog]\nrepos = [\"git@github.com:you/blog.git\"]\nsetup = false\n";

/// A world with the machine `blog` and a clean clone in it.
fn ready() -> World {
    let world = World::new();
    world.configure(BLOG);
    world.must(&["up", "blog"]);
    world.effects();
    world
}

/// Makes the clone in the guest dirty.
fn dirty(world: &World) {
    let script =
        "echo draft >notes.md && git -c user.name=n -c user.email=e commit -q --allow-empty -m 'my work'";
    world.must(&["run", "blog", "--", "bash", "-c", script]);
    world.effects();
}

fn exists(world: &World) -> bool {
    world.home(".local/share/machine/lima/blog/disk").exists()
}

#[test]
fn work_at_risk_without_a_terminal_is_refused() {
    let world = ready();
    dirty(&world);
    let before = tree(&world);
    assert_snapshot!(world.run(&["destroy", "blog"]), @"
    exit code 3
    --- stderr
    ✓ look      1 repository looked at T s
    warning: work in `blog` that exists nowhere else:
      ~/code/blog: 1 untracked, 1 unpushed
          commit ID my work
          notes.md
    error: nobody can be asked here, so nothing was deleted
    hint: to delete it all the same: `machine destroy blog --discard`
    ");
    assert_snapshot!(world.effects(), @"
    limactl list
    ssh ask
    ");
    assert_eq!(world.run(&["destroy", "blog", "--yes"]).code, 3);
    assert_eq!(tree(&world), before);
}

/// All files but the locks, which say who held them last.
fn tree(world: &World) -> Vec<String> {
    world.tree().lines().filter(|line| !line.contains("/locks/")).map(String::from).collect()
}

#[test]
fn a_clean_machine_goes_with_yes_and_not_without() {
    let world = ready();
    assert_snapshot!(world.run(&["destroy", "blog"]), @"
    exit code 3
    --- stderr
    ✓ look      1 repository looked at T s
    error: nobody can be asked here, so nothing was deleted
    hint: to delete it all the same: `machine destroy blog --yes`
    ");
    assert!(exists(&world));
    world.effects();
    assert_snapshot!(world.run(&["destroy", "blog", "--yes"]), @"
    exit code 0
    --- stderr
    ✓ look      1 repository looked at T s
    ✓ look      1 repository looked at T s
    ✓ destroy   blog is gone; its project is still configured T s
    ");
    assert_snapshot!(world.effects(), @"
    limactl list
    ssh ask
    limactl list
    ssh ask
    ssh close master
    limactl list
    limactl stop blog
    limactl delete -f blog
    ");
    assert!(!exists(&world));
}

#[test]
fn discard_deletes_with_the_work_in_it() {
    let world = ready();
    dirty(&world);
    assert_snapshot!(world.run(&["destroy", "blog", "--discard"]), @"
    exit code 0
    --- stderr
    ✓ look      1 repository looked at T s
    warning: work in `blog` that exists nowhere else:
      ~/code/blog: 1 untracked, 1 unpushed
          commit ID my work
          notes.md
    ✓ look      1 repository looked at T s
    ✓ destroy   blog is gone; its project is still configured T s
    ");
    assert!(!exists(&world));
}

#[test]
fn a_stopped_machine_is_started_to_look() {
    let world = ready();
    dirty(&world);
    world.must(&["down", "blog"]);
    world.effects();
    assert_eq!(world.run(&["destroy", "blog", "--yes"]).code, 3);
    assert_snapshot!(world.effects(), @"
    limactl list
    limactl list
    limactl start --timeout=30m blog
    ssh open master, agent lent
    ssh ask
    limactl list
    ssh close master
    limactl stop blog
    ");
    assert!(exists(&world));
    // It is down by hand, as before.
    let outcome = world.run(&["connect", "blog"]);
    assert!(outcome.stderr.contains("`blog` was put down by hand"), "{outcome}");
}

#[test]
fn a_machine_that_cannot_be_asked_needs_another_word() {
    let world = ready();
    world.knob("mute-guest", "");
    assert_snapshot!(world.run(&["destroy", "blog", "--discard"]), @"
    exit code 3
    --- stderr
    warning: it is not known what is in `blog`: `ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'bash -s' <<'N bytes'` failed: exit status: 255
    error: will not delete a machine that cannot be asked
    hint: to delete it all the same: `machine destroy blog --discard-unseen`
    ");
    assert!(exists(&world));
    assert_snapshot!(world.run(&["destroy", "blog", "--discard-unseen"]), @"
    exit code 0
    --- stderr
    warning: it is not known what is in `blog`: `ssh -F ~/.local/share/machine/s/ID/config -T -o ControlMaster=no guest -- 'bash -s' <<'N bytes'` failed: exit status: 255
    ✓ destroy   blog is gone; its project is still configured T s
    ");
    assert!(!exists(&world));
}

#[test]
fn a_machine_that_does_not_start_can_be_deleted_unseen() {
    let world = ready();
    world.must(&["down", "blog"]);
    world.knob("fail-start", "");
    assert_snapshot!(world.run(&["destroy", "blog", "--yes"]), @"
    exit code 3
    --- stderr
    warning: it is not known what is in `blog`: `LIMA_HOME=~/.local/share/machine/lima limactl --tty=false --log-format=json start --timeout=30m blog` failed: Working on it
    exiting, status={Running:false Exiting:true Errors:[qemu died]}
    error: will not delete a machine that cannot be asked
    hint: to delete it all the same: `machine destroy blog --discard-unseen`
    ");
    assert!(exists(&world));
    assert_eq!(world.run(&["destroy", "blog", "--discard-unseen"]).code, 0);
    assert!(!exists(&world));
}

#[test]
fn unseen_does_not_mean_unasked() {
    let world = ready();
    dirty(&world);
    let outcome = world.run(&["destroy", "blog", "--discard-unseen"]);
    assert_eq!(outcome.code, 3, "a machine that can be asked is asked\n{outcome}");
    assert!(exists(&world));
}

#[test]
fn nothing_of_the_machine_is_left() {
    let world = World::new();
    world.configure("[other]\n");
    world.must(&["up", "other"]);
    world.must(&["down", "other"]);
    world.configure(&format!("{BLOG}[other]\n"));
    let before = names(&world);
    world.must(&["up", "blog"]);
    world.must(&["run", "blog", "--", "true"]);
    world.must(&["destroy", "blog", "--yes"]);
    let after = names(&world);
    let added: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(added, [".local/state/machine/git_known_hosts", ".local/state/machine/locks/blog"]);
    assert!(!world.read(".ssh/config.d/machine").contains("blog"));
    assert_eq!(world.run(&["destroy", "blog", "--yes"]).code, 1);
    world.must(&["up", "blog"]);
}

/// The paths below the home folder, without what differs from machine to machine.
fn names(world: &World) -> Vec<String> {
    world.tree().lines().filter_map(|line| line.split(' ').nth(1)).map(String::from).collect()
}

#[test]
fn a_machine_that_lima_has_lost_is_forgotten() {
    let world = ready();
    world.must(&["down", "blog"]);
    std::fs::remove_dir_all(world.home(".local/share/machine/lima/blog")).expect("removed");
    assert_snapshot!(world.run(&["destroy", "blog", "--yes"]), @"
    exit code 0
    --- stderr
    ✓ destroy   blog is gone; its project is still configured T s
    ");
    assert!(!world.home(".local/state/machine/machines/blog").exists());
}

#[test]
fn a_machine_that_is_not_there() {
    let world = World::new();
    world.configure(BLOG);
    assert_snapshot!(world.run(&["destroy", "blog"]), @"
    exit code 1
    --- stderr
    error: the project `blog` has no machine yet
    hint: make it: `machine up blog`
    ");
    assert_snapshot!(world.run(&["destroy", "blgo"]), @"
    exit code 2
    --- stderr
    error: there is no project `blgo` in `~/.config/machine/projects.toml`
    hint: did you mean `blog`?
    ");
}

#[test]
fn a_damaged_record_does_not_keep_a_machine_for_ever() {
    let world = ready();
    world.configure("");
    world.write(".local/state/machine/machines/blog/machine.json", "{");
    let outcome = world.run(&["destroy", "blog", "--yes"]);
    assert_eq!(outcome.code, 0, "neither `up` nor `destroy` can do anything about it\n{outcome}");
    assert!(!exists(&world));
}

#[test]
fn a_repository_that_cannot_be_read_is_named() {
    let world = ready();
    let script = "mkdir ~/torn && git init -q ~/torn && rm ~/torn/.git/HEAD";
    world.must(&["run", "blog", "--", "bash", "-c", script]);
    assert_snapshot!(world.run(&["destroy", "blog", "--discard"]), @"
    exit code 3
    --- stderr
    ✓ look      1 repository looked at T s
    warning: git cannot read these in `blog`, so what is in them is not known:
      ~/torn
    error: nobody can be asked here, so nothing was deleted
    hint: to delete it all the same: `machine destroy blog --discard-unseen`
    ");
    dirty(&world);
    let outcome = world.run(&["destroy", "blog", "--discard-unseen"]);
    assert_eq!(outcome.code, 3, "what is not read does not answer for what was\n{outcome}");
    assert!(outcome.stderr.contains("`machine destroy blog --discard --discard-unseen`"), "{outcome}");
    assert_eq!(world.run(&["destroy", "blog", "--discard", "--discard-unseen"]).code, 0);
    assert!(!exists(&world));
}

#[test]
fn unseen_asks_a_machine_that_runs_without_a_connection() {
    let world = ready();
    dirty(&world);
    let uuid = std::fs::read_dir(world.home(".local/share/machine/s")).expect("its sockets").next();
    let config = uuid.expect("one machine").expect("a folder").path().join("config");
    let ssh =
        world.command(world.path("bin/ssh")).arg("-F").arg(config).args(["-O", "exit", "guest"]).status();
    assert!(ssh.expect("ssh").success());
    let outcome = world.run(&["destroy", "blog", "--discard-unseen"]);
    assert_eq!(outcome.code, 3, "{outcome}");
    assert!(outcome.stderr.contains("~/code/blog: 1 untracked"), "{outcome}");
    assert!(exists(&world));
}
