//! What a machine is lent, looked at hop by hop: this computer's ssh and agent, keys, hosts, session, the guest's end.
//!
//! Enters: a project. Leaves: one line a hop, each with what to do where it is broken. Changes nothing.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::lend::agent_of;
use super::remote::git_host;
use super::select::{Workspace, site};
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::model::{GitAccount, KeyAsk, KeyName, KeyRules, Project};
use crate::plan::Site;
use crate::record::{MachineRecord, held_until, open_sessions};
use crate::ssh::{BINDS_SINCE, Destination, HeldKey, Loan, held_keys, read_log, ssh_version};

/// What a look at a hop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Remark,
    /// In the way of every use.
    Bad,
}

/// One hop from the host's agent to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHop {
    /// What was looked at.
    pub name: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// What was seen, and what to do.
    pub text: String,
}

fn hop(name: &'static str, verdict: Verdict, text: impl Into<String>) -> KeyHop {
    KeyHop { name, verdict, text: text.into() }
}

/// Looks at every hop.
///
/// # Errors
/// When the machine's record cannot be read.
pub fn key_hops(context: &Context, workspace: &Workspace, project: &Project) -> Result<Vec<KeyHop>> {
    let name = project.name.as_str();
    let record = MachineRecord::load(&context.layout, name)?;
    let is_lent = record.as_ref().is_some_and(|record| record.forward_agent);
    if !project.forward_agent && is_lent {
        let text = format!(
            "`forward_agent = false` in projects.toml does not count yet, and it is lent still: `machine up {name}`"
        );
        return Ok(vec![hop("lent", Verdict::Bad, text)]);
    }
    if !project.forward_agent {
        return Ok(vec![hop("lent", Verdict::Remark, "nothing: `forward_agent = false` in projects.toml")]);
    }
    let Some(record) = record else {
        return Ok(vec![hop("machine", Verdict::Remark, format!("there is none yet: `machine up {name}`"))]);
    };
    if !is_lent {
        return Ok(vec![hop("lent", Verdict::Bad, format!("nothing, until the next `machine up {name}`"))]);
    }
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let loan = (site.lend)(name)?;
    let rules = workspace.computer.keys.of(name);
    let (agent, held) = agent_hop(&loan);
    let mut hops = vec![ssh_hop(context), agent];
    hops.extend(held_hops(&loan, &held));
    hops.extend(missing_hops(&loan, &held));
    hops.extend(host_hops(context, &loan, &rules));
    hops.extend(ask_hop(&loan));
    hops.extend(session_hops(context, &site, &record));
    hops.extend(refused_hop(context, name));
    Ok(hops)
}

fn ssh_hop(context: &Context) -> KeyHop {
    let (major, minor) = BINDS_SINCE;
    match ssh_version(&context.runner) {
        Some(version) if version < BINDS_SINCE => {
            let text = format!("OpenSSH {}.{} here; it takes {major}.{minor} or later", version.0, version.1);
            hop("ssh", Verdict::Bad, text)
        }
        Some(version) => hop("ssh", Verdict::Good, format!("OpenSSH {}.{}", version.0, version.1)),
        None => {
            hop("ssh", Verdict::Remark, format!("no OpenSSH that says its version; it takes {major}.{minor}"))
        }
    }
}

fn agent_hop(loan: &Loan) -> (KeyHop, Vec<HeldKey>) {
    let bad = |text: String| (hop("agent", Verdict::Bad, text), Vec::new());
    let Some(socket) = &loan.upstream else {
        return bad("none here: SSH_AUTH_SOCK is not set, and ssh names no IdentityAgent; start one and `ssh-add` a key".into());
    };
    let place = socket.display();
    match held_keys(socket) {
        Err(cause) => bad(format!("nobody answers at `{place}`: {cause}; is it running?")),
        Ok(held) if held.is_empty() => {
            bad(format!("the one at `{place}` has no key, or is locked: `ssh-add` one, or `ssh-add -X`"))
        }
        Ok(held) => {
            let keys = if held.len() == 1 { "key" } else { "keys" };
            (hop("agent", Verdict::Good, format!("{} {keys} at `{place}`", held.len())), held)
        }
    }
}

fn held_hops(loan: &Loan, held: &[HeldKey]) -> Vec<KeyHop> {
    let show = |held: &HeldKey| {
        let name = KeyName::of(&held.key);
        let logs_in = loan.policy.only.as_ref().is_none_or(|only| only.contains(&name));
        let signs = loan.policy.signers.contains(&name);
        let (verdict, uses) = match (logs_in, signs) {
            (true, true) => (Verdict::Good, "logs in and signs commits"),
            (true, false) => (Verdict::Good, "logs in"),
            (false, true) => (Verdict::Good, "signs commits"),
            (false, false) => (Verdict::Remark, "not granted, and not shown to the guest"),
        };
        hop("key", verdict, format!("{name} {}: {uses}", held.comment))
    };
    held.iter().map(show).collect()
}

fn missing_hops(loan: &Loan, held: &[HeldKey]) -> Vec<KeyHop> {
    let is_missing = |name: &&KeyName| !held.iter().any(|held| KeyName::of(&held.key) == **name);
    let only = loan.policy.only.iter().flatten().filter(is_missing);
    let only = only.map(|name| {
        hop(
            "key",
            Verdict::Bad,
            format!("{name} is granted, but another agent's or not loaded: `ssh-add` it"),
        )
    });
    let signers = loan.policy.signers.iter().filter(is_missing);
    let signers = signers.map(|name| {
        hop("key", Verdict::Bad, format!("{name} signs commits, and is not in the agent: `ssh-add` it"))
    });
    only.chain(signers).collect()
}

fn host_hops(context: &Context, loan: &Loan, rules: &KeyRules) -> Vec<KeyHop> {
    let show = |host: &Destination| {
        let accounts: Vec<String> = host.users.iter().map(|user| format!("{user}@{}", host.name)).collect();
        hop("host", Verdict::Good, format!("{}, {} pinned keys", accounts.join(", "), host.keys.len()))
    };
    let mut hops: Vec<KeyHop> = loan.policy.destinations.iter().map(show).collect();
    for account in rules.hosts.iter().flatten() {
        if let Err(failure) = git_host(&context.runner, &context.layout.home, account) {
            let text = format!("{account} is not used: {:#}; {}", failure.error, failure.hints.join("; "));
            hops.push(hop("host", Verdict::Bad, text));
        }
    }
    if hops.is_empty() {
        let text = "none to log in to: the project has no repository over ssh, and none is granted";
        hops.push(hop("host", Verdict::Remark, text));
    }
    hops
}

fn ask_hop(loan: &Loan) -> Option<KeyHop> {
    match (loan.policy.ask, &loan.ask_with) {
        (KeyAsk::Never, _) => None,
        (ask, Some(cmd)) => Some(hop("ask", Verdict::Good, format!("{ask}, by `{}`", cmd.program_name()))),
        (ask, None) => Some(hop(
            "ask",
            Verdict::Bad,
            format!("{ask}, and there is no program to ask with: set SSH_ASKPASS"),
        )),
    }
}

fn session_hops(context: &Context, site: &Site, record: &MachineRecord) -> Vec<KeyHop> {
    let (name, road) = (&record.name, site.road(record));
    if UnixStream::connect(road.agent()).is_err() {
        let text = format!(
            "none is open, so nothing answers in the guest: `machine ssh {name}`, or `machine keys hold {name}`"
        );
        return vec![hop("session", Verdict::Remark, text)];
    }
    let open = open_sessions(&context.layout, name).len();
    let held = if held_until(&context.layout, name).is_some() { ", and the keys are held" } else { "" };
    let mut hops = vec![hop("session", Verdict::Good, format!("{open} open{held}: the agent is served"))];
    if !road.is_open() {
        return hops;
    }
    // In words that every login shell reads alike.
    let line = "env SSH_AUTH_SOCK=/home/dev/.ssh/agent.sock timeout 10 ssh-add -l";
    let probe = context.runner.read_any_status(&road.exec(line).time_limit(Duration::from_secs(20)));
    hops.push(match probe.map(|found| (found.code(), found.text().lines().count())) {
        Ok((0, count)) => hop("guest", Verdict::Good, format!("~/.ssh/agent.sock lists {count}")),
        Ok((1, _)) => hop("guest", Verdict::Remark, "~/.ssh/agent.sock answers, and lists no key"),
        _ => {
            let text = format!(
                "~/.ssh/agent.sock leads to a session that has ended: open another, `machine ssh {name}`"
            );
            hop("guest", Verdict::Bad, text)
        }
    });
    hops
}

fn refused_hop(context: &Context, name: &str) -> Option<KeyHop> {
    let log = read_log(&context.layout.agent_log(name));
    let last = log.iter().rev().find(|entry| entry.reason.is_some())?;
    let reason = last.reason.as_deref().unwrap_or_default();
    Some(hop(
        "refused",
        Verdict::Remark,
        format!("last at {}: {reason}; all: `machine keys log {name}`", last.time),
    ))
}

/// Makes sure that a host which is to be granted is known here.
///
/// # Errors
/// When its key is not: with the command that makes it known.
pub fn check_git_host(context: &Context, account: &GitAccount) -> Result<()> {
    git_host(&context.runner, &context.layout.home, account).map(drop)
}

/// The key that a word means: a fingerprint, a public key, a file of one, or a comment in the agent.
///
/// # Errors
/// When it is none of them, or the comment is that of several keys.
pub fn find_key(context: &Context, record: Option<&MachineRecord>, word: &str) -> Result<KeyName> {
    let refused = match word.parse::<KeyName>() {
        Ok(name) => return Ok(name),
        Err(refused) => refused,
    };
    let path =
        word.strip_prefix("~/").map_or_else(|| context.cwd.join(word), |rest| context.layout.home.join(rest));
    if let Ok(Some(text)) = disk::read_text_if_there(&path) {
        return text.trim().parse().map_err(|cause| Failure::usage(format!("`{}`: {cause}", path.display())));
    }
    let named = record.and_then(|record| agent_of(context, record).ok()?);
    let socket = named.or_else(|| context.agent.clone());
    let held = socket.and_then(|socket| held_keys(&socket).ok()).unwrap_or_default();
    let found: Vec<KeyName> =
        held.iter().filter(|held| held.comment == word).map(|held| KeyName::of(&held.key)).collect();
    match found.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Failure::usage(refused).hint("`ssh-add -l` lists fingerprints and comments")),
        several => Err(Failure::usage(format!("{} keys in the agent are called `{word}`", several.len()))
            .hint("name one by its fingerprint: `ssh-add -l`")),
    }
}
