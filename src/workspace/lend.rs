//! What a machine is lent of the host's agent: worked out anew whenever it asks.
//!
//! Enters: its record, config.toml, what the host's own ssh says. Leaves: a policy and the agent to ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::remote::{git_host, identity_agent};
use crate::config::{Lookup, load_computer, locate};
use crate::context::{Askpass, Context};
use crate::failure::{Failure, Result};
use crate::guest::pinned_known_hosts;
use crate::model::{Computer, GitHost, HostOs, KeyName, KeyRules, key_bytes};
use crate::process::{Cmd, Runner};
use crate::record::MachineRecord;
use crate::ssh::{Destination, Lend, Loan, Policy};

/// What macOS asks with; the question is its argument. Nothing said in time is no, as is the key that is under the finger.
const DIALOG: [&str; 4] = [
    "on run argv",
    "set answer to display dialog (item 1 of argv) with title \"machine\" buttons {\"Refuse\", \"Allow\"} \
     default button \"Refuse\" cancel button \"Refuse\" giving up after 55",
    "if gave up of answer then error number -128",
    "end run",
];

/// The computer's settings alone, which need no projects.
pub(super) fn computer(context: &Context) -> Result<Computer> {
    load_settings(&Surroundings::of(context))
}

/// What of the context a server needs on its own threads.
struct Surroundings {
    config_dir: Option<PathBuf>,
    cwd: PathBuf,
    home: PathBuf,
    xdg_config_home: Option<PathBuf>,
    runner: Runner,
}

impl Surroundings {
    fn of(context: &Context) -> Self {
        Self {
            config_dir: context.options.config_dir.clone(),
            cwd: context.cwd.clone(),
            home: context.layout.home.clone(),
            xdg_config_home: context.xdg_config_home.clone(),
            runner: context.runner.clone(),
        }
    }
}

fn load_settings(around: &Surroundings) -> Result<Computer> {
    let located = locate(&Lookup {
        explicit: around.config_dir.as_deref(),
        cwd: &around.cwd,
        home: &around.home,
        xdg_config_home: around.xdg_config_home.as_deref(),
    })?;
    load_computer(&located.user, &around.home)
}

/// Finds out what machines are lent.
pub fn lender(context: &Context) -> Lend {
    let (layout, agent) = (context.layout.clone(), context.agent.clone());
    let ask_with = ask_command(context.host.os, &context.askpass, &context.runner);
    let around = Surroundings::of(context);
    Arc::new(move |machine| {
        let record = MachineRecord::load(&layout, machine)?;
        let record = record.ok_or_else(|| Failure::operation(format!("`{machine}` has no record")))?;
        if !record.forward_agent {
            return Err(Failure::operation(format!("`{machine}` is lent no key any more")));
        }
        let rules = load_settings(&around)?.keys.of(machine);
        let hosts = hosts_of(&record, &rules, &around.runner, &around.home);
        let upstream = upstream(&hosts, agent.as_ref(), &around.runner, &around.home);
        Ok(Loan { policy: policy(&record, &hosts, rules)?, upstream, ask_with: ask_with.clone() })
    })
}

/// The hosts of a machine's repositories, and those that are granted. One whose key is not known is not; `machine keys`
/// says so.
fn hosts_of(record: &MachineRecord, rules: &KeyRules, runner: &Runner, home: &Path) -> Vec<GitHost> {
    let granted = rules.hosts.iter().flatten().filter_map(|account| git_host(runner, home, account).ok());
    record.git_hosts.iter().cloned().chain(granted).collect()
}

/// The agent of this computer that a machine is lent, or would be.
///
/// # Errors
/// When config.toml cannot be read.
pub(super) fn agent_of(context: &Context, record: &MachineRecord) -> Result<Option<PathBuf>> {
    let (runner, home) = (&context.runner, &context.layout.home);
    let rules = computer(context)?.keys.of(&record.name);
    Ok(upstream(&hosts_of(record, &rules, runner, home), context.agent.as_ref(), runner, home))
}

fn policy(record: &MachineRecord, hosts: &[GitHost], rules: KeyRules) -> Result<Policy> {
    let machine_key = key_bytes(&record.host_key);
    let signing = record.signing_key.as_deref().and_then(key_bytes).map(|key| KeyName::of(&key));
    Ok(Policy {
        machine_key: machine_key.ok_or_else(|| Failure::operation("the machine's host key is not known"))?,
        destinations: hosts.iter().map(destination).collect(),
        only: rules.only,
        signers: signing.into_iter().chain(rules.sign.into_iter().flatten()).collect(),
        ask: rules.ask.unwrap_or_default(),
    })
}

/// The agent that ssh is configured to use for the hosts, such as a password manager's, else the session's own. Without
/// any host, the one that ssh uses for any.
fn upstream(hosts: &[GitHost], agent: Option<&PathBuf>, runner: &Runner, home: &Path) -> Option<PathBuf> {
    let named = hosts.iter().find_map(|host| host.identity_agent.clone());
    let general = || hosts.is_empty().then(|| identity_agent(runner, home, "any-host")).flatten();
    named.or_else(general).or_else(|| agent.cloned())
}

fn destination(host: &GitHost) -> Destination {
    let bundled =
        || pinned_known_hosts().lines().filter(|line| line.split(' ').next() == Some(&host.hostname));
    let keys = if host.known_hosts.is_empty() {
        bundled().filter_map(known_key).collect()
    } else {
        host.known_hosts.iter().filter_map(|line| known_key(line)).collect()
    };
    let port = host.port.map_or_else(String::new, |port| format!(":{port}"));
    Destination { name: format!("{}{port}", host.alias), keys, users: host.users.clone() }
}

/// The key in a line of `known_hosts`, `NAME TYPE DATA`.
fn known_key(line: &str) -> Option<Vec<u8>> {
    line.split_once(' ').and_then(|(_, key)| key_bytes(key))
}

/// The program that asks: the user's own, else what the system has.
fn ask_command(os: HostOs, askpass: &Askpass, runner: &Runner) -> Option<Cmd> {
    let with_display = |cmd: Cmd| askpass.display.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    // `confirm` asks for yes or no, which the exit code tells (ssh-agent's `ask_permission` does the same).
    let confirming = |program: &Path| with_display(Cmd::new(program)).env("SSH_ASKPASS_PROMPT", "confirm");
    if let Some(program) = &askpass.program {
        return Some(confirming(program));
    }
    if os == HostOs::MacOs {
        return Some(
            DIALOG.iter().fold(Cmd::new("osascript"), |cmd, line| cmd.arg("-e").arg(line)).arg("--"),
        );
    }
    let has_display = askpass.display.iter().any(|(name, _)| name.ends_with("DISPLAY"));
    has_display.then(|| runner.find("ssh-askpass")).flatten().map(|program| confirming(&program))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Interrupt;

    fn host(hostname: &str, known_hosts: &[&str]) -> GitHost {
        GitHost {
            alias: "work".into(),
            hostname: hostname.into(),
            port: None,
            identity_agent: None,
            known_hosts: known_hosts.iter().map(ToString::to_string).collect(),
            users: vec!["git".into()],
        }
    }

    fn runner() -> Runner {
        Runner::new(Vec::new(), Interrupt::default(), None)
    }

    #[test]
    fn bundled_keys_stand_for_the_large_hosts_and_known_hosts_for_others() {
        let github = destination(&host("github.com", &[]));
        assert_eq!((github.name.as_str(), github.keys.len()), ("work", 3));
        let name = KeyName::of(&github.keys[0]).to_string();
        assert_eq!(name, "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
        assert!(destination(&host("git.corp", &[])).keys.is_empty());
        let line =
            "[git.corp]:22 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        assert_eq!(destination(&host("git.corp", &[line, "x y !"])).keys, [github.keys[0].clone()]);
    }

    #[test]
    fn a_named_agent_comes_before_that_of_the_session() {
        let own = PathBuf::from("/own");
        let named = GitHost { identity_agent: Some("/named".into()), ..host("h", &[]) };
        let of = |hosts: &[GitHost], agent| upstream(hosts, agent, &runner(), Path::new("/"));
        assert_eq!(of(&[host("g", &[]), named], Some(&own)), Some("/named".into()));
        assert_eq!(of(&[host("g", &[])], Some(&own)), Some(own.clone()));
        assert_eq!(of(&[], None), None);
    }

    #[test]
    fn the_owner_is_asked_by_the_users_own_program_or_the_systems() {
        let none = Askpass::default();
        let own =
            Askpass { program: Some("/opt/ask".into()), display: vec![("DISPLAY".into(), ":0".into())] };
        let shown = |os, askpass: &Askpass| ask_command(os, askpass, &runner()).map(|cmd| cmd.to_string());
        let expected = "DISPLAY=:0 SSH_ASKPASS_PROMPT=confirm /opt/ask";
        assert_eq!(shown(HostOs::MacOs, &own).as_deref(), Some(expected));
        assert_eq!(shown(HostOs::Linux, &own).as_deref(), Some(expected));
        assert!(
            shown(HostOs::MacOs, &none).is_some_and(|line| line.starts_with("osascript -e 'on run argv'"))
        );
        assert_eq!(shown(HostOs::Linux, &none), None);
    }
}
