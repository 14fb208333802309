//! Who commits in the guest, which keys git hosts must show, and how their aliases are reached.
//!
//! Enters: what the host's git and ssh say. Leaves: the step that writes `/etc/gitconfig` and ssh's system files.
//! The only facts about the host's owner that ever enter a guest are these.

use super::step::Step;

/// Host keys of the large git hosts, each with its published source.
const PINNED: &str = include_str!("../../profiles/known_hosts");

/// The configured identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitIdentity {
    /// `user.name`.
    pub name: Option<String>,
    /// `user.email`.
    pub email: Option<String>,
    /// A public ssh key that signs commits through the agent.
    pub signing_key: Option<String>,
}

/// A git host that repositories are cloned from over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHost {
    /// The name in the URL.
    pub alias: String,
    /// The name it stands for, when the host's ssh configuration says so.
    pub hostname: String,
    /// The port, when it is not 22.
    pub port: Option<u16>,
    /// Lines for known_hosts, from the user's own.
    pub known_hosts: Vec<String>,
}

/// The host names that the bundled keys cover.
pub fn is_pinned(host: &str) -> bool {
    PINNED.lines().any(|line| line.split_whitespace().next() == Some(host))
}

/// The bundled keys, for the check on the host as well.
pub const fn pinned_known_hosts() -> &'static str {
    PINNED
}

impl GitIdentity {
    /// The step that writes identity and host keys.
    pub fn step(&self, hosts: &[GitHost]) -> Step {
        let files = vec![
            ("gitconfig".to_string(), self.render_gitconfig().into_bytes()),
            ("allowed_signers".to_string(), self.render_signers().into_bytes()),
            ("known_hosts".to_string(), render_known_hosts(hosts).into_bytes()),
            ("ssh.conf".to_string(), render_aliases(hosts).into_bytes()),
        ];
        let body = "install -D -m 0644 allowed_signers /etc/machine/allowed_signers\n\
            install -m 0644 gitconfig /etc/gitconfig\n\
            install -m 0644 known_hosts /etc/ssh/ssh_known_hosts\n\
            install -D -m 0644 ssh.conf /etc/ssh/ssh_config.d/10-machine.conf\n";
        let who = self.email.as_deref().or(self.name.as_deref()).unwrap_or("no identity configured");
        Step::state("git", format!("git: {who}"), body.into(), files)
    }

    fn render_gitconfig(&self) -> String {
        let mut lines = vec!["# Written by machine from the host's git identity; changes are overwritten.".to_string()];
        lines.push("[user]".into());
        let user = [("name", &self.name), ("email", &self.email)];
        lines.extend(user.iter().filter_map(|(key, value)| value.as_ref().map(|value| format!("\t{key} = {}", quote(value)))));
        if let Some(key) = &self.signing_key {
            lines.push(format!("\tsigningKey = {}", quote(&format!("key::{key}"))));
            lines.push("[gpg]\n\tformat = ssh".into());
            lines.push("[gpg \"ssh\"]\n\tallowedSignersFile = /etc/machine/allowed_signers".into());
            lines.push("[commit]\n\tgpgSign = true".into());
            lines.push("[tag]\n\tgpgSign = true".into());
        }
        lines.push("[init]\n\tdefaultBranch = main".into());
        lines.join("\n") + "\n"
    }

    fn render_signers(&self) -> String {
        match (&self.email, &self.signing_key) {
            (Some(email), Some(key)) => format!("{email} namespaces=\"git\" {key}\n"),
            _ => String::new(),
        }
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
        let text = identity.render_gitconfig();
        assert!(text.contains(r#"name = "A \"B\" # C\\""#), "{text}");
        assert!(text.contains("signingKey = \"key::ssh-ed25519 AAAA\""));
        assert_eq!(identity.render_signers(), "a@b.example namespaces=\"git\" ssh-ed25519 AAAA\n");
        let unsigned = GitIdentity { signing_key: None, ..identity };
        assert!(!unsigned.render_gitconfig().contains("gpg"));
    }

    #[test]
    fn aliases_of_the_host_are_known_in_the_guest() {
        let host = GitHost { alias: "work".into(), hostname: "git.corp".into(), port: Some(2222), known_hosts: vec![] };
        assert!(render_aliases(&[host]).contains("Host work\n  HostName git.corp\n  Port 2222\n"));
    }

    #[test]
    fn the_large_hosts_are_pinned() {
        assert!(is_pinned("github.com") && is_pinned("gitlab.com") && is_pinned("codeberg.org"));
        assert!(!is_pinned("example.com"));
    }
}
