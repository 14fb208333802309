//! The environment of every session, the same for login shells, `run` and editors.
//!
//! Enters: variables and folders of the profiles and the project. Leaves: the step that writes them in the guest.
//! sshd's `SetEnv` reaches what no shell startup file does; the files repair what `/etc/profile` overwrites.

use std::collections::BTreeMap;

use super::shell::quote;
use super::step::Step;

/// Where Debian keeps programs; the folders with `s` too, since this user is an administrator.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/games";
/// Where npm, uv and the agents put programs of the login user.
const USER_PATH: &str = "/home/dev/.local/bin";
/// The one file of certificates that Debian maintains.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Programs that bring certificates of their own and have to be told about the system's.
const CA_VARIABLES: [&str; 3] = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"];

/// What sessions see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Variables, later ones of the project included.
    pub variables: BTreeMap<String, String>,
    /// Folders before the system's, first come first found.
    pub path: Vec<String>,
}

impl Environment {
    /// Adds what programs need to trust extra certificate authorities; what is set already stays.
    pub fn trust_system_certificates(&mut self) {
        for name in CA_VARIABLES {
            self.variables.entry(name.into()).or_insert_with(|| BUNDLE.into());
        }
    }

    /// The step that writes the environment and tells sshd.
    pub fn step(&self) -> Step {
        let files = vec![
            ("env.sh".to_string(), self.render_posix().into_bytes()),
            ("env.fish".to_string(), self.render_fish().into_bytes()),
            ("sshd.conf".to_string(), self.render_sshd().into_bytes()),
        ];
        let body = "install -D -m 0644 env.sh /etc/machine/env.sh\n\
            ln -sfn /etc/machine/env.sh /etc/profile.d/zz-machine.sh\n\
            install -D -m 0644 env.fish /etc/fish/conf.d/zz-machine.fish\n\
            install -m 0644 sshd.conf /etc/ssh/sshd_config.d/20-machine-environment.conf\n\
            sshd -t\nsystemctl reload ssh.service\n";
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
            format!("set -gx PATH {}", path.join(" ")),
        ];
        lines.extend(self.variables.iter().map(|(name, value)| format!("set -gx {name} {}", escape(value))));
        lines.join("\n") + "\n"
    }

    /// One line: of several `SetEnv` lines sshd takes only the first (servconf.c).
    fn render_sshd(&self) -> String {
        let escape = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"");
        let path = ("PATH".to_string(), self.user_path());
        let pairs = std::iter::once((&path.0, &path.1)).chain(&self.variables);
        let words: Vec<String> = pairs.map(|(name, value)| format!("\"{name}={}\"", escape(value))).collect();
        format!("# Written by machine; changes are overwritten.\nSetEnv {}\n", words.join(" "))
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
        }
    }

    #[test]
    fn hostile_values_are_quoted_for_each_reader() {
        let environment = example();
        assert!(environment.render_posix().contains("export A='it'\\''s \"x\" \\ $HOME # y'\n"));
        assert!(environment.render_fish().contains("set -gx A 'it\\'s \"x\" \\\\ $HOME # y'\n"));
        assert!(environment.render_sshd().contains("\"A=it's \\\"x\\\" \\\\ $HOME # y\"\n"));
        assert_eq!(environment.render_sshd().lines().filter(|line| line.starts_with("SetEnv")).count(), 1);
    }

    #[test]
    fn the_users_folder_is_first_but_not_for_root() {
        let text = example().render_posix();
        assert!(text.contains("PATH='/usr/local/go/bin:/usr/local/bin"));
        assert!(text.contains("[ \"$(id -u)\" = 0 ] || PATH=/home/dev/.local/bin:$PATH"));
    }
}
