//! A project is written down where there is none: from a repository, from an address.

use insta::assert_snapshot;

use crate::world::World;

/// A world with a git repository, whose origin is this.
fn with_repository(origin: &str) -> World {
    let world = World::new();
    world.write(".config/machine/provision.toml", "base = false\n");
    let folder = world.home("src/blog");
    world.make_folder(&folder.join("deep"));
    for args in [&["init", "-q"][..], &["remote", "add", "origin", origin]] {
        let done = world.command("/usr/bin/git").args(args).current_dir(&folder).status().expect("git");
        assert!(done.success());
    }
    world.write("src/blog/Cargo.lock", "");
    world
}

/// `machine`, started below the repository's root.
fn inside(world: &World, args: &[&str]) -> crate::outcome::Outcome {
    world.finish(world.machine(args).current_dir(world.home("src/blog/deep")))
}

#[test]
fn a_repository_is_registered_with_yes_and_not_without() {
    let world = with_repository("git@github.com:you/blog.git");
    assert_snapshot!(inside(&world, &["up"]), @"
    exit code 2
    --- stderr
    error: no project describes this repository, you/blog
    hint: register it: `machine up blog --yes`
    ");
    assert!(!world.home(".config/machine/projects.toml").exists());
    world.effects();
    let outcome = inside(&world, &["up", "--yes"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(
        outcome.stderr.starts_with("wrote project `blog` (you/blog) to `~/.config/machine/projects.toml`\n"),
        "{outcome}"
    );
    let text = world.read(".config/machine/projects.toml");
    assert!(
        text.contains("\n[blog]\nrepos = [\"git@github.com:you/blog.git\"]\nprofiles = [\"rust\"]\n"),
        "{text}"
    );
    // From now on the folder is enough.
    assert_eq!(inside(&world, &["up"]).stderr, "blog is ready.   machine ssh blog\n");
    assert_eq!(
        inside(&world, &["run", "--", "pwd"]).stdout.lines().next().map(|line| line.ends_with("/code/blog")),
        Some(true)
    );
}

#[test]
fn a_repository_can_get_another_name() {
    let world = with_repository("https://github.com/you/Blog.Site.git");
    let outcome = inside(&world, &["up", "site", "--yes"]);
    assert!(outcome.stderr.starts_with("wrote project `site` (you/Blog.Site) to"), "{outcome}");
    assert!(world.read(".config/machine/projects.toml").contains("\n[site]\n"));
}

#[test]
fn an_address_is_registered() {
    let world = World::new();
    world.write(".config/machine/provision.toml", "base = false\n");
    let outcome = world.must(&["up", "git@github.com:you/blog.git"]);
    assert!(
        outcome.stderr.starts_with("wrote project `blog` (you/blog) to `~/.config/machine/projects.toml`\n"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("✓ repos     you/blog → ~/code/blog T s\n"), "{outcome}");
    let text = world.read(".config/machine/projects.toml");
    // The same address, however written, is the same project.
    assert_eq!(
        world.must(&["up", "ssh://git@github.com/you/blog"]).stderr,
        "blog is ready.   machine ssh blog\n"
    );
    assert_eq!(world.read(".config/machine/projects.toml"), text);
    assert_snapshot!(world.run(&["up", "git@github.com:me/blog.git"]), @"
    exit code 2
    --- stderr
    error: `blog` would be its name, but another project has that
    hint: write it into projects.toml yourself, under another name
    ");
}

#[test]
fn hostile_addresses_are_refused_and_nothing_is_written() {
    let world = World::new();
    let addresses = [
        "ext::sh -c id",
        "http://github.com/you/blog",
        "file:///etc",
        "../blog",
        "-oProxyCommand=x:y",
        "https://you:hunter2@github.com/you/blog",
        "git@github.com:",
        "git@-x:you/blog",
    ];
    for address in addresses {
        let outcome = world.run(&["up", "--", address]);
        assert_eq!(outcome.code, 2, "{address}\n{outcome}");
        assert!(outcome.stderr.starts_with("error: PROJECT: "), "{address}\n{outcome}");
        assert!(!outcome.stderr.contains("hunter2"), "{outcome}");
    }
    assert_eq!(world.effects(), "");
    assert!(!world.home(".config/machine/projects.toml").exists());
}

#[test]
fn a_remote_that_cannot_be_used_is_an_error_that_says_why() {
    let world = with_repository("https://you:hunter2@github.com/you/blog.git");
    let by_name = inside(&world, &["up", "blog", "--yes"]).to_string();
    for args in [&["up", "--yes"][..], &["init", "--here"]] {
        assert_eq!(inside(&world, args).to_string(), by_name);
    }
    assert_snapshot!(by_name, @"
    exit code 2
    --- stderr
    error: the remote `origin` of `~/src/blog`: expected a repository such as `git@github.com:you/blog.git`, got `https://***@github.com/you/blog.git`: credentials do not belong in an address; did you mean `https://github.com/you/blog.git`?
    hint: change it: `git remote set-url origin git@host:you/name.git`
    hint: or give the address to clone from: `machine up ADDRESS`
    ");
    let remotes = [
        ("http://github.com/you/blog", "did you mean `https://github.com/you/blog`?"),
        ("git://github.com/you/blog", "did you mean `https://github.com/you/blog`?"),
        ("/srv/blog.git", "a folder of the host is not shared with the machine"),
        ("https://github.com/you/blog?x=1", "its path has `?`"),
        ("https://hunter2@github.com/you/blog", "credentials do not belong in an address"),
    ];
    for (remote, reason) in remotes {
        let world = with_repository(remote);
        let outcome = inside(&world, &["up", "blog", "--yes"]);
        assert_eq!(outcome.code, 2, "{remote}\n{outcome}");
        assert!(outcome.stderr.contains(reason) && !outcome.stderr.contains("hunter2"), "{outcome}");
        assert!(!world.home(".config/machine/projects.toml").exists(), "{remote}");
    }
    assert!(!world.home(".config/machine/projects.toml").exists());
    assert!(!world.home("src/blog/.machine").exists());
}

#[test]
fn a_remote_that_git_cannot_read_is_no_missing_one() {
    let world = with_repository("git@github.com:you/blog.git");
    world.write("src/blog/.git/config", "[remote\n");
    assert_snapshot!(inside(&world, &["up", "blog", "--yes"]), @"
    exit code 2
    --- stderr
    error: the remote `origin` of `~/src/blog` cannot be read
    caused by: `git config` failed with exit code 128: fatal: bad config line 1 in file .git/config
    hint: look: `git -C '~/src/blog' remote -v`
    ");
    assert!(!world.home(".config/machine/projects.toml").exists());
}

#[test]
fn a_repository_without_a_remote_is_as_no_repository() {
    let world = with_repository("git@github.com:you/blog.git");
    world.write("src/blog/.git/config", "");
    assert_snapshot!(inside(&world, &["init", "--here"]), @"
    exit code 2
    --- stderr
    error: the repository `~/src/blog` has no remote `origin`
    hint: add one: `git remote add origin git@host:you/name.git`
    ");
    let outcome = inside(&world, &["up", "blog"]);
    assert!(outcome.stderr.starts_with("wrote project `blog` (an empty project) to"), "{outcome}");
}

#[test]
fn another_project_keeps_its_comments() {
    let world = with_repository("git@github.com:you/blog.git");
    world.write(".config/machine/projects.toml", "# mine\n[other] # the other one\ncpus = 1\n");
    let outcome = inside(&world, &["up", "blog", "--yes"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let text = world.read(".config/machine/projects.toml");
    assert!(
        text.starts_with("# mine\n[other] # the other one\ncpus = 1\n") && text.contains("\n[blog]\n"),
        "{text}"
    );
}

#[test]
fn an_unknown_name_where_there_are_projects_is_an_error() {
    let world = World::new();
    world.configure("[blog]\n[website]\n");
    assert_snapshot!(world.run(&["up", "blgo"]), @"
    exit code 2
    --- stderr
    error: there is no project `blgo` in `~/.config/machine/projects.toml`
    hint: did you mean `blog`?
    ");
    assert_snapshot!(world.run(&["ssh", "shop"]), @r#"
    exit code 2
    --- stderr
    error: there is no project `shop` in `~/.config/machine/projects.toml`
    hint: add it: a line `[shop]` in that file, with `repos = ["…"]` below it if it has any
    "#);
    assert_snapshot!(world.run(&["up"]), @"
    exit code 2
    --- stderr
    error: which project? none is named, and the current folder belongs to none
    hint: one of: blog, website
    ");
    assert_eq!(world.effects(), "");
}

#[test]
fn a_repositorys_own_file_is_found_from_below_it() {
    let world = with_repository("git@github.com:you/blog.git");
    assert_snapshot!(inside(&world, &["init", "--here"]).stderr, @"
    wrote `~/src/blog/.machine/projects.toml`
    wrote `~/src/blog/.machine/provision.toml`
    the project may use your ssh-agent, as that file says; to take it back: `machine trust revoke PATH`
    added `Include config.d/machine` at the top of `~/.ssh/config`
    ");
    let text = world.read("src/blog/.machine/projects.toml");
    assert!(text.contains("\n[blog]\n") && text.contains("\nrepos = [\".\"]\n"), "{text}");
    world.write("src/blog/.machine/provision.toml", "base = false\n");
    let outcome = inside(&world, &["up"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    // A machine remembers its file: from anywhere, by its name.
    assert_eq!(world.must(&["up", "blog"]).stderr, "blog is ready.   machine ssh blog\n");
    assert_eq!(world.must(&["down", "blog"]).code, 0);
    assert_eq!(world.must(&["up", "blog"]).code, 0);
}
