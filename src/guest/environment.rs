//! The environment of every session, the same for login shells, `run` and editors.
//!
//! Enters: variables and folders of the profiles and the project, a proxy. Leaves: the step that writes them in the guest.
//! sshd's `SetEnv` reaches what no shell startup file does; the files repair what `/etc/profile` overwrites.

use std::collections::BTreeMap;

use super::shell::quote;
use super::step::Step;
use crate::model::{Door, Proxy};

/// Where Debian keeps programs; the folders with `s` too, since this user is an administrator.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/games";
/// Where npm, uv and the agents put programs of the login user.
const USER_PATH: &str = "/home/dev/.local/bin";
/// The one file of certificates that Debian maintains.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Programs that bring certificates of their own and have to be told about the system's.
const CA_VARIABLES: [&str; 3] = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"];

/// What programs look for: curl and git in small letters, others in large ones.
const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];
/// What is reached without one.
const NO_PROXY_VARIABLES: [&str; 2] = ["no_proxy", "NO_PROXY"];
const THE_GUEST_ITSELF: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What sessions see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Variables, later ones of the project included.
    pub variables: BTreeMap<String, String>,
    /// Folders before the system's, first come first found.
    pub path: Vec<String>,
    /// Those of the variables that services and sudo see as well.
    services: BTreeMap<String, String>,
}

impl Environment {
    /// Adds what programs need to trust extra certificate authorities; what is set already stays.
    pub fn trust_system_certificates(&mut self) {
        for name in CA_VARIABLES {
            self.variables.entry(name.into()).or_insert_with(|| BUNDLE.into());
        }
    }

    /// Adds what leads programs to a proxy, but to what `allow` opens; what is set already stays.
    pub fn use_proxy(&mut self, proxy: &Proxy, allow: &[Door]) {
        let opened = allow.iter().filter(|door| **door != proxy.door()).map(|door| door.place.to_string());
        let direct: Vec<String> = THE_GUEST_ITSELF.map(String::from).into_iter().chain(opened).collect();
        let proxies = PROXY_VARIABLES.map(|name| (name, proxy.to_string()));
        for (name, value) in
            proxies.into_iter().chain(NO_PROXY_VARIABLES.map(|name| (name, direct.join(","))))
        {
            let value = self.variables.entry(name.into()).or_insert(value);
            self.services.insert(name.into(), value.clone());
        }
    }

    /// The step that writes the environment and tells sshd.
    pub fn step(&self) -> Step {
        let files = [
            ("env.sh", self.render_posix()),
            ("env.fish", self.render_fish()),
            ("sshd.conf", self.render_sshd()),
            ("proxy.conf", self.render_services()),
            ("proxy.sudoers", self.render_sudoers()),
        ];
        let files = files.map(|(name, text)| (name.to_string(), text.into_bytes())).to_vec();
        let body = include_str!("../../templates/guest/environment.sh");
        let name = match self.variables.len() {
            0 => "environment: PATH".to_string(),
            count => format!("environment: PATH, +{count}"),
        };
        Step::state("environment", name, body.into(), files)
    }

    fn user_path(&self) -> String {
        [USER_PATH]
            .into_iter()
            .chain(self.path.iter().map(String::as_str))
            .chain([SYSTEM_PATH])
            .collect::<Vec<_>>()
            .join(":")
    }

    /// For bash, zsh and every script of ours. Root does not look for programs in the user's folder.
    fn render_posix(&self) -> String {
        let path: Vec<&str> = self.path.iter().map(String::as_str).chain([SYSTEM_PATH]).collect();
        let mut lines = vec![
            "# Written by machine; changes are overwritten.".to_string(),
            format!("PATH={}", quote(&path.join(":"))),
            format!("[ \"$(id -u)\" = 0 ] || PATH={USER_PATH}:$PATH"),
            "export PATH".into(),
        ];
        lines.extend(self.variables.iter().map(|(name, value)| format!("export {name}={}", quote(value))));
        lines.join("\n") + "\n"
    }

    fn render_fish(&self) -> String {
        let escape = |value: &str| format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"));
        let path: Vec<String> = self.user_path().split(':').map(escape).collect();
        let mut lines = vec![
            "# Written by machine; changes are overwritten.".to_string(),
            // Every fish reads this, scripts too: what somebody set on the way to one is not ours to set back.
            "if status is-login".into(),
            format!("    set -gx PATH {}", path.join(" ")),
        ];
        lines.extend(
            self.variables.iter().map(|(name, value)| format!("    set -gx {name} {}", escape(value))),
        );
        lines.push("end\n".into());
        lines.join("\n")
    }

    /// One line: of several `SetEnv` lines sshd takes only the first (servconf.c).
    fn render_sshd(&self) -> String {
        let escape = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"");
        let path = ("PATH".to_string(), self.user_path());
        let pairs = std::iter::once((&path.0, &path.1)).chain(&self.variables);
        let words: Vec<String> = pairs.map(|(name, value)| format!("\"{name}={}\"", escape(value))).collect();
        format!("# Written by machine; changes are overwritten.\nSetEnv {}\n", words.join(" "))
    }

    /// For both of systemd's managers.
    fn render_services(&self) -> String {
        // A value is what was read as an address, or a project's own.
        let escape = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
        let words = self.services.iter().map(|(name, value)| format!(" \"{name}={}\"", escape(value)));
        let words: String = words.collect();
        if words.is_empty() {
            words
        } else {
            format!("[Manager]\nDefaultEnvironment={}\n", words.trim_start())
        }
    }

    fn render_sudoers(&self) -> String {
        let names: Vec<&str> = self.services.keys().map(String::as_str).collect();
        if names.is_empty() {
            return String::new();
        }
        format!("Defaults env_keep += \"{}\"\n", names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Environment {
        let value = r#"it's "x" \ $HOME # y"#;
        Environment {
            variables: [("A".to_string(), value.to_string())].into(),
            path: vec!["/usr/local/go/bin".into()],
            ..Environment::default()
        }
    }

    #[test]
    fn hostile_values_are_quoted_for_each_reader() {
        let environment = example();
        assert!(environment.render_posix().contains("export A='it'\\''s \"x\" \\ $HOME # y'\n"));
        assert!(environment.render_fish().contains("set -gx A 'it\\'s \"x\" \\\\ $HOME # y'\n"));
        // A fish below another one keeps what it was given.
        assert!(environment.render_fish().contains("\nif status is-login\n    set -gx PATH '"));
        assert!(environment.render_sshd().contains("\"A=it's \\\"x\\\" \\\\ $HOME # y\"\n"));
        assert_eq!(environment.render_sshd().lines().filter(|line| line.starts_with("SetEnv")).count(), 1);
    }

    #[test]
    fn a_proxy_is_seen_by_sessions_services_and_sudo() {
        let mut environment = Environment::default();
        environment.variables.insert("HTTPS_PROXY".into(), "http://other.corp:1".into());
        let allow =
            ["gitlab.corp:443", "proxy.corp:3128", "10.2.0.0/16"].map(|door| door.parse().expect("a door"));
        environment.use_proxy(&"http://proxy.corp:3128".parse().expect("a proxy"), &allow);
        insta::assert_snapshot!(environment.render_posix() + &environment.render_services() + &environment.render_sudoers(), @r#"
        # Written by machine; changes are overwritten.
        PATH='/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/games'
        [ "$(id -u)" = 0 ] || PATH=/home/dev/.local/bin:$PATH
        export PATH
        export HTTPS_PROXY='http://other.corp:1'
        export HTTP_PROXY='http://proxy.corp:3128'
        export NO_PROXY='localhost,127.0.0.1,::1,gitlab.corp,10.2.0.0/16'
        export http_proxy='http://proxy.corp:3128'
        export https_proxy='http://proxy.corp:3128'
        export no_proxy='localhost,127.0.0.1,::1,gitlab.corp,10.2.0.0/16'
        [Manager]
        DefaultEnvironment="HTTPS_PROXY=http://other.corp:1" "HTTP_PROXY=http://proxy.corp:3128" "NO_PROXY=localhost,127.0.0.1,::1,gitlab.corp,10.2.0.0/16" "http_proxy=http://proxy.corp:3128" "https_proxy=http://proxy.corp:3128" "no_proxy=localhost,127.0.0.1,::1,gitlab.corp,10.2.0.0/16"
        Defaults env_keep += "HTTPS_PROXY HTTP_PROXY NO_PROXY http_proxy https_proxy no_proxy"
        "#);
    }

    #[test]
    fn without_a_proxy_services_and_sudo_are_left_alone() {
        assert_eq!(example().render_services() + &example().render_sudoers(), "");
    }

    #[test]
    fn the_users_folder_is_first_but_not_for_root() {
        let text = example().render_posix();
        assert!(text.contains("PATH='/usr/local/go/bin:/usr/local/bin"));
        assert!(text.contains("[ \"$(id -u)\" = 0 ] || PATH=/home/dev/.local/bin:$PATH"));
    }
}
