//! What the host itself shows: settings, files, ssh, the agent, ports.
//!
//! Enters: observations of the host. Leaves: judgements, each with something that must have been seen for it to be good.

use super::Judgement;
use super::observed::{MasterSeen, Mode, Observed};

pub(super) fn settings(seen: &Observed) -> Judgement {
    if let Some(foreign) = &seen.settings.foreign {
        return Judgement::failed(foreign.clone());
    }
    match seen.settings.config.get("plain").and_then(serde_json::Value::as_bool) {
        Some(true) => {
            Judgement::closed("what Lima uses is what `machine` wrote: no mount, forward or script of others")
        }
        _ => Judgement::not_probed("Lima did not say what its settings are"),
    }
}

pub(super) fn cidata(seen: &Observed) -> Judgement {
    let Some(cidata) = seen.cidata.as_ref().filter(|cidata| cidata.readable) else {
        return Judgement::not_probed("the disk that Lima hands to the guest could not be read");
    };
    if let Some(leak) = cidata.leaks.first() {
        return Judgement::failed(format!("{leak} stands on the disk that Lima hands to the guest"));
    }
    Judgement::crosses(
        "the project's name, Lima's public key, the guest's own host key; nothing of you or your environment",
    )
}

pub(super) fn agent_in_session(seen: &Observed) -> Judgement {
    let agent = &seen.agent;
    match (&agent.host_keys, &agent.session_keys) {
        (_, Some(_)) if !seen.stated.forward_agent => {
            Judgement::failed("a session has an agent, although `forward_agent` is false")
        }
        (_, None) if !seen.stated.forward_agent => Judgement::closed(format!(
            "a session is lent no agent: `forward_agent = false` in `{}`",
            seen.stated.file.display()
        )),
        (None, _) => Judgement::not_probed("this computer has no ssh-agent to be lent"),
        (Some(_), None) => Judgement::not_probed("a session did not reach the agent that it was lent"),
        _ if agent.signed_anything => {
            Judgement::failed("a session got a signature that has nothing to do with git")
        }
        (Some(host), Some(session)) => {
            let seen = session.iter().filter(|key| host.contains(key)).count();
            let tried = if session.is_empty() { "" } else { "; a signature that is not git's was refused" };
            Judgement::crosses(format!("filtered: a session sees {seen} of the {} keys{tried}", host.len()))
        }
    }
}

pub(super) fn agent_at_rest(seen: &Observed) -> Judgement {
    let (agent, guest) = (&seen.agent, &seen.guest);
    if agent.other_sessions > 0 {
        return Judgement::not_probed(format!(
            "{} other sessions are open, which may have it",
            agent.other_sessions
        ));
    }
    if guest.agents_answering > 0 && agent.is_held && seen.stated.forward_agent {
        return Judgement::crosses("held by `machine keys hold`, so it answers with no session open");
    }
    if guest.agents_answering > 0 {
        return Judgement::failed("an agent answers in the guest although no session is open");
    }
    if agent.host_keys.is_none() {
        return Judgement::not_probed("this computer has no ssh-agent that could answer");
    }
    if seen.stated.forward_agent && agent.session_keys.is_none() {
        return Judgement::not_probed(
            "a session did not reach the agent either, so that this proves nothing",
        );
    }
    Judgement::closed(format!(
        "nobody answers without a session; sockets left in the guest: {}",
        guest.agent_sockets
    ))
}

pub(super) fn lima_master(seen: &Observed) -> Judgement {
    match seen.lima_master {
        MasterSeen::Absent => Judgement::not_probed("Lima has no connection of its own open"),
        MasterSeen::Agent => Judgement::failed("a session over Lima's own connection has the agent"),
        MasterSeen::NoAgent if seen.agent.host_keys.is_none() => {
            Judgement::not_probed("this computer has no ssh-agent that it could lend")
        }
        MasterSeen::NoAgent => {
            Judgement::closed("a session over Lima's own connection that asks for the agent gets none")
        }
    }
}

pub(super) fn guest_ports(seen: &Observed) -> Judgement {
    let ports = &seen.guest_ports;
    if let Some(address) = ports.appeared.first() {
        return Judgement::failed(format!(
            "a program that listens in the guest answers at {address} of this computer"
        ));
    }
    if !ports.heard {
        return Judgement::not_probed("the guest's own listener was not there");
    }
    Judgement::closed(format!(
        "{} listeners in the guest, TCP and UDP: none appears on this computer",
        seen.guest.listening.len()
    ))
}

pub(super) fn host_key(seen: &Observed) -> Judgement {
    match (seen.key.right, seen.key.wrong) {
        (_, true) => Judgement::failed("a connection that expects another host key was made all the same"),
        (true, false) => {
            Judgement::closed("the guest shows the pinned key; a connection that expects another is refused")
        }
        (false, false) => Judgement::not_probed("a new connection with the pinned key could not be made"),
    }
}

/// Options of `ssh machine-…` that our block sets, and what they must be (as `ssh -G` prints them).
const PINNED: [(&str, &[&str]); 5] = [
    ("stricthostkeychecking", &["true", "yes"]),
    ("updatehostkeys", &["false", "no"]),
    ("globalknownhostsfile", &["/dev/null"]),
    ("permitlocalcommand", &["no"]),
    ("controlmaster", &["false", "no"]),
];
/// Options that add up over blocks, which ours cannot take back.
const ADDED: [&str; 5] = ["sendenv", "setenv", "remoteforward", "localforward", "dynamicforward"];

pub(super) fn ssh_options(seen: &Observed) -> Judgement {
    if seen.ssh_option("hostname") != Some("127.0.0.1") {
        return Judgement::not_probed("your ssh does not know this machine's host");
    }
    let wrong = PINNED
        .iter()
        .find(|(key, wanted)| !seen.ssh_option(key).is_some_and(|found| wanted.contains(&found)));
    if let Some((key, _)) = wrong {
        let found = seen.ssh_option(key).unwrap_or("not set");
        return Judgement::failed(format!("`ssh machine-{}` has `{key}` {found}", seen.stated.name));
    }
    let added = seen
        .ssh_options
        .iter()
        .filter(|(key, value)| ADDED.contains(&key.as_str()) && !value.starts_with('-'));
    let added: Vec<String> = added.map(|(key, value)| format!("{key} {value}")).collect();
    if added.is_empty() {
        return Judgement::closed("nothing of your own ssh configuration crosses with `ssh machine-…`");
    }
    Judgement::open(
        "Host *",
        "~/.ssh/config, /etc/ssh/ssh_config",
        format!("for `ssh machine-…`: {}", added.join(", ")),
    )
}

pub(super) fn modes(seen: &Observed) -> Judgement {
    if seen.modes.is_empty() {
        return Judgement::not_probed("none of our files was found");
    }
    let shared = |mode: &&Mode| mode.bits & 0o077 != 0 || !mode.own;
    if let Some(mode) = seen.modes.iter().find(shared) {
        return Judgement::failed(format!(
            "other users may use `{}` (mode {:o})",
            mode.path.display(),
            mode.bits
        ));
    }
    Judgement::closed(format!("{} folders, sockets and keys of ours: yours alone", seen.modes.len()))
}

impl Observed {
    /// The first value of an ssh option.
    pub(super) fn ssh_option(&self, key: &str) -> Option<&str> {
        self.ssh_options.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }
}
