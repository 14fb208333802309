//! Tests of projects.toml: what is read from it, and how the files of a repository and of the user go together.
//!
//! Enters: files in a folder of their own. Leaves: nothing. Mistakes are next door, in `catalog_fault_tests`.

use std::path::PathBuf;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::config::testing::{host, put, report};
use crate::config::{Image, Setup, Shell};
use crate::failure::Kind;
use crate::model::ByteSize;

/// A repository's folder and the user's, each with a projects.toml where one is given.
struct Folders {
    dir: tempfile::TempDir,
    user: ConfigFolder,
    repository: Option<ConfigFolder>,
}

impl Folders {
    fn new(repository: Option<&str>, user: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let user_dir = dir.path().join("user");
        put(&user_dir, "projects.toml", user);
        let user = ConfigFolder { dir: user_dir, in_repository: false };
        let repository = repository.map(|text| {
            let folder = dir.path().join("blog/.machine");
            put(&folder, "projects.toml", text);
            ConfigFolder { dir: folder, in_repository: true }
        });
        Self { dir, user, repository }
    }

    fn load(&self) -> Result<Catalog> {
        self.load_with(Some("git@github.com:you/blog.git"), &host())
    }

    fn load_with(&self, origin: Option<&str>, host: &Host) -> Result<Catalog> {
        let origin = origin.map(|url| url.parse().unwrap());
        let repository = Repository { root: self.dir.path().join("blog"), origin };
        let found = self.repository.as_ref().map(|folder| (folder, &repository));
        load_catalog(&self.user, found, host, Caps::default())
    }

    fn report(&self) -> String {
        report(&self.load().unwrap_err(), self.dir.path())
    }
}

fn load(text: &str) -> Catalog {
    Folders::new(None, text).load().unwrap()
}

fn name(text: &str) -> ProjectName {
    text.parse().unwrap()
}

#[test]
fn no_file_is_an_empty_catalog() {
    let folder = ConfigFolder { dir: PathBuf::from("/no/such"), in_repository: false };
    assert_eq!(load_catalog(&folder, None, &host(), Caps::default()).unwrap(), Catalog::default());
}

#[test]
fn an_empty_table_is_a_project_with_the_defaults() {
    let catalog = load("[hello]\n");
    let hello = catalog.get(&name("hello")).unwrap();
    assert!(hello.repos.is_empty() && hello.profiles.is_empty() && hello.env.is_empty());
    assert_eq!((hello.cpus, hello.memory, hello.disk), (2, ByteSize::from_gib(4), ByteSize::from_gib(40)));
    assert_eq!((hello.shell, &hello.setup, hello.forward_agent), (Shell::Bash, &Setup::ByLockFile, true));
    assert_eq!((&hello.image, &hello.repository), (&None, &None));
    assert!(hello.file.ends_with("user/projects.toml"));
}

#[test]
fn the_defaults_fit_a_small_computer() {
    let small = |memory_bytes| Host { cpus: 1, memory_bytes, ..host() };
    let folders = Folders::new(None, "[a]\n");
    for (memory, expected) in
        [(Some(3 << 30), 1536), (Some(1 << 29), 512), (Some(8 << 30), 4096), (None, 4096)]
    {
        let catalog = folders.load_with(None, &small(memory)).unwrap();
        let project = catalog.get(&name("a")).unwrap();
        assert_eq!((project.cpus, project.memory.bytes()), (1, expected << 20));
    }
}

#[test]
fn every_key_is_read() {
    let catalog = load(
        r#"
        [defaults]
        memory = "1GiB"
        env = { A = "default", B = "default" }
        [blog]
        repos = [
          "git@github.com:you/blog.git",
          { url = "https://github.com/you/theme.git", dir = "look", branch = "next/one" },
        ]
        profiles = ["base"]
        cpus = 4
        disk = "60GiB"
        shell = "zsh"
        env = { A = "own" }
        setup = ["npm ci", "npm test"]
        forward_agent = false
        image = "ubuntu-24.04"
        [quiet]
        setup = false
        image = { arm64 = { location = "/srv/debian.raw" } }
        "#,
    );
    let blog = catalog.get(&name("blog")).unwrap();
    let repos: Vec<_> = blog
        .repos
        .iter()
        .map(|repo| (repo.url.as_str(), repo.dir.as_str(), repo.branch.as_deref()))
        .collect();
    assert_eq!(
        repos,
        [
            ("git@github.com:you/blog.git", "blog", None),
            ("https://github.com/you/theme.git", "look", Some("next/one"))
        ]
    );
    assert_eq!((blog.cpus, blog.memory, blog.disk), (4, ByteSize::from_gib(1), ByteSize::from_gib(60)));
    assert_eq!((blog.shell, blog.forward_agent, blog.profiles.len()), (Shell::Zsh, false, 1));
    assert_eq!(blog.setup, Setup::Commands(vec!["npm ci".into(), "npm test".into()]));
    let env: Vec<_> = blog.env.iter().map(|(key, value)| (key.as_ref(), value.as_str())).collect();
    assert_eq!(env, [("A", "own"), ("B", "default")]);
    assert_eq!(blog.image, Some(Image::Named("ubuntu-24.04".parse().unwrap())));
    let quiet = catalog.get(&name("quiet")).unwrap();
    assert_eq!(quiet.setup, Setup::None);
    assert!(matches!(&quiet.image, Some(Image::Custom(sources)) if sources.len() == 1));
    assert_eq!(catalog.names().map(ProjectName::as_str).collect::<Vec<_>>(), ["blog", "quiet"]);
    assert_eq!(catalog.suggest("blgo"), Some(&name("blog")));
    assert_eq!(catalog.suggest("shop"), None);
}

#[test]
fn a_repositorys_file_is_its_own_remote() {
    let folders = Folders::new(Some("[blog]\nrepos = [\".\"]\n"), "");
    let catalog = folders.load().unwrap();
    let blog = catalog.get(&name("blog")).unwrap();
    assert!(blog.repository.is_some() && blog.asks.is_empty() && !blog.forward_agent);
    assert_eq!(blog.repos[0].url.as_str(), "git@github.com:you/blog.git");
    let without = folders.load_with(None, &host()).unwrap_err();
    assert_eq!(without.kind, Kind::Usage);
    assert_snapshot!(report(&without, folders.dir.path()), @r#"
    error: DIR/blog/.machine/projects.toml:2:10: repos[0]: `.` is the repository's remote `origin`, and it has none that can be used
      2 | repos = ["."]
        |          ^^^
    hint: give it one: `git remote add origin git@github.com:you/blog.git`
    hint: edit `DIR/blog/.machine/projects.toml`
    "#);
}

/// What a repository's projects.toml asks for, a line each.
fn asks(repository: &str, user: &str) -> String {
    let folders = Folders::new(Some(repository), user);
    put(&folders.dir.path().join("blog/.machine"), "profiles/own/profile.toml", "");
    let catalog = folders.load().unwrap();
    let asks = &catalog.get(&name("blog")).unwrap().asks;
    let lines: Vec<String> = asks.iter().map(|ask| format!("{}: {}", ask.key, ask.what)).collect();
    lines.join("\n").replace(&folders.dir.path().display().to_string(), "DIR")
}

#[test]
fn a_repositorys_file_asks_for_what_reaches_further() {
    assert_snapshot!(asks(
        "[defaults]\nforward_agent = true\n[blog]\nrepos = [\".\", { url = \"https://GITHUB.com/you/blog\", dir = \"x\" }, \
         \"git@github.com:you/theme.git\"]\nprofiles = [\"own\", \"rust\"]\ncpus = 8\nmemory = \"12GiB\"\n\
         disk = \"200GiB\"\nimage = \"ubuntu-24.04\"\n",
        ""
    ), @"
    forward_agent: clones and sessions may use your ssh-agent
    repos: `git@github.com:you/theme.git` is cloned, with what your ssh-agent may read
    profiles: the profile `own` is the repository's own, not one of `machine`
    cpus: 8 processors are more than the 4 of your caps
    memory: 12 GiB are more than the 8 GiB of your caps
    disk: 200 GiB are more than the 100 GiB of your caps
    image: the machine is made from the image `ubuntu-24.04`
    ");
    let small = "[blog]\nrepos = [\".\"]\nprofiles = [\"rust\"]\ncpus = 4\nmemory = \"8GiB\"\ndisk = \"100GiB\"\n\
                 shell = \"fish\"\nenv = { A = \"1\" }\nsetup = false\nforward_agent = false\n";
    assert_eq!(asks(small, ""), "");
}

#[test]
fn the_users_table_answers_and_gives() {
    let repository = "[blog]\ncpus = 8\nforward_agent = true\n";
    assert_snapshot!(asks(repository, "[blog]\ncpus = 1\nforward_agent = false\nenv = { A = \"1\" }\n"), @"overlay: your own table `[blog]` in `DIR/user/projects.toml` gives it `forward_agent`, `env`");
    assert_eq!(asks("[blog]\ncpus = 8\n", "[blog]\ncpus = 8\nprofiles = []\n"), "");
}

#[test]
fn a_repositorys_file_says_nothing_that_is_the_users_to_say() {
    let folders = Folders::new(
        Some(
            "[blog]\nhost_access = true\n[blog.secrets]\nA = \"op://x/y/z\"\n[shop.image.amd64]\nlocation = \"/srv/x\"\n",
        ),
        "",
    );
    assert_eq!(folders.load().unwrap_err().kind, Kind::NotTrusted);
    assert_snapshot!(folders.report(), @"
    error: DIR/blog/.machine/projects.toml:2:1: `host_access` is not a repository's to give: it belongs in your own projects.toml
      2 | host_access = true
        | ^^^^^^^^^^^
    error: DIR/blog/.machine/projects.toml:3:7: `secrets` is not a repository's to give: it belongs in your own projects.toml
      3 | [blog.secrets]
        |       ^^^^^^^
    error: DIR/blog/.machine/projects.toml:5:7: image: an image's location is not a repository's to give: it belongs in your own projects.toml
      5 | [shop.image.amd64]
        |       ^^^^^
    hint: a table of the same name without `repos` in your own projects.toml lies over the repository's
    hint: edit `DIR/blog/.machine/projects.toml`
    ");
}

#[test]
fn the_users_table_lies_over_the_repositorys() {
    let folders = Folders::new(
        Some(
            "[defaults]\ncpus = 3\n[blog]\nrepos = [\".\"]\nmemory = \"1GiB\"\nenv = { A = \"1\", B = \"1\" }\n",
        ),
        "[defaults]\ncpus = 1\nenv = { PRIVATE = \"x\" }\n[blog]\nmemory = \"2GiB\"\nenv = { B = \"2\" }\n\
         image = { amd64 = { location = \"/srv/x\" } }\n",
    );
    let catalog = folders.load().unwrap();
    let blog = catalog.get(&name("blog")).unwrap();
    assert_eq!((blog.cpus, blog.memory, blog.repos.len()), (3, ByteSize::from_gib(2), 1));
    let env: Vec<_> = blog.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(env, ["A=1", "B=2"], "the user's defaults are for the user's own projects");
    assert!(blog.repository.is_some() && blog.file.ends_with("blog/.machine/projects.toml"));
    assert!(matches!(blog.image, Some(Image::Custom(_))));
}

#[test]
fn one_name_with_repositories_in_two_files() {
    let folders = Folders::new(
        Some("[blog]\nrepos = [\".\"]\n"),
        "[shop]\n\n[blog]\nrepos = [\"git@github.com:you/blog.git\"]\ncpus = 0\n",
    );
    assert_snapshot!(folders.report(), @"
    error: DIR/user/projects.toml:3:2: the project `blog` is also in DIR/blog/.machine/projects.toml:1:2
      3 | [blog]
        |  ^^^^
    error: DIR/user/projects.toml:5:8: cpus: expected at least 1, got `0`
      5 | cpus = 0
        |        ^
    hint: rename one of them, or leave `repos` out of yours: then it adds to the repository's
    hint: edit `DIR/user/projects.toml`
    ");
}

#[test]
fn both_files_are_judged_at_once() {
    let folders = Folders::new(Some("[blog]\ncpus = 0\n"), "[shop]\ncpus = 0\n");
    assert_snapshot!(folders.report(), @"
    error: DIR/blog/.machine/projects.toml:2:8: cpus: expected at least 1, got `0`
      2 | cpus = 0
        |        ^
    error: DIR/user/projects.toml:2:8: cpus: expected at least 1, got `0`
      2 | cpus = 0
        |        ^
    hint: edit `DIR/blog/.machine/projects.toml` and `DIR/user/projects.toml`
    ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_judged_without_a_panic(
        text in "(\\[(blog|defaults|blog\\.env|\\PC)\\]\n|(repos|cpus|memory|env|setup|image|x)( = |\\.)|\
                 [\\[\\]{},\n]|\"(4GiB|\\.|git@h:x|https://a@b/c|\\PC{0,3})\"|[0-9]{1,3}|true|false|url = ){0,40}",
    ) {
        for in_repository in [false, true] {
            let source = Source { label: "projects.toml".into(), path: PathBuf::new(), text: text.clone() };
            let folder = ConfigFolder { dir: PathBuf::from("/no/such"), in_repository };
            let repository = Repository { root: PathBuf::new(), origin: None };
            let repository = in_repository.then_some(&repository);
            let judge = Judge { host: &host(), repository, caps: Caps::default() };
            let file = ProjectsFile::read(&folder, &source, judge);
            let mut files = [file];
            join(&mut files);
            let _ = problem::check(&[(&source, &files[0].walk.problems)]);
        }
    }
}

#[test]
fn a_repositorys_file_opens_nothing() {
    let own = "host_access = true\nlan_access = true\nallow = [\"gitlab.corp:22\"]\n";
    let folders = Folders::new(Some(&format!("[blog]\nrepos = [\".\"]\n{own}")), "");
    assert_eq!(folders.load().unwrap_err().kind, Kind::NotTrusted);
    assert_snapshot!(folders.report(), @r#"
    error: DIR/blog/.machine/projects.toml:3:1: `host_access` is not a repository's to give: it belongs in your own projects.toml
      3 | host_access = true
        | ^^^^^^^^^^^
    error: DIR/blog/.machine/projects.toml:4:1: `lan_access` is not a repository's to give: it belongs in your own projects.toml
      4 | lan_access = true
        | ^^^^^^^^^^
    error: DIR/blog/.machine/projects.toml:5:1: `allow` is not a repository's to give: it belongs in your own projects.toml
      5 | allow = ["gitlab.corp:22"]
        | ^^^^^
    hint: a table of the same name without `repos` in your own projects.toml lies over the repository's
    hint: edit `DIR/blog/.machine/projects.toml`
    "#);
    let folders = Folders::new(Some("[blog]\nrepos = [\".\"]\n"), &format!("[blog]\n{own}"));
    let catalog = folders.load().unwrap();
    let blog = catalog.projects.values().next().unwrap();
    assert_eq!(blog.access.to_string(), "host_access, lan_access, gitlab.corp:22");
}

#[test]
fn a_repositorys_file_may_be_stricter_and_the_users_own_has_the_last_word() {
    let isolation = |theirs: &str, own: &str| {
        let folders = Folders::new(Some(&format!("[blog]\nrepos = [\".\"]\n{theirs}")), own);
        let blog = folders.load().unwrap().projects.into_values().next().unwrap();
        (blog.isolation.to_string(), blog.asks.len())
    };
    let (strict, standard) = ("isolation = \"strict\"\n", "isolation = \"standard\"\n");
    assert_eq!(isolation("", ""), ("standard".to_string(), 0));
    assert_eq!(isolation(strict, ""), ("strict".to_string(), 0));
    assert_eq!(isolation(standard, &format!("[blog]\n{strict}")), ("strict".to_string(), 0));
    let folders = Folders::new(None, "[blog]\nisolation = \"loose\"\n");
    folders.load().unwrap_err();
    assert_snapshot!(folders.report(), @r#"
    error: projects.toml:2:13: isolation: expected `standard` or `strict`, got `loose`
      2 | isolation = "loose"
        |             ^^^^^^^
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn doors_are_judged_where_they_stand() {
    let text = "[blog]\nhost_access = \"yes\"\nallow = [\"10.2.3.4/16\", \"*.corp\", \"a.corp:22\", \"a.corp:22\", 5]\n";
    assert_snapshot!(Folders::new(None, text).report(), @r#"
    error: projects.toml:2:15: host_access: expected `true` or `false`, got `"yes"`
      2 | host_access = "yes"
        |               ^^^^^
    error: projects.toml:3:10: allow[0]: `10.2.3.4/16` has bits behind its prefix; did you mean `10.2.0.0/16`?
      3 | allow = ["10.2.3.4/16", "*.corp", "a.corp:22", "a.corp:22", 5]
        |          ^^^^^^^^^^^^^
    error: projects.toml:3:25: allow[1]: `*.corp` is neither a host's name nor an IPv4 network
      3 | allow = ["10.2.3.4/16", "*.corp", "a.corp:22", "a.corp:22", 5]
        |                         ^^^^^^^^
    error: projects.toml:3:48: allow[3]: listed twice
      3 | allow = ["10.2.3.4/16", "*.corp", "a.corp:22", "a.corp:22", 5]
        |                                                ^^^^^^^^^^^
    error: projects.toml:3:61: allow[4]: expected a door such as `gitlab.corp:22` or `10.2.0.0/16`, got `5`
      3 | allow = ["10.2.3.4/16", "*.corp", "a.corp:22", "a.corp:22", 5]
        |                                                             ^
    hint: edit `DIR/user/projects.toml`
    "#);
}
