//! Renders a machine's lima.yaml: a typed overlay below the static, commented half in templates/.
//!
//! Enters: the machine's size, image, port and host key. Leaves: YAML text. No template engine, so nothing can be
//! injected: the overlay is serialised, and Lima's own `{{…}}` is evaluated only in keys that are not rendered.

use std::path::PathBuf;

use serde::Serialize;

use super::forwards::{Rule, rules};
use super::user::User;
use super::yaml;
use crate::failure::Result;
use crate::model::{ByteSize, Host, HostOs, PortForward};

/// The static half.
const STATIC: &str = include_str!("../../templates/lima.yaml");
/// The script that gives sshd its pinned key.
const HOST_KEY_SCRIPT: &str = include_str!("../../templates/guest/host-key.sh");

/// A verified disk image on this host, and how it boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// The file Lima copies.
    pub location: PathBuf,
    /// Kernel, initrd and command line for direct boot.
    pub kernel: Option<(PathBuf, PathBuf, String)>,
}

/// All that makes one machine's lima.yaml differ from another's.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Written as a comment: the marker that the instance is ours.
    pub uuid: String,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The size the disk may grow to.
    pub disk: ByteSize,
    /// The image it starts from.
    pub image: LocalImage,
    /// The port of 127.0.0.1 that reaches the guest's sshd.
    pub ssh_port: u16,
    /// What of the guest appears on the host's 127.0.0.1.
    pub ports: Vec<PortForward>,
    /// The private host key in OpenSSH's format. The one secret in this file (its mode is 0600).
    pub host_key: String,
    /// The public key of root's way in, for a machine whose login user is no root.
    pub root_key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overlay {
    vm_type: &'static str,
    arch: &'static str,
    cpus: u32,
    memory: String,
    disk: String,
    images: [Image; 1],
    user: User,
    ssh: Ssh,
    port_forwards: Vec<Rule>,
    firmware: Firmware,
    provision: [Provision; 1],
}

#[derive(Serialize)]
struct Image {
    location: PathBuf,
    arch: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<Kernel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initrd: Option<Location>,
}

#[derive(Serialize)]
struct Kernel {
    location: PathBuf,
    cmdline: String,
}

#[derive(Serialize)]
struct Location {
    location: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ssh {
    local_port: u16,
    #[serde(rename = "loadDotSSHPubKeys")]
    load_dot_ssh_pub_keys: bool,
    forward_agent: bool,
    forward_x11: bool,
    forward_x11_trusted: bool,
}

#[derive(Serialize)]
struct Firmware {
    #[serde(rename = "legacyBIOS")]
    legacy_bios: bool,
}

#[derive(Serialize)]
struct Provision {
    mode: &'static str,
    script: String,
}

impl Ssh {
    /// All that a connection could carry is off, but perhaps the agent. Port 0 is one that Lima chooses.
    pub(super) fn new(local_port: u16, forward_agent: bool) -> Self {
        let (load_dot_ssh_pub_keys, forward_x11, forward_x11_trusted) = (false, false, false);
        Self { local_port, load_dot_ssh_pub_keys, forward_agent, forward_x11, forward_x11_trusted }
    }
}

impl Machine {
    /// The text of lima.yaml for this host.
    ///
    /// # Errors
    /// When the YAML cannot be written, which would be a bug of the serialiser.
    pub fn render(&self, host: &Host) -> Result<String> {
        let overlay = yaml::write(&self.overlay(host))?;
        let marker = marker(&self.uuid);
        Ok(format!("{marker}\n{STATIC}\n# This machine's own half.\n{overlay}"))
    }

    fn host_key_script(&self) -> String {
        let (shebang, body) = HOST_KEY_SCRIPT.split_once('\n').unwrap_or(("#!/bin/sh", HOST_KEY_SCRIPT));
        let root = self.root_key.as_ref().map_or_else(String::new, |key| format!("ROOT='{key}'\n"));
        // Keys are base64 between known words: nothing in them means anything inside single quotes.
        format!("{shebang}\nKEY='{}'\n{root}{body}", self.host_key.trim_end())
    }

    fn overlay(&self, host: &Host) -> Overlay {
        let arch = host.arch.lima();
        let kernel = self.image.kernel.clone();
        Overlay {
            vm_type: host.vm_type(),
            arch,
            cpus: self.cpus,
            memory: self.memory.to_string(),
            disk: self.disk.to_string(),
            // A kernel that is given needs no firmware; SeaBIOS is the quicker way to it, and QEMU's alone.
            firmware: Firmware { legacy_bios: kernel.is_some() && host.os == HostOs::Linux },
            images: [Image {
                location: self.image.location.clone(),
                arch,
                initrd: kernel.as_ref().map(|(_, initrd, _)| Location { location: initrd.clone() }),
                kernel: kernel.map(|(location, _, cmdline)| Kernel { location, cmdline }),
            }],
            user: User::new(self.root_key.is_none()),
            ssh: Ssh::new(self.ssh_port, false),
            port_forwards: rules(&self.ports),
            provision: [Provision { mode: "system", script: self.host_key_script() }],
        }
    }
}

/// The comment that says which machine an instance is.
pub fn marker(uuid: &str) -> String {
    format!("# machine {uuid}")
}

/// The uuid in the first line of a lima.yaml of ours.
pub fn uuid_of(yaml: &str) -> Option<&str> {
    let uuid = yaml.lines().next()?.strip_prefix("# machine ")?.trim();
    (uuid.len() == 32 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(uuid)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::lima::{isolation_in, ports_in, with_ports};
    use crate::model::{Arch, Isolation};

    pub(in crate::lima) fn example() -> Machine {
        Machine {
            uuid: "0123456789abcdef0123456789abcdef".into(),
            cpus: 2,
            memory: "4GiB".parse().expect("a size"),
            disk: "40GiB".parse().expect("a size"),
            image: LocalImage { location: "/cache/debian: 13 #1.raw".into(), kernel: None },
            ssh_port: 20_001,
            ports: Vec::new(),
            host_key: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n".into(),
            root_key: None,
        }
    }

    fn host(os: HostOs, arch: Arch) -> Host {
        Host { os, arch, cpus: 8, memory_bytes: None }
    }

    fn overlay_of(yaml: &str) -> String {
        let (_, overlay) = yaml.split_once("# This machine's own half.\n").expect("two halves");
        overlay.split_once("provision:").expect("a script").0.to_string()
    }

    #[test]
    fn linux_on_amd64() {
        let yaml = example().render(&host(HostOs::Linux, Arch::Amd64)).expect("YAML");
        insta::assert_snapshot!(overlay_of(&yaml), @r#"
        vmType: qemu
        arch: x86_64
        cpus: 2
        memory: 4GiB
        disk: 40GiB
        images:
        - location: "/cache/debian: 13 #1.raw"
          arch: x86_64
        user:
          name: dev
          comment: ""
          uid: 1000
          home: /home/dev
          shell: /bin/bash
          passwordlessSudo: true
        ssh:
          localPort: 20001
          loadDotSSHPubKeys: false
          forwardAgent: false
          forwardX11: false
          forwardX11Trusted: false
        portForwards: []
        firmware:
          legacyBIOS: false
        "#);
    }

    #[test]
    fn macos_on_arm64() {
        let yaml = example().render(&host(HostOs::MacOs, Arch::Arm64)).expect("YAML");
        insta::assert_snapshot!(overlay_of(&yaml), @r#"
        vmType: vz
        arch: aarch64
        cpus: 2
        memory: 4GiB
        disk: 40GiB
        images:
        - location: "/cache/debian: 13 #1.raw"
          arch: aarch64
        user:
          name: dev
          comment: ""
          uid: 1000
          home: /home/dev
          shell: /bin/bash
          passwordlessSudo: true
        ssh:
          localPort: 20001
          loadDotSSHPubKeys: false
          forwardAgent: false
          forwardX11: false
          forwardX11Trusted: false
        portForwards: []
        firmware:
          legacyBIOS: false
        "#);
    }

    #[test]
    fn ports_are_spelt_out_and_can_be_put_in_the_place_of_others() {
        let host = host(HostOs::Linux, Arch::Amd64);
        let ports: Vec<PortForward> = ["3000", "8080:80"].map(|port| port.parse().expect("a port")).into();
        let with = Machine { ports: ports.clone(), ..example() }.render(&host).expect("YAML");
        let piece = with.split_once("portForwards:").and_then(|(_, rest)| rest.split_once("firmware:"));
        insta::assert_snapshot!(piece.expect("rules").0, @r#"
        - guestIP: "127.0.0.1"
          guestPort: 3000
          guestPortRange:
          - 3000
          - 3000
          hostIP: "127.0.0.1"
          hostPort: 3000
          hostPortRange:
          - 3000
          - 3000
          proto: tcp
          static: true
        - guestIP: "127.0.0.1"
          guestPort: 80
          guestPortRange:
          - 80
          - 80
          hostIP: "127.0.0.1"
          hostPort: 8080
          hostPortRange:
          - 8080
          - 8080
          proto: tcp
          static: true
        "#);
        let without = example().render(&host).expect("YAML");
        assert_eq!(with_ports(&with, &[]).expect("YAML"), without);
        assert_eq!(with_ports(&without, &ports).expect("YAML"), with);
        assert_eq!(ports_in(&yaml::parse(&with).expect("parsed")), ports);
        assert_eq!(ports_in(&yaml::parse(&without).expect("parsed")), []);
    }

    #[test]
    fn a_long_path_with_spaces_is_read_back() {
        let location: PathBuf = format!("/{}/disk", "a  folder with spaces/".repeat(8)).into();
        let image = LocalImage { location: location.clone(), kernel: None };
        let yaml = Machine { image, ..example() }.render(&host(HostOs::Linux, Arch::Amd64)).expect("YAML");
        assert!(!yaml.contains(">-"));
        assert_eq!(
            yaml::parse(&yaml).expect("parsed")["images"][0]["location"],
            location.to_string_lossy().as_ref()
        );
    }

    #[test]
    fn every_door_is_closed_by_its_key() {
        let yaml = example().render(&host(HostOs::Linux, Arch::Amd64)).expect("YAML");
        let config = yaml::parse(&yaml).expect("a document");
        let at = |key: &str| config.pointer(&format!("/{key}")).map(ToString::to_string).unwrap_or_default();
        assert_eq!(at("plain"), "true");
        for list in ["mounts", "networks", "portForwards", "copyToHost", "additionalDisks", "probes"] {
            assert_eq!(at(list), "[]", "{list}");
        }
        for flag in [
            "propagateProxyEnv",
            "hostResolver/enabled",
            "containerd/system",
            "containerd/user",
            "ssh/forwardAgent",
            "ssh/forwardX11",
            "ssh/loadDotSSHPubKeys",
            "nestedVirtualization",
            "upgradePackages",
        ] {
            assert_eq!(at(flag), "false", "{flag}");
        }
        for proxy in ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"] {
            assert_eq!(at(&format!("env/{proxy}")), "\"\"", "{proxy}");
        }
        assert_eq!((at("user/comment"), at("user/home")), ("\"\"".into(), "\"/home/dev\"".into()));
    }

    #[test]
    fn a_strict_machine_has_no_sudo_and_a_way_in_for_root() {
        let host = host(HostOs::Linux, Arch::Amd64);
        let strict = Machine { root_key: Some("ssh-ed25519 BBBB".into()), ..example() };
        let of = |machine: &Machine| {
            let config = yaml::parse(&machine.render(&host).expect("YAML")).expect("a document");
            let script = config["provision"][0]["script"].as_str().unwrap_or_default().to_string();
            (config["user"]["passwordlessSudo"].clone(), script.contains("\nROOT='ssh-ed25519 BBBB'\n"))
        };
        assert_eq!((of(&example()), of(&strict)), ((true.into(), false), (false.into(), true)));
        let yaml = strict.render(&host).expect("YAML");
        assert_eq!(isolation_in(&yaml::parse(&yaml).expect("a document")), Isolation::Strict);
    }

    #[test]
    fn no_key_stands_in_both_halves() {
        let yaml = example().render(&host(HostOs::Linux, Arch::Amd64)).expect("YAML");
        let keys: Vec<&str> = yaml
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()))
            .filter_map(|line| line.split_once(':').map(|(key, _)| key))
            .collect();
        let unique: std::collections::BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len(), "{keys:?}");
        assert!(keys.contains(&"plain") && keys.contains(&"provision"));
    }

    #[test]
    fn the_marker_can_be_read_back() {
        let yaml = example().render(&host(HostOs::Linux, Arch::Amd64)).expect("YAML");
        assert_eq!(uuid_of(&yaml), Some("0123456789abcdef0123456789abcdef"));
        assert_eq!(uuid_of("# machine x"), None);
        assert_eq!(uuid_of("minimumLimaVersion: 2.2.0"), None);
    }

    #[test]
    fn nothing_of_the_host_is_rendered() {
        let yaml = example().render(&host(HostOs::MacOs, Arch::Arm64)).expect("YAML");
        for word in ["HOME", "USER", "forwardAgent: true", "writable", "localhost"] {
            assert!(!yaml.contains(word), "{word}");
        }
    }
}
