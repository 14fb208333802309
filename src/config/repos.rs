//! The key `repos`: addresses, folders and branches.
//!
//! Enters: the value of `repos`. Leaves: the repositories. Must not know whether they exist.

use super::Repo;
use super::project::Judge;
use super::walk::{Schema, Table, Value, Walk};
use crate::model::{RepoUrl, is_folder_name};

const EXPECTED: &str = "an address such as `git@github.com:you/blog.git`, or a table with `url`";
const REPO: Schema =
    Schema { what: "a repository", keys: &["url", "dir", "branch"], later: &[], elsewhere: &[] };

/// Reads `repos`; `None` when that is no list.
pub(super) fn read_repos(value: &Value<'_>, judge: Judge<'_>, walk: &mut Walk<'_>) -> Option<Vec<Repo>> {
    let mut repos: Vec<Repo> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    for item in value.items("a list of addresses", walk)? {
        let Some((repo, at)) = read_repo(&item, judge, walk) else { continue };
        // Compared without case, as the folders may lie on a disk that ignores it.
        let same = repos.iter().position(|earlier| earlier.dir.eq_ignore_ascii_case(&repo.dir));
        if let Some(same) = same {
            let (line, column) = walk.source.position(places[same]);
            at.fault(
                &format!("the folder `{}` is taken by the repository at {line}:{column}", repo.dir),
                walk,
            );
            walk.problems.hint("give one of them another folder: `{ url = \"…\", dir = \"NAME\" }`");
            continue;
        }
        places.push(at.span.start);
        repos.push(repo);
    }
    Some(repos)
}

/// A repository and the value that decides its folder.
fn read_repo<'t>(item: &Value<'t>, judge: Judge<'_>, walk: &mut Walk<'_>) -> Option<(Repo, Value<'t>)> {
    if !item.is_table() {
        let url = read_url(item, EXPECTED, judge, walk)?;
        return Some((Repo { dir: url.default_dir(), url, branch: None }, item.clone()));
    }
    let table: Table<'t> = item.table(EXPECTED, walk)?;
    table.check_keys(&REPO, walk);
    let branch = table.get("branch").map(|value| value.checked("the name of a branch", is_branch, walk));
    let dir = table
        .get("dir")
        .map(|value| (value.checked("the name of one folder, without `/`", is_folder_name, walk), value));
    let Some(url) = table.get("url") else {
        item.fault("it has no `url`", walk);
        return None;
    };
    let address = read_url(&url, "an address such as `git@github.com:you/blog.git`", judge, walk)?;
    let (dir, place) = match dir {
        Some((dir, place)) => (dir?, place),
        None => (address.default_dir(), url),
    };
    Some((Repo { url: address, dir, branch: branch.flatten() }, place))
}

fn read_url(value: &Value<'_>, expected: &str, judge: Judge<'_>, walk: &mut Walk<'_>) -> Option<RepoUrl> {
    if value.text(expected, walk)? == "." {
        return read_own(value, judge, walk);
    }
    value.parse(expected, walk)
}

/// `.` is the repository that the file lies in.
fn read_own(value: &Value<'_>, judge: Judge<'_>, walk: &mut Walk<'_>) -> Option<RepoUrl> {
    let Some(repository) = judge.repository else {
        value.fault("`.` is the repository that a projects.toml lies in, and this one lies in none", walk);
        return None;
    };
    if repository.origin.is_none() {
        value.fault("`.` is the repository's remote `origin`, and it has none that can be used", walk);
        walk.problems.hint("give it one: `git remote add origin git@github.com:you/blog.git`");
    }
    repository.origin.clone()
}

/// The rules of `git check-ref-format` that keep a name from being an option, a range or a reflog entry.
fn is_branch(text: &str) -> bool {
    let is_odd = |character: char| character.is_control() || " ~^:?*[\\".contains(character);
    let is_lock = |part: &str| part.rsplit_once('.').is_some_and(|(_, end)| end == "lock");
    let is_odd_part =
        |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || is_lock(part);
    let has_odd = text.starts_with('-') || text.contains("..") || text.contains("@{") || text == "@";
    !has_odd && !text.contains(is_odd) && !text.split('/').any(is_odd_part)
}
