//! The script itself, run on repositories in a folder that stands for a guest's home.
//!
//! Enters: a shell line that fills that folder. Leaves: what the script says of it.

use super::{Inventory, inventory_script};
use crate::process::{Cmd, Interrupt, Runner};

/// What is said of a home folder that `setup` has filled; `away` is a bare repository that plays another computer.
fn answer(setup: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a home folder");
    let variables = [("PATH", "/usr/bin:/bin"), ("GIT_CONFIG_NOSYSTEM", "1")];
    let mut env: Vec<_> = variables.map(|(name, value)| (name.into(), value.into())).into();
    env.push(("HOME".into(), home.into()));
    let runner = Runner::new(env, Interrupt::default(), None);
    let run = |script: String| {
        let cmd = Cmd::new("bash").arg("-s").input(script);
        runner.read(&cmd).unwrap_or_else(|failure| panic!("{setup}\n{failure:?}")).text()
    };
    run(format!("set -e\ncd ~\n{HELP}\n{setup}\n"));
    run(inventory_script("M"))
}

/// `from_away FOLDER` makes a clone whose address is another computer's.
const HELP: &str = r#"
exec >/dev/null
git config --global init.defaultBranch main
git config --global user.name n
git config --global user.email e
git config --global protocol.file.allow always
git init --bare ../away.git
commit() { git -C "$1" commit --allow-empty -m "$2"; }
from_away() {
  git clone ../away.git "$1"
  git -C "$1" remote set-url origin git@example.com:you/away.git
}
git init seed; commit seed first; git -C seed push ../../away.git main; rm -rf seed
"#;

/// The same, as a person is told it.
fn told(setup: &str) -> String {
    let answer = answer(setup);
    Inventory::parse(&answer, "M").unwrap_or_else(|| panic!("incomplete: {answer}")).to_string()
}

/// The lines for repositories, without their examples.
fn at_risk(setup: &str) -> Vec<String> {
    told(setup).lines().filter(|line| !line.starts_with("   ")).map(|line| line.trim().to_string()).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_another_computer_has_is_not_at_risk() {
    assert_eq!(at_risk("from_away code/blog; mkdir -p code/none/.git; git init code/new"), NOTHING);
    let looked = Inventory::parse(&answer("from_away code/blog; from_away .config/nvim"), "M");
    assert_eq!(looked.expect("whole").looked_at, 2);
}

#[test]
fn files_stashes_and_commits_are_told_with_examples() {
    let setup = "from_away blog; cd blog; echo 1 >a; git add a; commit . 'my work'; echo 2 >a; git stash
        echo 3 >a; echo x >b";
    let told = told(setup);
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(lines[0], "~/blog: 1 modified, 1 untracked, 1 stashed, 1 unpushed");
    assert!(lines[1].ends_with(" my work") && lines[2..] == ["a", "b"], "{told}");
}

#[test]
fn work_trees_are_found_wherever_they_are() {
    let hidden = "from_away code/blog; cd code/blog; git worktree add --detach ~/.codex/worktrees/1/blog
        commit ~/.codex/worktrees/1/blog detached; echo x >~/.codex/worktrees/1/blog/new";
    let mut found = at_risk(hidden);
    found.sort();
    assert_eq!(found, ["~/.codex/worktrees/1/blog: 1 untracked", "~/code/blog: 1 unpushed"]);
    let outside = "from_away code/blog; git -C code/blog worktree add ../../../away.tree
        echo x >../away.tree/new; mkdir -p .cache; git -C code/blog worktree add ~/.cache/tree; echo x >.cache/tree/new";
    let found = at_risk(outside);
    assert!(found.len() == 2 && found[0].starts_with('/'), "{found:?}");
    assert!(found[0].ends_with("/away.tree: 1 untracked"), "{found:?}");
    assert_eq!(found[1], "~/.cache/tree: 1 untracked");
    let gone = "from_away blog; git -C blog worktree add ../tree; commit tree x; rm -rf tree";
    assert_eq!(at_risk(gone), ["~/blog: 1 unpushed"]);
}

#[test]
fn commits_are_told_once_for_all_work_trees() {
    let setup =
        "from_away a/blog; git -C a/blog worktree add ~/b; commit b x; commit a/blog y; touch a/blog/f b/f";
    let mut found = at_risk(setup);
    found.sort();
    let unpushed = found.iter().filter(|line| line.ends_with(", 2 unpushed")).count();
    assert!(found.len() == 2 && unpushed == 1, "{found:?}");
}

#[test]
fn a_branch_counts_whatever_is_checked_out() {
    let orphan = "from_away blog; cd blog; git switch -c work; commit . work; git switch --orphan gh-pages";
    assert_eq!(at_risk(orphan), ["~/blog: 1 unpushed"]);
    let detached = "from_away blog; cd blog; git switch --detach; commit . x; commit . y";
    assert_eq!(at_risk(detached), ["~/blog: 2 unpushed"]);
}

#[test]
fn every_place_for_work_is_looked_at_and_caches_are_not() {
    let local = |folder: &str| at_risk(&format!("git init {folder}; commit {folder} x"));
    for folder in ["a/b/c/d/e/f/g/h/i", ".dotfiles", ".config/nvim", ".local/share/chezmoi", "'a b'"] {
        let name = folder.trim_matches('\'');
        assert_eq!(local(folder), [format!("~/{name}: 1 unpushed")], "{folder}");
    }
    for folder in [".cache/x", ".cargo/git/x", ".local/share/nvim/x", "go/pkg/mod/x", "code/node_modules/x"] {
        assert_eq!(local(folder), NOTHING, "{folder}");
    }
    let home = "git init; echo .gitconfig >.gitignore; git add .gitignore; commit . x; git config status.showUntrackedFiles no
        echo x >>.gitignore; echo x >note; git init code/blog";
    assert_eq!(at_risk(home), ["~: 1 modified, 1 unpushed"]);
}

#[test]
fn of_a_bare_repository_its_refs_count() {
    assert_eq!(
        at_risk("from_away x; commit x y; git clone --bare x srv.git; rm -rf x"),
        ["~/srv.git: 2 unpushed"]
    );
    let mirror = "git clone --mirror ../away.git m; git -C m remote set-url origin https://example.com/m.git";
    assert_eq!(at_risk(mirror), NOTHING);
    let beside = "git clone --bare ../away.git lay/.bare; echo 'gitdir: ./.bare' >lay/.git; cd lay
        git remote set-url origin https://example.com/a.git
        git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
        git update-ref refs/remotes/origin/main main; git worktree add main; commit main x; echo x >main/new";
    let found = at_risk(beside).join("; ");
    assert!(found.contains("~/lay/main: 1 untracked") && found.matches("1 unpushed").count() == 1, "{found}");
}

#[test]
fn a_remote_in_the_guest_is_none() {
    let pushed = |url: &str| {
        at_risk(&format!(
            "from_away blog; cd blog; git remote add own {url}; commit . x
            git update-ref refs/remotes/own/main HEAD; git config remote.own.fetch +refs/heads/*:refs/remotes/own/*"
        ))
    };
    let here =
        ["/srv/x.git", "../x.git", "file:///srv/x.git", "ssh://dev@localhost/x", "http://127.0.0.1:3000/x"];
    for url in here {
        assert_eq!(pushed(url), ["~/blog: 1 unpushed"], "{url}");
    }
    for url in ["git@example.com:x.git", "https://example.com/x:y", "ssh://git@example.com:22/x"] {
        assert_eq!(pushed(url), NOTHING, "{url}");
    }
    let both = "from_away blog; commit blog x; git -C blog update-ref refs/remotes/origin/main HEAD
        git -C blog remote set-url --push origin ../away.git";
    assert_eq!(at_risk(both), ["~/blog: 2 unpushed"]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let unreadable = |setup: &str| Inventory::parse(&answer(setup), "M").expect("whole").unreadable;
    let lost = "from_away blog; git -C blog worktree add ../tree; rm -rf blog";
    assert_eq!(unreadable(lost), ["~/tree"]);
    let inside = "git init; from_away blog; git init blog/sub; commit blog/sub x; rm blog/sub/.git/HEAD";
    assert_eq!(unreadable(inside), ["~/blog/sub"], "it is not taken for the one around it");
    let torn = "from_away blog; commit blog x; find blog/.git/objects -type f -delete";
    assert_eq!(unreadable(torn), ["~/blog"]);
    assert_eq!(unreadable("from_away blog"), NOTHING);
}
