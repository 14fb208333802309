//! The project's repositories: cloned whole or not at all, set up once in each fresh clone.
//!
//! Enters: validated repositories. Leaves: bash for `session`, run as the login user, the agent lent for the clone.

use super::shell::quote;
use crate::model::{Repo, Setup};

/// Clones into `~/code/DIR` by way of a temporary name, so that an interrupted clone is never taken for a whole one.
pub fn clone_script(repo: &Repo) -> String {
    let branch =
        repo.branch.as_ref().map_or_else(String::new, |branch| format!("--branch {} ", quote(branch)));
    let (dir, url) = (quote(&repo.dir), quote(repo.url.as_str()));
    format!(
        "set -euo pipefail\n\
         export GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=https:ssh GIT_SSH_COMMAND='ssh -o BatchMode=yes -o ConnectTimeout=20 -o StrictHostKeyChecking=yes'\n\
         mkdir -p ~/code\ncd ~/code\n[ ! -e {dir} ] || exit 0\n\
         rm -rf .cloning-{dir}\n\
         git clone --progress {branch}-- {url} .cloning-{dir} </dev/null\n\
         mv -T .cloning-{dir} {dir}\n"
    )
}

/// Sets a fresh clone up, then leaves a note of it in `.git`; `None` when there is nothing to do.
pub fn setup_script(repo: &Repo, is_first: bool, setup: &Setup) -> Option<String> {
    let work = match setup {
        Setup::Commands(lines) if is_first => lines.iter().map(|line| run(line)).collect(),
        Setup::None | Setup::Commands(_) => return None,
        Setup::ByLockFile => BY_LOCK_FILE.to_string(),
    };
    let dir = quote(&repo.dir);
    Some(format!(
        "set -euo pipefail\ncd ~/code/{dir}\nrun() {{\n  echo \"machine-setup: $1\"\n  bash -euo pipefail -c \"$1\" </dev/null\n}}\n\
         {work}: >.git/machine-setup\n"
    ))
}

fn run(line: &str) -> String {
    format!("run {}\n", quote(line))
}

/// The first lock file that fits decides for its language. A tool that is missing is named, not an error: the clone
/// is whole, and the profile that brings the tool may come later.
const BY_LOCK_FILE: &str = r#"
tool() {
  command -v "$1" >/dev/null && return
  echo "machine-setup: skipped, $1 is not installed here: $2"
  return 1
}
if [ -f package-lock.json ] || [ -f npm-shrinkwrap.json ]; then
  ! tool npm "npm ci" || run "npm ci"
elif [ -f pnpm-lock.yaml ]; then
  ! tool corepack "pnpm install" || run "corepack pnpm install --frozen-lockfile"
elif [ -f yarn.lock ]; then
  ! tool corepack "yarn install" || run "corepack yarn install --immutable || corepack yarn install --frozen-lockfile"
elif [ -f bun.lock ] || [ -f bun.lockb ]; then
  ! tool bun "bun install" || run "bun install --frozen-lockfile"
fi
if [ -f uv.lock ]; then
  ! tool uv "uv sync" || run "uv sync --frozen"
fi
if [ -f Cargo.lock ]; then
  ! tool cargo "cargo fetch" || run "cargo fetch --locked"
fi
if [ -f go.mod ]; then
  ! tool go "go mod download" || run "go mod download"
fi
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn repo() -> Repo {
        Repo {
            url: "git@github.com:you/blog.git".parse().expect("a URL"),
            dir: "blog".into(),
            branch: Some("next".into()),
        }
    }

    #[test]
    fn a_clone_appears_whole_or_not_at_all() {
        let script = clone_script(&repo());
        assert!(script.contains(
            "git clone --progress --branch 'next' -- 'git@github.com:you/blog.git' .cloning-'blog'"
        ));
        assert!(script.ends_with("mv -T .cloning-'blog' 'blog'\n"));
        assert!(!script.contains("StrictHostKeyChecking=no"));
    }

    #[test]
    fn configured_commands_run_in_the_first_repository_only() {
        let setup = Setup::Commands(vec!["npm ci && echo 'x'".into()]);
        let script = setup_script(&repo(), true, &setup).expect("something to do");
        assert!(script.contains(r"run 'npm ci && echo '\''x'\'''"));
        assert_eq!(setup_script(&repo(), false, &setup), None);
        assert_eq!(setup_script(&repo(), true, &Setup::None), None);
        assert!(setup_script(&repo(), false, &Setup::ByLockFile).is_some());
    }
}
