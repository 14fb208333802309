//! Looks at repositories from the host, before a machine boots: a typo or a locked agent is told at once.
//!
//! Enters: addresses. Leaves: how the guest will reach each host, or a failure. Uses what the guest will have: the
//! agent and pinned keys, no key files, no credential helpers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::{Context, path_named};
use crate::failure::{Failure, Result};
use crate::guest::{is_pinned, pinned_known_hosts};
use crate::model::{GitAccount, GitHost, Repo, Secret, Transport};
use crate::process::{Cmd, Finished, Runner};

/// A shell line that starts git with what it reads, a token, on descriptor 9, where only the helper below looks for it.
/// So the token is in no argument, no environment and no file.
const GIT_WITH_TOKEN: &str = "exec 9<&0 </dev/null; exec git \"$@\"";
const TOKEN_HELPER: &str = "!f() { test \"$1\" = get || exit 0; printf password=; cat <&9; echo; }; f";

/// Forgets the helpers that stand before it: the guest will not have them.
const NO_HELPER: [&str; 2] = ["-c", "credential.helper="];

/// How long one repository's answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What the host's ssh configuration makes of a name.
struct Resolved {
    hostname: String,
    port: u16,
    identity_agent: Option<PathBuf>,
}

/// How the guest reaches the hosts of all ssh repositories.
///
/// # Errors
/// When a host's key is neither bundled nor in the user's `known_hosts`: with the command that puts it there.
pub(super) fn git_hosts(context: &Context, repos: &[Repo]) -> Result<Vec<GitHost>> {
    let mut hosts: Vec<GitHost> = Vec::new();
    for repo in repos.iter().filter(|repo| repo.url.transport() == Transport::Ssh) {
        let account = GitAccount {
            // Where none is written, the guest's ssh takes its own.
            user: repo.url.user().unwrap_or("dev").into(),
            host: repo.url.host().into(),
            port: repo.url.port(),
        };
        let seen = hosts.iter_mut().find(|host| host.alias == account.host && account.port.is_none());
        match seen {
            Some(host) if host.users.contains(&account.user) => {}
            Some(host) => host.users.push(account.user),
            None => hosts.push(git_host(&context.runner, &context.layout.home, &account)?),
        }
    }
    Ok(hosts)
}

/// How an account's host is reached, as the ssh of this computer has it.
///
/// # Errors
/// When the host's key is neither bundled nor in the user's `known_hosts`.
pub(super) fn git_host(runner: &Runner, home: &Path, account: &GitAccount) -> Result<GitHost> {
    let resolved = resolve(runner, home, &account.host, account.port)?;
    let known_hosts = known_keys(runner, home, &account.host, &resolved)?;
    Ok(GitHost {
        alias: account.host.clone(),
        hostname: resolved.hostname,
        port: (resolved.port != 22).then_some(resolved.port),
        identity_agent: resolved.identity_agent,
        known_hosts,
        users: vec![account.user.clone()],
    })
}

/// The agent that ssh is configured to use for a host.
pub(super) fn identity_agent(runner: &Runner, home: &Path, host: &str) -> Option<PathBuf> {
    resolve(runner, home, host, None).ok()?.identity_agent
}

fn resolve(runner: &Runner, home: &Path, host: &str, port: Option<u16>) -> Result<Resolved> {
    let mut cmd = Cmd::new("ssh").args(["-G", "-o", "BatchMode=yes"]);
    if let Some(port) = port {
        cmd = cmd.arg("-p").arg(port.to_string());
    }
    let text = runner.read(&cmd.arg("--").arg(host).time_limit(LIMIT))?.text();
    let value = |key: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(key))?;
        line.split_once(' ').map(|(_, value)| value.to_string())
    };
    Ok(Resolved {
        hostname: value("hostname").unwrap_or_else(|| host.to_string()),
        port: value("port").and_then(|port| port.parse().ok()).unwrap_or(22),
        identity_agent: value("identityagent").and_then(|agent| agent_at(&agent, home, &path_named)),
    })
}

/// Where the agent of an `IdentityAgent` listens, as `ssh -G` shows it; `None` for that of the session. A variable that is
/// not set here stays what it is: an agent that nobody finds, rather than another one.
fn agent_at(value: &str, home: &Path, variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(name) = value.strip_prefix('$') {
        return (name != "SSH_AUTH_SOCK").then(|| variable(name).unwrap_or_else(|| value.into()));
    }
    let in_home = value.strip_prefix("~/").map(|rest| home.join(rest));
    in_home.or_else(|| value.starts_with('/').then(|| value.into()))
}

/// Lines for the guest's `known_hosts`, from the user's own; none for a host whose keys are bundled.
fn known_keys(runner: &Runner, home: &Path, alias: &str, resolved: &Resolved) -> Result<Vec<String>> {
    if is_pinned(&resolved.hostname) && resolved.port == 22 {
        return Ok(Vec::new());
    }
    let name = if resolved.port == 22 {
        resolved.hostname.clone()
    } else {
        format!("[{}]:{}", resolved.hostname, resolved.port)
    };
    let own = home.join(".ssh/known_hosts");
    let cmd = Cmd::new("ssh-keygen").args(["-F", &name, "-f"]).arg(own).time_limit(LIMIT);
    let text = runner.read_any_status(&cmd)?.text();
    let lines: Vec<String> = text.lines().filter_map(|line| known_line(&name, line)).collect();
    if lines.is_empty() {
        let port = if resolved.port == 22 { String::new() } else { format!("-p {} ", resolved.port) };
        return Err(Failure::operation(format!(
            "the host key of `{name}` is not known here, so the machine cannot know it"
        ))
        .hint(format!("connect once and compare its fingerprint: `ssh {port}{alias}`")));
    }
    Ok(lines)
}

/// A line of the user's `known_hosts` for the guest's. The name may be hashed, a marker only means something where it
/// stands, and a comment is the user's own.
fn known_line(name: &str, line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let is_marked = words.next()?.starts_with(['#', '@']);
    let (kind, key) = (words.next()?, words.next()?);
    (!is_marked).then(|| format!("{name} {kind} {key}"))
}

/// What git logs in with to the host of an https repository.
#[derive(Clone, Copy)]
pub(super) struct LogIn<'a> {
    pub username: &'a str,
    pub token: &'a Secret,
}

/// Asks for a repository as the guest will.
///
/// # Errors
/// When it refuses us or does not exist. A host that cannot be reached from here is only told by `warn`.
pub(super) fn check(
    context: &Context,
    repo: &Repo,
    log_in: Option<LogIn>,
    folder: &Path,
    warn: &dyn Fn(&str),
) -> Result<()> {
    let cmd = check_command(context, repo, log_in, folder)?;
    let Ok(finished) = context.runner.read_any_status(&cmd) else {
        context.runner.check_interrupt()?;
        warn(&format!("`{}` did not answer within {} s; going on", repo.url, LIMIT.as_secs()));
        return Ok(());
    };
    if finished.status.success() {
        return check_branch(repo, &finished);
    }
    let words = finished.tail.join("\n");
    if is_unreachable(&words) {
        warn(&format!(
            "`{}` cannot be reached from here; going on: {}",
            repo.url,
            finished.tail.last().map_or("", String::as_str)
        ));
        return Ok(());
    }
    let failure = Failure::operation(words).because(format!("`{}` cannot be cloned", repo.url));
    Err(advise(context, failure, repo, log_in.is_some()))
}

fn check_command(context: &Context, repo: &Repo, log_in: Option<LogIn>, folder: &Path) -> Result<Cmd> {
    let git = match log_in.filter(|_| repo.url.transport() == Transport::Https) {
        None => Cmd::new("git").args(NO_HELPER),
        Some(log_in) => git_with_token(repo, log_in),
    };
    let mut cmd = git
        .env("GIT_DIR", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "https:ssh")
        .env("GIT_ASKPASS", "/bin/false")
        .args(["ls-remote", "--heads", "--"])
        .arg(repo.url.as_str())
        .time_limit(LIMIT);
    for (name, value) in &context.proxies {
        cmd = cmd.env(name, value);
    }
    if repo.url.transport() == Transport::Https {
        return Ok(cmd);
    }
    let resolved = resolve(&context.runner, &context.layout.home, repo.url.host(), repo.url.port())?;
    let pinned = folder.join("git_known_hosts");
    crate::disk::ensure_private_folder(folder)?;
    crate::disk::write_atomic(&pinned, pinned_known_hosts().as_bytes(), 0o600)?;
    let own = context.layout.home.join(".ssh/known_hosts");
    let quote = |path: &Path| format!("\\\"{}\\\"", path.display());
    let ssh = format!(
        "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o ConnectTimeout=10 -o IdentityFile=none \
         -o ForwardAgent=no -o ClearAllForwardings=yes -o \"UserKnownHostsFile {} {}\"",
        quote(&pinned),
        quote(&own)
    );
    let agent = resolved.identity_agent.or_else(|| context.agent.clone());
    cmd = cmd.env("GIT_SSH_COMMAND", ssh);
    Ok(match agent {
        Some(socket) => cmd.env("SSH_AUTH_SOCK", socket),
        None => cmd,
    })
}

/// git with the token for this repository's host and no other one, wherever that may lead us.
fn git_with_token(repo: &Repo, log_in: LogIn) -> Cmd {
    let port = repo.url.port().map_or_else(String::new, |port| format!(":{port}"));
    let key = format!("credential.https://{}{port}", repo.url.host());
    Cmd::new("sh")
        .args(["-c", GIT_WITH_TOKEN, "git"])
        .args(NO_HELPER)
        .arg("-c")
        .arg(format!("{key}.helper={TOKEN_HELPER}"))
        .arg("-c")
        .arg(format!("{key}.username={}", log_in.username))
        .secret_input(log_in.token.clone())
}

fn check_branch(repo: &Repo, finished: &Finished) -> Result<()> {
    let Some(branch) = &repo.branch else { return Ok(()) };
    let wanted = format!("\trefs/heads/{branch}");
    let text = finished.text();
    if text.lines().any(|line| line.ends_with(&wanted)) {
        return Ok(());
    }
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("\trefs/heads/"))
        .map(|(_, name)| name)
        .take(8)
        .collect();
    Err(Failure::usage(format!("`{}` has no branch `{branch}`", repo.url))
        .hint(format!("it has: {}", names.join(", "))))
}

/// Whether the network, and not the repository, is what failed.
fn is_unreachable(words: &str) -> bool {
    let signs = [
        "Could not resolve host",
        "Connection timed out",
        "Connection refused",
        "Network is unreachable",
        "No route to host",
        "Failed to connect",
        "Operation timed out",
        "Connection reset",
        "Connection closed",
        "Could not connect",
        "Temporary failure in name resolution",
        "Couldn't connect",
    ];
    signs.iter().any(|sign| words.contains(sign))
}

fn advise(context: &Context, failure: Failure, repo: &Repo, has_token: bool) -> Failure {
    let words = format!("{:#}", failure.error);
    match repo.url.transport() {
        Transport::Https if has_token => failure
            .hint("is the address right, and may the token that `git.token` names read it?"),
        Transport::Https => failure
            .hint("is the address right? a private repository needs an ssh address, such as `git@host:path`, or a token: a secret that `git = { token = \"NAME\" }` of the project names"),
        Transport::Ssh if words.contains("Host key verification failed") => {
            failure.hint(format!("its host key is not the known one; look: `ssh {}`", repo.url.host()))
        }
        Transport::Ssh if context.agent.is_none() => {
            failure.hint("no ssh-agent runs here (SSH_AUTH_SOCK is not set), and a machine has nothing but the agent: start one and `ssh-add` your key")
        }
        Transport::Ssh => failure
            .hint("is the address right, and is the key in the agent? `ssh-add -l` lists what a machine can use"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_a_variable_is_that_one_or_none() {
        let variable = |name: &str| (name == "MINE").then(|| PathBuf::from("/run/mine"));
        let at = |value: &str| agent_at(value, Path::new("/home/me"), &variable);
        assert_eq!(at("/a b"), Some("/a b".into()));
        assert_eq!(at("~/.agent"), Some("/home/me/.agent".into()));
        assert_eq!(at("$MINE"), Some("/run/mine".into()));
        assert_eq!(at("$GONE"), Some("$GONE".into()));
        for session in ["none", "SSH_AUTH_SOCK", "$SSH_AUTH_SOCK"] {
            assert_eq!(at(session), None, "{session}");
        }
    }

    #[test]
    fn only_the_key_of_a_known_host_goes_along() {
        let hashed = "|1|c2FsdA==|aGFzaA== ssh-ed25519 AAAA me@my-laptop";
        assert_eq!(known_line("[git.corp]:22", hashed).as_deref(), Some("[git.corp]:22 ssh-ed25519 AAAA"));
        for other in ["# Host git.corp found: line 1", "@cert-authority *.corp ssh-ed25519 AAAA", "x y", ""] {
            assert_eq!(known_line("git.corp", other), None, "{other}");
        }
    }

    #[test]
    fn a_refusal_is_not_the_network() {
        assert!(is_unreachable("ssh: Could not resolve hostname x: Temporary failure in name resolution"));
        assert!(is_unreachable("fatal: unable to access 'https://x/': Could not resolve host: x"));
        assert!(is_unreachable("ssh: connect to host x port 22: Connection refused"));
        assert!(!is_unreachable("git@github.com: Permission denied (publickey)."));
        assert!(!is_unreachable("ERROR: Repository not found."));
    }
}
