//! A repository whose own file claims the machine of somebody else: it gets none, whatever it says of itself.

use insta::assert_snapshot;

use crate::outcome::Outcome;
use crate::world::World;

const RECORD: &str = ".local/state/machine/machines/blog/machine.json";
const NO_BASE: &str = "base = false\n";

/// A git repository below the home folder, with a projects.toml of its own.
pub fn repository(world: &World, below: &str, origin: Option<&str>, projects: &str) {
    let folder = world.home(below);
    world.make_folder(&folder);
    let remote = origin.map(|url| vec!["remote", "add", "origin", url]);
    for args in [vec!["init", "-q"]].into_iter().chain(remote) {
        let done = world.command("/usr/bin/git").args(args).current_dir(&folder).status().expect("git");
        assert!(done.success());
    }
    world.write(&format!("{below}/.machine/projects.toml"), projects);
    world.write(&format!("{below}/.machine/provision.toml"), NO_BASE);
}

/// A world with the machine `blog` of the user's repository, whose remote is this.
fn with_blog(origin: Option<&str>) -> World {
    let world = World::new();
    let repos = if origin.is_some() { "repos = [\".\"]\n" } else { "" };
    repository(&world, "src/blog", origin, &format!("[blog]\n{repos}setup = false\n"));
    let outcome = inside(&world, "src/blog", &["up", "--no-cache"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    world.log_taken();
    world
}

pub fn inside(world: &World, below: &str, args: &[&str]) -> Outcome {
    world.finish(world.machine(args).current_dir(world.home(below)))
}

/// Every command that could reach the machine `blog` from within a folder is refused, and nothing is touched.
fn assert_out_of_reach(world: &World, below: &str) {
    let record = world.read(RECORD);
    let commands: [&[&str]; 10] = [
        &["ports"],
        &["up"],
        &["up", "blog", "--yes"],
        &["up", "--dry-run"],
        &["ssh"],
        &["run", "--", "true"],
        &["down", "--force"],
        &["rebuild", "blog", "--discard"],
        &["rebuild", "blog", "--dry-run"],
        &["diff"],
    ];
    for command in commands {
        let outcome = inside(world, below, command);
        assert_eq!(outcome.code, 5, "{command:?}\n{outcome}");
        assert!(
            outcome.stderr.starts_with("error: the machine `blog` belongs to "),
            "{command:?}\n{outcome}"
        );
    }
    let effects = world.effects();
    let is_question = |line: &str| line.starts_with("git ") || line == "limactl list";
    assert!(effects.lines().all(is_question), "{effects}");
    assert_eq!(world.read(RECORD), record);
}

#[test]
fn an_address_in_repos_claims_nothing() {
    let world = with_blog(Some("git@github.com:you/blog.git"));
    let theirs = "[blog]\nrepos = [\"git@github.com:you/blog.git\", \".\"]\n";
    repository(&world, "src/evil", Some("git@github.com:evil/x.git"), theirs);
    assert_out_of_reach(&world, "src/evil");
    assert_snapshot!(inside(&world, "src/evil", &["ssh"]), @"
    exit code 5
    --- stderr
    error: the machine `blog` belongs to the repository `github.com/you/blog` (`~/src/blog/.machine/projects.toml`), not to the repository `github.com/evil/x`
    hint: give this project another name in `~/src/evil/.machine/projects.toml`
    hint: or delete the machine, if nobody wants it: `machine destroy blog`
    ");
    assert_snapshot!(inside(&world, "src/evil", &["list"]).stderr, @"blog: the machine `blog` belongs to the repository `github.com/you/blog` (`~/src/blog/.machine/projects.toml`), not to the repository `github.com/evil/x`");
    // The user's own clone is as it was, also another one.
    repository(
        &world,
        "copy",
        Some("https://github.com/you/blog"),
        "[blog]\nrepos = [\".\"]\nsetup = false\n",
    );
    assert_eq!(inside(&world, "copy", &["run", "--", "true"]).code, 0);
    assert_eq!(inside(&world, "src/blog", &["run", "--", "true"]).code, 0);
}

#[test]
fn an_address_means_the_users_project_and_not_a_repositorys_that_lists_it() {
    let world = World::new();
    world.write(".config/machine/provision.toml", NO_BASE);
    let theirs = "[trap]\nrepos = [\"git@github.com:you/blog.git\"]\nsetup = [\"evil\"]\n";
    repository(&world, "src/evil", Some("git@github.com:evil/x.git"), theirs);
    let outcome = inside(&world, "src/evil", &["up", "git@github.com:you/blog.git"]);
    assert!(outcome.stderr.starts_with("wrote project `blog` (you/blog) to"), "{outcome}");
}

#[test]
fn repositories_without_a_remote_do_not_match_each_other() {
    let world = with_blog(None);
    repository(&world, "src/evil", None, "[blog]\n");
    assert_out_of_reach(&world, "src/evil");
    assert_snapshot!(inside(&world, "src/evil", &["up"]), @"
    exit code 5
    --- stderr
    error: the machine `blog` belongs to the repository `~/src/blog` (`~/src/blog/.machine/projects.toml`), not to the repository `~/src/evil`
    hint: give this project another name in `~/src/evil/.machine/projects.toml`
    hint: or delete the machine, if nobody wants it: `machine destroy blog`
    ");
}

#[test]
fn a_git_folder_that_is_none_has_not_the_remote_of_the_one_above() {
    let world = with_blog(Some("git@github.com:you/blog.git"));
    world.write("src/blog/vendor/a:b/.git/HEAD", "");
    world.write("src/blog/vendor/a:b/projects.toml", "[blog]\n");
    assert_out_of_reach(&world, "src/blog/vendor/a:b");
}

#[test]
fn the_machine_of_the_users_own_file_is_not_a_repositorys() {
    let world = World::new();
    world.configure("[blog]\nenv = { MINE = \"1\" }\n");
    world.must(&["up", "blog", "--no-cache"]);
    world.log_taken();
    repository(&world, "src/evil", Some("git@github.com:evil/x.git"), "[blog]\nrepos = [\".\"]\n");
    // The user's table lies over the repository's here, and its machine is the user's all the same.
    assert_out_of_reach(&world, "src/evil");
    assert_snapshot!(inside(&world, "src/evil", &["run", "--", "true"]), @"
    exit code 5
    --- stderr
    error: the machine `blog` belongs to `~/.config/machine/projects.toml`, not to the repository `github.com/evil/x`
    hint: give this project another name in `~/src/evil/.machine/projects.toml`
    hint: or delete the machine, if nobody wants it: `machine destroy blog`
    ");
    // By its name it is the user's from anywhere.
    assert_eq!(inside(&world, "src/evil", &["run", "blog", "--", "true"]).code, 0);
}

#[test]
fn a_table_that_lies_over_a_repositorys_is_no_project_of_its_own_elsewhere() {
    let world = with_blog(Some("git@github.com:you/blog.git"));
    world.write(".config/machine/projects.toml", "[blog]\ncpus = 1\n");
    assert_eq!(world.must(&["up", "blog", "--yes"]).code, 0);
    assert!(world.read(RECORD).contains("\"origin\": \"github.com/you/blog\""), "{}", world.read(RECORD));
    assert_eq!(world.must(&["run", "--", "true"]).code, 0);
}

#[test]
fn a_lost_record_is_nobodys_until_somebody_says_so() {
    let world = with_blog(Some("git@github.com:you/blog.git"));
    for lost in ["", "{\"schema\": 2"] {
        world.write(RECORD, lost);
        let outcome = inside(&world, "src/blog", &["up", "--yes"]);
        assert_eq!((outcome.code, world.read(RECORD).as_str()), (5, lost), "{outcome}");
    }
    assert_snapshot!(inside(&world, "src/blog", &["up"]), @"
        exit code 5
        --- stderr
        error: the record of the machine `blog` is lost, so it is not known whether it is that of the repository `github.com/you/blog`
        hint: say so on a terminal: `machine up blog`
        hint: or delete the machine, if nobody wants it: `machine destroy blog`
        ");
    assert!(!world.effects().contains("limactl st"), "nothing is started or stopped");
}

#[test]
fn a_folder_that_is_named_takes_no_machine_of_a_repository() {
    let world = with_blog(Some("git@github.com:you/blog.git"));
    repository(&world, "src/evil", Some("git@github.com:evil/x.git"), "[blog]\n");
    let config = world.home("src/evil/.machine").display().to_string();
    for command in [&["up", "blog", "--yes", "--config", &config][..], &["ssh", "--config", &config]] {
        let outcome = inside(&world, "src/evil", command);
        assert_eq!(outcome.code, 5, "{outcome}");
    }
    assert!(!world.effects().contains("ssh session"));
}

#[test]
fn a_folder_that_is_named_takes_the_users_machine_only_when_told() {
    let world = World::new();
    world.configure("[blog]\n");
    world.must(&["up", "blog", "--no-cache"]);
    world.write("other/projects.toml", "[blog]\n");
    world.write("other/provision.toml", NO_BASE);
    assert_snapshot!(world.run(&["up", "blog", "--config", "other"]), @"
    exit code 2
    --- stderr
    error: the machine `blog` belongs to `~/.config/machine/projects.toml`, not to `~/other/projects.toml`
    hint: give this project another name in `~/other/projects.toml`
    hint: or let the machine follow that file from now on: `machine up blog` asks
    ");
    assert_snapshot!(world.run(&["ssh", "--config", "other"]), @"
    exit code 2
    --- stderr
    error: the machine `blog` belongs to `~/.config/machine/projects.toml`, not to `~/other/projects.toml`
    hint: give this project another name in `~/other/projects.toml`
    hint: or let the machine follow that file from now on: `machine up blog` asks
    ");
    assert_eq!(world.run(&["up", "blog", "--config", "other", "--yes"]).code, 2);
    // Once the file of before is gone, the other one is where it went.
    std::fs::remove_file(world.home(".config/machine/projects.toml")).expect("removed");
    world.must(&["up", "blog", "--config", "other", "--yes"]);
    assert!(world.read(RECORD).contains("other/projects.toml"));
}

#[test]
fn a_record_of_before_is_its_repositorys() {
    let world = with_blog(Some("git@github.com:you/blog.git"));
    let old = world.read(RECORD).replace("\"schema\": 2", "\"schema\": 1");
    world.write(RECORD, old);
    assert_eq!(inside(&world, "src/blog", &["run", "--", "true"]).code, 0);
    assert_eq!(inside(&world, "src/blog", &["up"]).code, 0);
    assert!(world.read(RECORD).contains("\"schema\": 2"), "it is written anew");
}
