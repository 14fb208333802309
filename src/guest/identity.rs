//! Who commits in the guest, which keys git hosts must show, how their aliases are reached, and what `localhost` is.
//!
//! Enters: what the host's git and ssh say. Leaves: the step that writes `/etc/gitconfig` and the system's other files.
//! The only facts about the host's owner that ever enter a guest are these.

use super::step::{IDENTITY, Step};
use crate::model::{GitHost, GitIdentity};

/// Host keys of the large git hosts, each with its published source.
const PINNED: &str = include_str!("../../profiles/known_hosts");

/// Ports lead to 127.0.0.1, so a server told to listen on `localhost` must take that and not `::1`, which comes first in
/// RFC 6724. A line of the file replaces glibc's table, but for what it does not name (gai.conf(5)).
const LOCALHOST: &str = "grep -qs '^precedence ::ffff:0:0/96' /etc/gai.conf ||\n  \
    echo 'precedence ::ffff:0:0/96 100' >>/etc/gai.conf\n";

/// The host names that the bundled keys cover.
pub fn is_pinned(host: &str) -> bool {
    PINNED.lines().any(|line| line.split_whitespace().next() == Some(host))
}

/// The bundled keys, for the check on the host as well.
pub const fn pinned_known_hosts() -> &'static str {
    PINNED
}

/// The step that writes identity and host keys.
pub fn identity_step(identity: &GitIdentity, hosts: &[GitHost]) -> Step {
    let files = vec![
        ("gitconfig".to_string(), render_gitconfig(identity).into_bytes()),
        ("allowed_signers".to_string(), render_signers(identity).into_bytes()),
        ("known_hosts".to_string(), render_known_hosts(hosts).into_bytes()),
        ("ssh.conf".to_string(), render_aliases(hosts).into_bytes()),
    ];
    let body = "install -D -m 0644 allowed_signers /etc/machine/allowed_signers\n\
        install -m 0644 gitconfig /etc/gitconfig\n\
        install -m 0644 known_hosts /etc/ssh/ssh_known_hosts\n\
        install -D -m 0644 ssh.conf /etc/ssh/ssh_config.d/10-machine.conf\n";
    let body = format!("{body}{LOCALHOST}");
    let who = identity.email.as_deref().or(identity.name.as_deref()).unwrap_or("no identity configured");
    Step::state(IDENTITY, format!("git: {who}"), body, files)
}

fn render_gitconfig(identity: &GitIdentity) -> String {
    let mut lines =
        vec!["# Written by machine from the host's git identity; changes are overwritten.".to_string()];
    lines.push("[user]".into());
    let user = [("name", &identity.name), ("email", &identity.email)];
    let set = user.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
    lines.extend(set.map(|(key, value)| format!("\t{key} = {}", quote(value))));
    if let Some(key) = &identity.signing_key {
        lines.push(format!("\tsigningKey = {}", quote(&format!("key::{key}"))));
        lines.push("[gpg]\n\tformat = ssh".into());
        lines.push("[gpg \"ssh\"]\n\tallowedSignersFile = /etc/machine/allowed_signers".into());
        lines.push("[commit]\n\tgpgSign = true".into());
        lines.push("[tag]\n\tgpgSign = true".into());
    }
    lines.push("[init]\n\tdefaultBranch = main".into());
    lines.join("\n") + "\n"
}

fn render_signers(identity: &GitIdentity) -> String {
    match (&identity.email, &identity.signing_key) {
        (Some(email), Some(key)) => format!("{email} namespaces=\"git\" {key}\n"),
        _ => String::new(),
    }
}

/// git reads backslashes and quotes in a value, and a `#` outside quotes starts a comment.
fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"").replace(['\n', '\r'], " "))
}

fn render_known_hosts(hosts: &[GitHost]) -> String {
    let own = hosts.iter().flat_map(|host| &host.known_hosts);
    own.fold(PINNED.to_string(), |text, line| text + line + "\n")
}

fn render_aliases(hosts: &[GitHost]) -> String {
    let differs = |host: &&GitHost| host.hostname != host.alias || host.port.is_some();
    let blocks = hosts.iter().filter(differs).map(|host| {
        let port = host.port.map_or_else(String::new, |port| format!("  Port {port}\n"));
        format!("Host {}\n  HostName {}\n{port}", host.alias, host.hostname)
    });
    blocks.fold("# Written by machine; changes are overwritten.\n".to_string(), |text, block| text + &block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_identity() {
        let identity = GitIdentity {
            name: Some("A \"B\" # C\\".into()),
            email: Some("a@b.example".into()),
            signing_key: Some("ssh-ed25519 AAAA".into()),
        };
        let text = render_gitconfig(&identity);
        assert!(text.contains(r#"name = "A \"B\" # C\\""#), "{text}");
        assert!(text.contains("signingKey = \"key::ssh-ed25519 AAAA\""));
        assert_eq!(render_signers(&identity), "a@b.example namespaces=\"git\" ssh-ed25519 AAAA\n");
        let unsigned = GitIdentity { signing_key: None, ..identity };
        assert!(!render_gitconfig(&unsigned).contains("gpg"));
    }

    #[test]
    fn aliases_of_the_host_are_known_in_the_guest() {
        let host = GitHost {
            alias: "work".into(),
            hostname: "git.corp".into(),
            port: Some(2222),
            identity_agent: None,
            known_hosts: vec![],
            users: vec!["git".into()],
        };
        assert!(render_aliases(&[host]).contains("Host work\n  HostName git.corp\n  Port 2222\n"));
    }

    #[test]
    fn the_large_hosts_are_pinned() {
        assert!(is_pinned("github.com") && is_pinned("gitlab.com") && is_pinned("codeberg.org"));
        assert!(!is_pinned("example.com"));
    }
}
