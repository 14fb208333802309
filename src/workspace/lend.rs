//! What a machine is lent of the host's agent: worked out anew whenever it asks.
//!
//! Enters: its record, the settings. Leaves: a policy and the agent to ask. Starts nothing by itself.

use std::path::PathBuf;
use std::sync::Arc;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::guest::pinned_known_hosts;
use crate::model::GitHost;
use crate::record::MachineRecord;
use crate::ssh::{Destination, Lend, Loan, Policy, key_bytes};

/// Finds out what machines are lent.
pub fn lender(context: &Context) -> Lend {
    let (layout, agent) = (context.layout.clone(), context.agent.clone());
    Arc::new(move |machine| {
        let record = MachineRecord::load(&layout, machine)?;
        let record = record.ok_or_else(|| Failure::operation(format!("`{machine}` has no record")))?;
        Ok(Loan { policy: policy(&record)?, upstream: upstream(&record, agent.as_ref()) })
    })
}

fn policy(record: &MachineRecord) -> Result<Policy> {
    let machine_key = key_bytes(&record.host_key);
    Ok(Policy {
        machine_key: machine_key.ok_or_else(|| Failure::operation("the machine's host key is not known"))?,
        destinations: record.git_hosts.iter().map(destination).collect(),
        signers: record.signing_key.as_deref().and_then(key_bytes).into_iter().collect(),
    })
}

/// The agent that ssh is configured to use for a project's hosts, such as a password manager's, else the session's own.
fn upstream(record: &MachineRecord, agent: Option<&PathBuf>) -> Option<PathBuf> {
    let named = record.git_hosts.iter().find_map(|host| host.identity_agent.clone());
    named.or_else(|| agent.cloned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::fingerprint;

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

    #[test]
    fn bundled_keys_stand_for_the_large_hosts_and_known_hosts_for_others() {
        let github = destination(&host("github.com", &[]));
        assert_eq!((github.name.as_str(), github.keys.len()), ("work", 3));
        assert_eq!(fingerprint(&github.keys[0]), "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
        assert!(destination(&host("git.corp", &[])).keys.is_empty());
        let line =
            "[git.corp]:22 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        assert_eq!(destination(&host("git.corp", &[line, "x y !"])).keys, [github.keys[0].clone()]);
    }

    #[test]
    fn a_named_agent_comes_before_that_of_the_session() {
        let own = PathBuf::from("/own");
        let named = GitHost { identity_agent: Some("/named".into()), ..host("h", &[]) };
        let record = |git_hosts| MachineRecord { git_hosts, ..MachineRecord::blank("blog") };
        assert_eq!(upstream(&record(vec![host("g", &[]), named]), Some(&own)), Some("/named".into()));
        assert_eq!(upstream(&record(vec![host("g", &[])]), Some(&own)), Some(own));
        assert_eq!(upstream(&record(Vec::new()), None), None);
    }
}
