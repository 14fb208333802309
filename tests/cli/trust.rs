//! What a repository's files may do by themselves, what is asked, what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use insta::{allow_duplicates, assert_snapshot};

use crate::claims::{inside, repository};
use crate::world::World;

const ORIGIN: Option<&str> = Some("git@github.com:you/blog.git");
const FILE: &str = "src/blog/.machine/projects.toml";
const STORE: &str = ".local/state/machine/trust.json";

fn with(projects: &str) -> World {
    let world = World::new();
    repository(&world, "src/blog", ORIGIN, projects);
    world
}

/// `machine` in the repository.
fn run(world: &World, args: &[&str]) -> crate::outcome::Outcome {
    inside(world, "src/blog", args)
}

#[test]
fn what_reaches_nothing_else_loads_by_itself() {
    let world = with(
        "[defaults]\nshell = \"zsh\"\n[blog]\nrepos = [\".\"]\nprofiles = [\"python\"]\ncpus = 1\nmemory = \"1GiB\"\n\
         disk = \"20GiB\"\nenv = { A = \"1\" }\nsetup = [\"true\"]\nforward_agent = false\n",
    );
    let outcome = run(&world, &["up", "--dry-run", "--no-cache"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(!world.home(STORE).exists());
    // Unless it asks, a repository's file is not lent the agent.
    world.write(FILE, "[blog]\nrepos = [\".\"]\nsetup = false\n");
    assert_eq!(run(&world, &["up", "--no-cache"]).code, 0);
    assert!(
        world.read(".local/state/machine/machines/blog/machine.json").contains("\"forward_agent\": false")
    );
}

#[test]
fn what_reaches_further_is_shown_and_refused_without_a_terminal() {
    let world = with(
        "[blog]\nrepos = [\".\", \"git@git.corp:secret/plans.git\", \"https://github.com/you/theme\"]\n\
         profiles = [\"own\", \"rust\"]\nmemory = \"4TiB\"\ndisk = \"2TiB\"\nforward_agent = true\n\
         image = \"ubuntu-24.04\"\n",
    );
    world.write("src/blog/.machine/profiles/own/profile.toml", "apt = [\"jq\"]\n");
    world.write(".config/machine/config.toml", "accelerator = \"tcg\"\n[caps]\nmemory = \"1GiB\"\n");
    world.write(FILE, world.read(FILE).replace("4TiB", "2GiB"));
    world.log_taken();
    assert_snapshot!(run(&world, &["up", "--yes"]), @"
    exit code 5
    --- stderr
    error: `~/src/blog/.machine/projects.toml` asks for more than the machine of the project `blog` of `github.com/you/blog`:
      repos: `git@git.corp:secret/plans.git` is cloned, with what your ssh-agent may read
      repos: `https://github.com/you/theme` is cloned, with what your ssh-agent may read
      profiles: the profile `own` is the repository's own, not one of `machine`
      memory: 2 GiB are more than the 1 GiB of your caps
      disk: 2 TiB are more than the 100 GiB of your caps
      forward_agent: clones and sessions may use your ssh-agent
      image: the machine is made from the image `ubuntu-24.04`
    hint: to allow it, once you have read it: `machine trust ~/src/blog/.machine/projects.toml`
    ");
    assert_snapshot!(world.effects(), @"git what is origin");
    for verb in [&["up", "--dry-run"][..], &["export"], &["bake"], &["box", "bake"]] {
        assert_eq!(run(&world, verb).code, 5, "{verb:?}");
    }
    assert!(!world.home(STORE).exists() && !world.home(".local/share/machine/lima").exists());
}

#[test]
fn a_yes_holds_for_what_the_file_said() {
    let world = with("[blog]\nrepos = [\".\"]\nforward_agent = true\nsetup = false\n");
    assert_snapshot!(run(&world, &["trust", ".", "--dry-run"]), @"
    exit code 0
    --- stdout
    `~/src/blog/.machine/projects.toml` asks for more than the machine of the project `blog` of `github.com/you/blog`:
      forward_agent: clones and sessions may use your ssh-agent
    ");
    assert!(!world.home(STORE).exists());
    assert_snapshot!(run(&world, &["trust", "."]), @"
    exit code 0
    --- stderr
    `~/src/blog/.machine/projects.toml` asks for more than the machine of the project `blog` of `github.com/you/blog`:
      forward_agent: clones and sessions may use your ssh-agent
    allowed; to take it back: `machine trust revoke PATH`
    ");
    assert_eq!(fs::metadata(world.home(STORE)).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_snapshot!(run(&world, &["trust", FILE.trim_start_matches("src/blog/")]), @"
    exit code 0
    --- stderr
    `.machine/projects.toml` is trusted already
    ");
    assert_eq!(run(&world, &["up", "--no-cache"]).code, 0);
    // Comments and layout are not what it says.
    world.write(FILE, "# mine\n[blog]\nsetup = false\nforward_agent=true\nrepos = [\n  \".\",\n]\n");
    assert_eq!(run(&world, &["up"]).code, 0);
    world.write(FILE, "[blog]\nrepos = [\".\"]\nforward_agent = true\nsetup = [\"evil\"]\n");
    assert_snapshot!(run(&world, &["up"]), @r#"
    exit code 5
    --- stderr
    error: `~/src/blog/.machine/projects.toml` asks for more than the machine of the project `blog` of `github.com/you/blog`:
      forward_agent: clones and sessions may use your ssh-agent
    what has changed since you allowed it:
      - projects.toml: blog.setup = false
      + projects.toml: blog.setup = ["evil"]
    hint: to allow it, once you have read it: `machine trust ~/src/blog/.machine/projects.toml`
    "#);
    assert_snapshot!(world.run(&["trust", "list"]), @"
    exit code 0
    --- stdout
    PROJECT  REPOSITORY           ASKS FOR       STATE    FILE
    blog     github.com/you/blog  forward_agent  changed  ~/src/blog/.machine/projects.toml
    ");
    // The same file at another place is another question.
    repository(&world, "copy", ORIGIN, "[blog]\nrepos = [\".\"]\nforward_agent = true\nsetup = false\n");
    assert_eq!(inside(&world, "copy", &["up"]).code, 5);
}

#[test]
fn boundary_says_what_a_repositorys_file_has() {
    let world = with("[blog]\nrepos = [\".\"]\nforward_agent = true\nsetup = false\n");
    assert_eq!(run(&world, &["trust", "."]).code, 0);
    assert_eq!(run(&world, &["up", "--no-cache"]).code, 0);
    world.knob("probe-answer", "");
    let said = || {
        let outcome = run(&world, &["boundary"]);
        let line = outcome.stdout.lines().find(|line| line.contains(" repository-file "));
        line.unwrap_or_else(|| panic!("{outcome}")).to_string()
    };
    assert_snapshot!(said(), @"· repository-file    open by `forward_agent` in `~/src/blog/.machine/projects.toml`: a file of the repository, which you have allowed; `machine trust list` shows it");
    world.must(&["trust", "revoke", "src/blog"]);
    assert_snapshot!(said(), @"✓ repository-file    closed: the repository's file asks for forward_agent, which `up` refuses until you have said yes");
    fs::set_permissions(world.home(STORE), fs::Permissions::from_mode(0o666)).expect("open to all");
    assert_snapshot!(said(), @"✗ repository-file    FAILED: `~/.local/state/machine/trust.json` could have been written by somebody else");
}

#[test]
fn trust_is_listed_and_taken_back() {
    let world = with("[blog]\nrepos = [\".\"]\nforward_agent = true\nsetup = false\n");
    assert_eq!(
        world.must(&["trust"]).stderr,
        "no repository's file is trusted with more than its own machine\n"
    );
    assert_eq!(world.must(&["trust", "list", "--json"]).stdout, "[]\n");
    world.must(&["trust", "src/blog"]);
    assert_snapshot!(world.run(&["trust"]), @"
    exit code 0
    --- stdout
    PROJECT  REPOSITORY           ASKS FOR       STATE    FILE
    blog     github.com/you/blog  forward_agent  trusted  ~/src/blog/.machine/projects.toml
    ");
    let document = world.must(&["trust", "list", "--json"]).stdout;
    assert_eq!(world.must(&["trust", "--json"]).stdout, document);
    assert_snapshot!(document.lines().filter(|line| !line.contains("since")).collect::<Vec<_>>().join("\n"), @r#"
    [
      {
        "project": "blog",
        "repository": "github.com/you/blog",
        "file": "~/src/blog/.machine/projects.toml",
        "keys": [
          "forward_agent"
        ],
        "sha256": "HASH",
        "state": "trusted"
      }
    ]
    "#);
    assert_eq!(run(&world, &["up", "--no-cache"]).code, 0);
    let lent = |world: &World| {
        world.log_taken();
        assert_eq!(run(world, &["run", "--", "true"]).code, 0);
        world.effects().contains("ssh session, agent lent")
    };
    assert!(lent(&world));
    assert_snapshot!(world.run(&["trust", "revoke", "src/blog", "--dry-run"]), @"
    exit code 0
    --- stdout
    blog  ~/src/blog/.machine/projects.toml
    ");
    assert!(lent(&world));
    assert_snapshot!(world.run(&["trust", "revoke", "src/blog"]), @"
    exit code 0
    --- stdout
    blog  ~/src/blog/.machine/projects.toml
    --- stderr
    no longer trusted: its machines are lent no key, and what of your secrets they had is taken from them
    ");
    assert!(!lent(&world), "no session lends the agent any more");
    assert_eq!(run(&world, &["up"]).code, 5);
    assert_snapshot!(world.run(&["trust", "revoke", "--all"]), @"
    exit code 1
    --- stderr
    error: nothing is trusted there
    hint: see what is: `machine trust list`
    ");
}

#[test]
fn keys_that_are_held_are_taken_back_with_the_trust() {
    let world = with("[blog]\nrepos = [\".\"]\nforward_agent = true\nsetup = false\n");
    world.must(&["trust", "src/blog"]);
    assert_eq!(run(&world, &["up", "--no-cache"]).code, 0);
    assert_eq!(run(&world, &["keys", "hold"]).code, 0);
    assert!(world.must(&["list"]).stderr.contains("keys are held"));
    world.must(&["trust", "revoke", "src/blog"]);
    assert!(!world.must(&["list"]).stderr.contains("keys are held"));
    assert_snapshot!(run(&world, &["keys", "hold"]), @"
    exit code 1
    --- stderr
    error: `blog` is lent no key since it was last brought up
    hint: if its files allow it now: `machine up blog`
    ");
}

#[test]
fn what_is_the_users_to_give_is_an_error_in_a_repository() {
    let world = with(
        "[defaults]\nhost_access = true\n[blog]\nrepos = [\".\"]\nkeep_awake = true\nallow = [\"10.0.0.0/8\"]\n\
         lan_access = true\nidle = { after = \"1m\" }\n\
         [blog.secrets]\nA = { command = [\"sh\", \"-c\", \"touch ~/evil\"] }\n\
         [shop.image.amd64]\nlocation = \"/etc/passwd\"\n",
    );
    assert_snapshot!(run(&world, &["up"]), @r#"
    exit code 5
    --- stderr
    error: projects.toml:2:1: `host_access` is not a repository's to give: it belongs in your own projects.toml
      2 | host_access = true
        | ^^^^^^^^^^^
    error: projects.toml:5:1: `keep_awake` is not a repository's to give: it belongs in your own projects.toml
      5 | keep_awake = true
        | ^^^^^^^^^^
    error: projects.toml:6:1: `allow` is not a repository's to give: it belongs in your own projects.toml
      6 | allow = ["10.0.0.0/8"]
        | ^^^^^
    error: projects.toml:7:1: `lan_access` is not a repository's to give: it belongs in your own projects.toml
      7 | lan_access = true
        | ^^^^^^^^^^
    error: projects.toml:8:1: `idle` is not a repository's to give: it belongs in your own projects.toml
      8 | idle = { after = "1m" }
        | ^^^^
    error: projects.toml:9:7: `secrets` is not a repository's to give: it belongs in your own projects.toml
      9 | [blog.secrets]
        |       ^^^^^^^
    error: projects.toml:11:7: image: an image's location is not a repository's to give: it belongs in your own projects.toml
      11 | [shop.image.amd64]
         |       ^^^^^
    hint: a table of the same name without `repos` in your own projects.toml lies over the repository's
    hint: edit `~/src/blog/.machine/projects.toml`
    "#);
    // Also for who has said yes to what can be allowed.
    assert_eq!(run(&world, &["trust", "."]).code, 5);
    assert!(!world.home(STORE).exists() && !world.home("evil").exists());
}

#[test]
fn the_users_table_gives_nothing_to_a_repository_that_took_its_name() {
    let world = with("[blog]\nrepos = [\".\"]\nsetup = false\n");
    world.write(".config/machine/projects.toml", "[blog]\ncpus = 1\n");
    assert_eq!(run(&world, &["up", "--no-cache"]).code, 0, "a size gives nothing away");
    world.write(".config/machine/projects.toml", "[blog]\nforward_agent = true\nenv = { TOKEN = \"x\" }\n");
    assert_snapshot!(run(&world, &["up"]), @"
    exit code 5
    --- stderr
    error: `~/src/blog/.machine/projects.toml` asks for more than the machine of the project `blog` of `github.com/you/blog`:
      overlay: your own table `[blog]` in `~/.config/machine/projects.toml` gives it `forward_agent`, `env`
    hint: to allow it, once you have read it: `machine trust ~/src/blog/.machine/projects.toml`
    ");
    world.must(&["trust", "src/blog"]);
    assert_eq!(run(&world, &["up"]).code, 0);
    // That yes is for this repository, not for the next one of the name.
    repository(
        &world,
        "src/evil",
        Some("git@github.com:evil/x.git"),
        "[blog]\nrepos = [\".\"]\nsetup = false\n",
    );
    fs::remove_dir_all(world.home(".local/state/machine/machines")).expect("removed");
    assert_eq!(inside(&world, "src/evil", &["up"]).code, 5);
}

#[test]
fn a_file_that_others_could_have_written_is_not_read() {
    let world = with("[blog]\n");
    let file = world.home(FILE);
    let chmod = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("mode");
    for mode in [0o664, 0o646] {
        chmod(mode);
        allow_duplicates! { assert_snapshot!(run(&world, &["up"]), @"
        exit code 2
        --- stderr
        error: `~/src/blog/.machine/projects.toml` can be changed by other users
        hint: take that away: `chmod go-w ~/src/blog/.machine/projects.toml`
        "); }
    }
    chmod(0o644);
    world.write(FILE, format!("[blog]\n{}", "#".repeat(64 << 10)));
    assert_snapshot!(run(&world, &["up"]), @"
    exit code 2
    --- stderr
    error: `~/src/blog/.machine/projects.toml` is larger than 64 KiB
    ");
    world.write("real.toml", "[blog]\n");
    fs::remove_file(&file).expect("removed");
    symlink(world.home("real.toml"), &file).expect("a link");
    assert_snapshot!(run(&world, &["up"]), @"
    exit code 2
    --- stderr
    error: `~/src/blog/.machine/projects.toml` is a symbolic link, which a repository's file may not be
    ");
    assert!(run(&world, &["trust", ".machine/projects.toml"]).code != 0);
    // The folder as a link.
    fs::rename(world.home("src/blog/.machine"), world.home("machine")).expect("moved");
    symlink(world.home("machine"), world.home("src/blog/.machine")).expect("a link");
    assert_snapshot!(run(&world, &["up"]), @"
    exit code 5
    --- stderr
    error: `~/src/blog/.machine` is not read: a link leads to it, which a repository's configuration may not be behind
    ");
}

#[test]
fn a_repository_below_a_folder_of_everybodys_is_not_read() {
    let world = World::new();
    // The tests' own folder lies in `/tmp`, outside of the home folder.
    let folder = world.path("shared/blog");
    world.make_folder(&folder.join(".git"));
    let file = world.write("projects.toml", "[blog]\n");
    fs::copy(file, folder.join("projects.toml")).expect("copied");
    let outcome = world.finish(world.machine(&["up"]).current_dir(&folder));
    assert_snapshot!(outcome, @"
    exit code 5
    --- stderr
    error: `<world>/shared/blog` is not read: everybody may write to `/tmp`
    ");
}

#[test]
fn a_damaged_store_trusts_nobody() {
    let world = with("[blog]\nforward_agent = true\n");
    world.must(&["trust", "src/blog"]);
    let text = world.read(STORE);
    world.write(STORE, &text[..text.len() / 2]);
    assert_snapshot!(run(&world, &["up"]).stderr.lines().last().unwrap_or_default(), @"hint: delete it, and everything is asked again: `rm ~/.local/state/machine/trust.json`");
    assert_eq!(run(&world, &["up"]).code, 5);
    world.write(STORE, text);
    fs::set_permissions(world.home(STORE), fs::Permissions::from_mode(0o622)).expect("mode");
    assert_snapshot!(run(&world, &["up"]), @"
    exit code 5
    --- stderr
    error: `~/.local/state/machine/trust.json` could have been written by somebody else
    hint: look at it, then: `rm ~/.local/state/machine/trust.json`; everything is asked again
    ");
}

#[test]
fn what_is_no_repositorys_needs_no_trust() {
    let world = with("[blog]\nrepos = [\".\"]\n");
    world.configure("[hello]\n");
    assert_snapshot!(world.run(&["trust", "src/blog"]), @"
    exit code 0
    --- stderr
    `src/blog` asks for nothing that needs trust
    ");
    assert_snapshot!(world.run(&["trust", ".config/machine/projects.toml"]), @"
    exit code 2
    --- stderr
    error: `.config/machine/projects.toml` is no projects.toml of a repository, nor in one that has any
    ");
    assert_snapshot!(world.run(&["trust", "nowhere"]), @"
    exit code 2
    --- stderr
    error: cannot look at `nowhere`: No such file or directory (os error 2)
    ");
}
