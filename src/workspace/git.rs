//! What the host's git says: a repository's remote, and the identity that commits.
//!
//! Enters: folders. Leaves: values. A repository's own configuration may be hostile, so only one key of it is read,
//! with everything off that could run a program.

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Kind, Result};
use crate::model::{GitIdentity, GitSettings, RepoUrl, Repository};
use crate::process::Cmd;

/// git answers in milliseconds, unless its configuration lies on a network that hangs.
const LIMIT: Duration = Duration::from_secs(15);

/// The repository at `root`. Its `.git` is named, as git would look for another one above a `.git` that is none. A remote
/// that cannot be used is as none here, since most commands need none; [`usable_origin`] says why.
pub fn repository_at(context: &Context, root: &Path) -> Repository {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    Repository { origin: read_origin(context, &root).ok().flatten(), root }
}

/// The remote `origin` of a repository, for those who would clone it; `None` when it has none.
///
/// # Errors
/// When it has one that cannot be used, or git cannot be asked.
pub fn usable_origin(context: &Context, repository: &Repository) -> Result<Option<RepoUrl>> {
    match &repository.origin {
        Some(origin) => Ok(Some(origin.clone())),
        None => read_origin(context, &repository.root),
    }
}

fn read_origin(context: &Context, root: &Path) -> Result<Option<RepoUrl>> {
    let safe = [
        "core.fsmonitor=false",
        "core.hooksPath=/dev/null",
        "core.pager=cat",
        "safe.bareRepository=explicit",
    ];
    let cmd = safe.iter().fold(Cmd::new("git"), |cmd, option| cmd.arg("-c").arg(option));
    let cmd =
        cmd.args(["--git-dir=.git", "config", "--local", "--no-includes", "--get", "remote.origin.url"]);
    let unread = |failure: Failure| {
        let kind = if failure.kind == Kind::Interrupted { failure.kind } else { Kind::Usage };
        failure.of_kind(kind).because(format!("the remote `origin` of `{}` cannot be read", root.display()))
    };
    let found = context.runner.read_any_status(&cmd.in_folder(root).time_limit(LIMIT)).map_err(unread)?;
    match found.code() {
        0 => {}
        // What git says of a key that is not there.
        1 => return Ok(None),
        code => {
            let said = found.tail.last().map_or_else(String::new, |line| format!(": {line}"));
            let failure = Failure::operation(format!("`git config` failed with exit code {code}{said}"));
            return Err(unread(failure).hint(format!("look: `git -C '{}' remote -v`", root.display())));
        }
    }
    found.text().trim().parse().map(Some).map_err(|cause| {
        Failure::usage(format!("the remote `origin` of `{}`: {cause}", root.display()))
            .hint("change it: `git remote set-url origin git@host:you/name.git`")
            .hint("or give the address to clone from: `machine up ADDRESS`")
    })
}

/// Who commits: config.toml first, then the host's own git.
pub(super) fn identity(context: &Context, settings: &GitSettings) -> Result<GitIdentity> {
    let host = host_settings(context);
    let value = |key: &str| host.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let name = settings.name.clone().or_else(|| value("user.name"));
    let email = settings.email.clone().or_else(|| value("user.email"));
    let by_ssh = value("gpg.format").as_deref() == Some("ssh");
    let signs =
        value("commit.gpgsign").is_some_and(|value| matches!(value.as_str(), "true" | "yes" | "on" | "1"));
    let signing_key = match (&settings.signing_key, key_from_environment(context)?) {
        (Some(key), _) => Some(key.clone()),
        (None, Some(key)) => Some(key),
        (None, None) if by_ssh && signs => value("user.signingkey").and_then(|key| public_key(context, &key)),
        (None, None) => None,
    };
    Ok(GitIdentity { name, email, signing_key })
}

/// The user's and the system's settings, from a folder that is no repository.
fn host_settings(context: &Context) -> Vec<(String, String)> {
    let pattern = r"^(user\.(name|email|signingkey)|gpg\.format|commit\.gpgsign)$";
    let cmd = Cmd::new("git").env("GIT_DIR", "/dev/null").args(["config", "-z", "--get-regexp", pattern]);
    // No git, or none of the keys: there is no identity, and the guest's git will say so itself.
    let Ok(found) = context.runner.read_any_status(&cmd.time_limit(LIMIT)) else { return Vec::new() };
    let text = found.text();
    let pairs = text.split('\0').filter_map(|entry| entry.split_once('\n'));
    pairs.map(|(key, value)| (key.to_lowercase(), value.to_string())).collect()
}

/// `GIT_SIGNING_KEY`, `OP_SIGNING_KEY_REF`, `GIT_SIGNING_PUBKEY_FILE`, in this order.
fn key_from_environment(context: &Context) -> Result<Option<String>> {
    let Some((name, value)) = context.signing_variables.first() else { return Ok(None) };
    let key = match name.as_str() {
        "OP_SIGNING_KEY_REF" => {
            let cmd =
                Cmd::new("op").args(["read", "--no-newline", value]).time_limit(Duration::from_secs(60));
            Some(context.runner.read(&cmd)?.text()).filter(|text| is_public_key(text))
        }
        _ => public_key(context, value),
    };
    key.map(|key| Some(key.trim().to_string())).ok_or_else(|| {
        Failure::usage(format!("{name}: expected a public ssh key, or the file of one"))
            .hint("for example `ssh-ed25519 AAAA…`, or `~/.ssh/id_ed25519.pub`")
    })
}

/// A key given as text, or the public half of one given as a file. A private key is never read further than its name.
fn public_key(context: &Context, given: &str) -> Option<String> {
    let given = given.strip_prefix("key::").unwrap_or(given).trim();
    if is_public_key(given) {
        return Some(given.to_string());
    }
    let path = given.strip_prefix("~/").map_or_else(|| given.into(), |rest| context.layout.home.join(rest));
    let public = if path.extension().is_some_and(|ending| ending == "pub") {
        path
    } else {
        let mut name = path.into_os_string();
        name.push(".pub");
        name.into()
    };
    let text = disk::read_text_if_there(&public).ok()??;
    is_public_key(&text).then(|| text.trim().to_string())
}

fn is_public_key(text: &str) -> bool {
    let mut words = text.trim().split(' ');
    let kinds = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let known = words.next().is_some_and(|kind| kinds.contains(&kind));
    known && words.next().is_some_and(|key| key.starts_with("AAAA")) && !text.trim().contains('\n')
}

#[cfg(test)]
mod tests {
    use super::is_public_key;

    #[test]
    fn only_public_keys_are_keys() {
        assert!(is_public_key("ssh-ed25519 AAAAC3Nz me@here\n"));
        assert!(!is_public_key("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(!is_public_key("ssh-ed25519 AAAAC3Nz\nssh-ed25519 AAAAC3Nz"));
        assert!(!is_public_key("~/.ssh/id_ed25519.pub"));
    }
}
