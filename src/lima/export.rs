//! Renders a project as one file for plain Lima: no path, key, name or certificate of this computer is in it.
//!
//! Enters: a project's sizes, public images and scripts as values. Leaves: commented YAML text, the same for the same
//! values. Each piece is serialised below its comment, and `{{` in a script is escaped, since Lima expands it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::forwards::rules;
use super::template::Ssh;
use super::yaml;
use crate::failure::Result;
use crate::model::{Arch, ByteSize, Digest, PortForward, ProjectName, Repo, Shell, list_ports};

/// The half that is the same in every file.
const STATIC: &str = include_str!("../../templates/export/lima.yaml");
/// What Lima puts in the place of an instance's name, in scripts as in its message.
const NAME: &str = "{{.Name}}";

const ABOUT_START: &str = "\
# The first start installs everything, which takes minutes. Without `--timeout`, Lima waits for ten of them, while the
# guest goes on. What one start has not finished, the next one does.
";
const NOT_IN_IT: &str = r#"#
# What is left out, since it belongs to a person or to a computer:
#   identity       who commits; in the guest: git config --global user.name "…"; git config --global user.email "…"
#   certificates   of a network that re-signs TLS: limactl start --set='.caCerts.files=["/path/to/its.crt"]' …
#   secrets        none are in this file, or in the guest
#   the boundary   the guest reaches every service on the host's 127.0.0.1, at 192.168.5.2, and the host's network
"#;
const ABOUT_IMAGES: &str =
    "The one for the computer's architecture is downloaded, and checked by its digest.";
const AGENT_IS_LENT: &str = "\
Cloning needs an ssh-agent, and Lima lends it for as long as the machine runs: whoever is root in the guest may use
every key in it, also when no shell is open. Once everything is cloned it can be turned off in the stopped instance:
`limactl edit --set='.ssh.forwardAgent=false' NAME`. Lima says that plain mode ignores this key; what it leaves out
is a link to the agent in the guest's /run, not the agent.";
const AGENT_IS_KEPT: &str = "No ssh-agent reaches the guest.";
const NO_PORTS: &str = "No port of the guest appears on this computer, but sshd's.";
const ABOUT_PORTS: &str = "\
What of the guest appears on this computer's 127.0.0.1; nothing else does. Lima sets them up at a start. The first one
ends their connection once everything is installed, and they are back with the next: `limactl stop`, `limactl start`.";
const ABOUT_MESSAGE: &str = "Printed when the machine is ready.";
const ABOUT_PROBE: &str = "Clones the repositories: scripts below `provision` have no agent, a probe has.";
const ABOUT_STEPS: &str = "Run by root at every boot, in this order. A step leaves a stamp in /var/lib/machine/steps and is done when it is there.
What the steps print is in /var/log/machine-steps.log.";

/// An image that every computer can download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicImage {
    /// The architecture it is for.
    pub arch: Arch,
    /// An `https://` address.
    pub location: String,
    /// Of its bytes.
    pub digest: Digest,
}

/// All that goes into a file.
#[derive(Clone, Debug)]
pub struct Export {
    /// The project.
    pub name: ProjectName,
    /// `debian-13 · base + python · 4 cpus · 6 GiB`.
    pub headline: String,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The size the disk may grow to.
    pub disk: ByteSize,
    /// One for each architecture, at least one.
    pub images: Vec<PublicImage>,
    /// The login shell.
    pub shell: Shell,
    /// What is cloned.
    pub repos: Vec<Repo>,
    /// What of the guest appears on the host's 127.0.0.1.
    pub ports: Vec<PortForward>,
    /// Whether Lima's connection lends the guest the agent, for as long as the machine runs.
    pub forward_agent: bool,
    /// Run by root at every boot, in order. The first gets the instance's name as `instance`.
    pub scripts: Vec<String>,
    /// Run by the login user at every start.
    pub probe: String,
}

#[derive(Serialize)]
struct Sizes {
    cpus: u32,
    memory: String,
    disk: String,
}

#[derive(Serialize)]
struct Image {
    location: String,
    arch: &'static str,
    digest: String,
}

#[derive(Serialize)]
struct Probe {
    description: &'static str,
    script: String,
}

#[derive(Serialize)]
struct Provision {
    mode: &'static str,
    script: String,
}

impl Export {
    /// The text of the file.
    ///
    /// # Errors
    /// When the YAML cannot be written, which would be a bug of the serialiser.
    pub fn render(&self) -> Result<String> {
        let sizes = Sizes { cpus: self.cpus, memory: self.memory.to_string(), disk: self.disk.to_string() };
        let ssh = Ssh::new(0, self.forward_agent);
        let about_agent = if self.forward_agent { AGENT_IS_LENT } else { AGENT_IS_KEPT };
        let about_ports = if self.ports.is_empty() { NO_PORTS } else { ABOUT_PORTS };
        let probe = Probe { description: "tools and repositories", script: escape(&self.probe) };
        let pieces = [
            self.heading(),
            STATIC.to_string(),
            yaml::write(&sizes)?,
            piece(ABOUT_IMAGES, "images", &self.images())?,
            piece(about_agent, "ssh", &ssh)?,
            piece(about_ports, "portForwards", &rules(&self.ports))?,
            piece(ABOUT_MESSAGE, "message", &self.message())?,
            piece(ABOUT_PROBE, "probes", &[probe])?,
            piece(ABOUT_STEPS, "provision", &self.provision())?,
        ];
        Ok(pieces.join("\n"))
    }

    fn images(&self) -> Vec<Image> {
        let render = |image: &PublicImage| Image {
            location: image.location.clone(),
            arch: image.arch.lima(),
            digest: image.digest.to_string(),
        };
        self.images.iter().map(render).collect()
    }

    fn provision(&self) -> Vec<Provision> {
        let escaped = self.scripts.iter().map(|script| escape(script));
        let mut scripts: Vec<String> = escaped.collect();
        if let Some(first) = scripts.first_mut() {
            *first = first.replacen('\n', &format!("\ninstance={NAME}\n"), 1);
        }
        scripts.into_iter().map(|script| Provision { mode: "system", script }).collect()
    }

    fn message(&self) -> String {
        let ports = if self.ports.is_empty() {
            String::new()
        } else {
            let list = list_ports(&self.ports);
            format!(
                "The ports {list} lead into it from its second start on: limactl stop {NAME}; limactl start {NAME}\n"
            )
        };
        format!(
            "Lima does not tell when a step of provisioning or a clone has failed. This does, and tries again:\n  \
             limactl shell {NAME} machine-finish\n\
             {ports}A shell:\n  limactl shell {}{NAME}\n",
            self.shell_options()
        )
    }

    /// The options that open Lima's shell as `machine ssh` opens one.
    fn shell_options(&self) -> String {
        let shell = match self.shell {
            Shell::Bash => "",
            Shell::Zsh => "--shell=zsh ",
            Shell::Fish => "--shell=fish ",
        };
        let first = self.repos.first();
        first.map_or_else(
            || shell.to_string(),
            |repo| format!("{shell}--workdir=/home/dev/code/{} ", repo.dir),
        )
    }

    fn heading(&self) -> String {
        let (name, headline, shell) = (&self.name, &self.headline, self.shell_options());
        let minimum = super::version::MINIMUM;
        let mut text = format!(
            "# The project `{name}` for plain Lima: {headline}\n\
             # Written by `machine export {name}`. It needs Lima {minimum} or later, and no `machine`. An instance has \
             its file's name:\n#\n\
             #   limactl start --timeout=1h {name}.yaml\n\
             #   limactl shell {shell}{name}\n#\n"
        );
        text += ABOUT_START;
        if !self.repos.is_empty() {
            text += "#\n# What is cloned:\n";
        }
        for repo in &self.repos {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "#   {} → ~/code/{}", repo.url, repo.dir);
        }
        text + NOT_IN_IT
    }
}

/// A key with its value, below its comment.
fn piece<T: Serialize>(comment: &str, key: &str, value: &T) -> Result<String> {
    let yaml = yaml::write(&BTreeMap::from([(key, value)]))?;
    let comment = comment.lines().fold(String::new(), |text, line| text + "# " + line + "\n");
    Ok(comment + &yaml)
}

/// A script as Lima's template language has it: an opening pair of braces becomes an expression that gives one.
fn escape(script: &str) -> String {
    script.replace("{{", "{{\"{{\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DigestAlgorithm;

    fn example() -> Export {
        let digest = Digest { algorithm: DigestAlgorithm::Sha512, hex: "0a".repeat(64) };
        let image = |arch: Arch| PublicImage {
            arch,
            location: format!("https://images.example/debian-13-{}.qcow2", arch.debian()),
            digest: digest.clone(),
        };
        Export {
            name: "blog".parse().expect("a name"),
            headline: "debian-13 · base · 2 cpus · 4 GiB".into(),
            cpus: 2,
            memory: "4GiB".parse().expect("a size"),
            disk: "40GiB".parse().expect("a size"),
            images: vec![image(Arch::Amd64), image(Arch::Arm64)],
            shell: Shell::Zsh,
            repos: vec![Repo {
                url: "git@github.com:you/blog.git".parse().expect("a URL"),
                dir: "blog".into(),
                branch: None,
            }],
            ports: Vec::new(),
            forward_agent: true,
            scripts: vec!["#!/bin/bash\nfirst\n".into(), "#!/bin/bash\n# {{ }}: x\n\tsecond  \n\n".into()],
            probe: "#!/bin/bash\necho '{{{'\n".into(),
        }
    }

    /// What stands before the half that is the same in every file, and behind it.
    fn halves() -> (String, String) {
        let yaml = example().render().expect("YAML");
        let (heading, rest) = yaml.split_once("\n# What every exported machine has.").expect("a heading");
        let (_, own) = rest.split_once("\n\ncpus:").expect("sizes");
        (heading.to_string(), format!("cpus:{own}"))
    }

    #[test]
    fn the_heading_says_how_to_start_it_and_what_is_not_in_it() {
        insta::assert_snapshot!(halves().0, @r#"
        # The project `blog` for plain Lima: debian-13 · base · 2 cpus · 4 GiB
        # Written by `machine export blog`. It needs Lima 2.2.0 or later, and no `machine`. An instance has its file's name:
        #
        #   limactl start --timeout=1h blog.yaml
        #   limactl shell --shell=zsh --workdir=/home/dev/code/blog blog
        #
        # The first start installs everything, which takes minutes. Without `--timeout`, Lima waits for ten of them, while the
        # guest goes on. What one start has not finished, the next one does.
        #
        # What is cloned:
        #   git@github.com:you/blog.git → ~/code/blog
        #
        # What is left out, since it belongs to a person or to a computer:
        #   identity       who commits; in the guest: git config --global user.name "…"; git config --global user.email "…"
        #   certificates   of a network that re-signs TLS: limactl start --set='.caCerts.files=["/path/to/its.crt"]' …
        #   secrets        none are in this file, or in the guest
        #   the boundary   the guest reaches every service on the host's 127.0.0.1, at 192.168.5.2, and the host's network
        "#);
    }

    #[test]
    fn the_half_that_differs() {
        insta::assert_snapshot!(halves().1, @r#"
        cpus: 2
        memory: 4GiB
        disk: 40GiB

        # The one for the computer's architecture is downloaded, and checked by its digest.
        images:
        - location: https://images.example/debian-13-amd64.qcow2
          arch: x86_64
          digest: sha512:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
        - location: https://images.example/debian-13-arm64.qcow2
          arch: aarch64
          digest: sha512:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a

        # Cloning needs an ssh-agent, and Lima lends it for as long as the machine runs: whoever is root in the guest may use
        # every key in it, also when no shell is open. Once everything is cloned it can be turned off in the stopped instance:
        # `limactl edit --set='.ssh.forwardAgent=false' NAME`. Lima says that plain mode ignores this key; what it leaves out
        # is a link to the agent in the guest's /run, not the agent.
        ssh:
          localPort: 0
          loadDotSSHPubKeys: false
          forwardAgent: true
          forwardX11: false
          forwardX11Trusted: false

        # No port of the guest appears on this computer, but sshd's.
        portForwards: []

        # Printed when the machine is ready.
        message: |
          Lima does not tell when a step of provisioning or a clone has failed. This does, and tries again:
            limactl shell {{.Name}} machine-finish
          A shell:
            limactl shell --shell=zsh --workdir=/home/dev/code/blog {{.Name}}

        # Clones the repositories: scripts below `provision` have no agent, a probe has.
        probes:
        - description: tools and repositories
          script: |
            #!/bin/bash
            echo '{{"{{"}}{'

        # Run by root at every boot, in this order. A step leaves a stamp in /var/lib/machine/steps and is done when it is there.
        # What the steps print is in /var/log/machine-steps.log.
        provision:
        - mode: system
          script: |
            #!/bin/bash
            instance={{.Name}}
            first
        - mode: system
          script: |+
            #!/bin/bash
            # {{"{{"}} }}: x
            	second
        "#);
    }

    #[test]
    fn no_key_stands_twice_and_what_a_machine_has_too_is_the_same() {
        let text = example().render().expect("YAML");
        let keys: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()))
            .filter_map(|line| line.split_once(':').map(|(key, _)| key))
            .collect();
        let unique: std::collections::BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len(), "{keys:?}");
        let exported = yaml::parse(STATIC).expect("YAML");
        let machine = yaml::parse(include_str!("../../templates/lima.yaml")).expect("YAML");
        let machine = machine.as_object().expect("a map");
        for (key, value) in machine.iter().filter(|(key, _)| *key != "probes") {
            assert_eq!(exported.get(key), Some(value), "{key}");
        }
        // It has no probes there, and a machine has its user in the other half.
        assert_eq!(exported.as_object().expect("a map").len(), machine.len());
    }

    #[test]
    fn ports_go_along_and_it_says_from_when_they_are_there() {
        let export = Export { ports: vec!["8080:80".parse().expect("a port")], ..example() };
        let text = export.render().expect("YAML");
        let read = yaml::parse(&text).expect("YAML");
        assert_eq!(crate::lima::ports_in(&read), export.ports);
        assert!(
            text.contains("# What of the guest appears on this computer's 127.0.0.1; nothing else does.")
        );
        let message = read["message"].as_str().expect("a text");
        assert!(message.contains("The ports 8080:80 lead into it from its second start on: limactl stop"));
    }

    #[test]
    fn scripts_are_read_back_as_they_were_but_for_limas_braces() {
        let read = yaml::parse(&example().render().expect("YAML")).expect("YAML");
        assert_eq!(read["provision"][0]["script"], "#!/bin/bash\ninstance={{.Name}}\nfirst\n");
        assert_eq!(read["provision"][1]["script"], "#!/bin/bash\n# {{\"{{\"}} }}: x\n\tsecond  \n\n");
        assert_eq!(read["probes"][0]["script"], "#!/bin/bash\necho '{{\"{{\"}}{'\n");
    }

    #[test]
    fn without_repositories_no_agent_is_lent() {
        let export = Export { repos: Vec::new(), forward_agent: false, shell: Shell::Bash, ..example() };
        let yaml = export.render().expect("YAML");
        assert!(
            yaml.contains("# No ssh-agent reaches the guest.\nssh:\n")
                && yaml.contains("forwardAgent: false")
        );
        assert!(
            yaml.contains("#   limactl shell blog\n") && yaml.contains("\n    limactl shell {{.Name}}\n")
        );
    }
}
