//! Who commits in the guest, which keys git hosts must show, how their aliases are reached, and what `localhost` is.
//!
//! Enters: what the host's git and ssh say. Leaves: the step that writes `/etc/gitconfig` and the system's other files.
//! The only facts about the host's owner that ever enter a guest are these.

use super::step::{IDENTITY, Step};
use crate::model::{GitHost, GitIdentity, GitToken, Repo, Transport};

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

/// A secret that git logs in with, and the addresses that are asked for it, such as `https://github.com`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitLogins(Vec<(String, GitToken)>);

impl GitLogins {
    /// The log-ins for the hosts of a project's own https repositories; no other host ever sees the token.
    pub fn of(token: Option<&GitToken>, repos: &[Repo]) -> Self {
        let mut logins: Vec<(String, GitToken)> = Vec::new();
        let https = repos.iter().map(|repo| &repo.url).filter(|url| url.transport() == Transport::Https);
        for (url, token) in https.zip(std::iter::repeat(token)) {
            let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
            let address = format!("https://{}{port}", url.host());
            if let Some(token) = token.filter(|_| logins.iter().all(|(known, _)| *known != address)) {
                logins.push((address, token.clone()));
            }
        }
        Self(logins)
    }

    fn render(&self) -> Vec<String> {
        let section = |(address, token): &(String, GitToken)| {
            format!(
                "[credential {}]\n\thelper = {}\n\tusername = {}",
                quote(address),
                quote(&format!("/usr/local/lib/machine/git-credential {}", token.secret)),
                quote(&token.username)
            )
        };
        self.0.iter().map(section).collect()
    }
}

/// The step that writes identity, log-ins and host keys.
pub fn identity_step(identity: &GitIdentity, logins: &GitLogins, hosts: &[GitHost]) -> Step {
    let gitconfig = [vec![render_gitconfig(identity)], logins.render()].concat().join("\n");
    let files = vec![
        ("gitconfig".to_string(), (gitconfig.trim_end().to_string() + "\n").into_bytes()),
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
    fn a_token_is_for_the_hosts_of_the_projects_https_repositories_only() {
        let repo = |url: &str| Repo { url: url.parse().expect("a URL"), dir: "x".into(), branch: None };
        let repos = [
            repo("git@github.com:you/a.git"),
            repo("https://git.corp:8443/you/b.git"),
            repo("https://git.corp:8443/you/c.git"),
        ];
        let token = GitToken { secret: "TOKEN".parse().expect("a name"), username: "me".into() };
        let logins = GitLogins::of(Some(&token), &repos).render();
        let expected = "[credential \"https://git.corp:8443\"]\n\thelper = \"/usr/local/lib/machine/git-credential TOKEN\"\n\tusername = \"me\"";
        assert_eq!(logins, [expected]);
        assert_eq!(GitLogins::of(None, &repos), GitLogins::default());
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
