//! Sealing: the text that makes a provisioned machine the origin of others, and how its boot files are taken out.
//!
//! Enters: the files of templates/guest/. Leaves: root's script, command lines, a kernel command line.
//! What a guest says about its root device is checked here: it becomes part of a lima.yaml.

use super::shell::write_file;

/// The script itself, then what it finds beside it.
const SEAL: &str = include_str!("../../templates/guest/seal.sh");
const FILES: [(&str, &str); 18] = [
    ("machine-boot.service", include_str!("../../templates/guest/machine-boot.service")),
    ("machine-boot.sh", include_str!("../../templates/guest/machine-boot.sh")),
    ("machine-early.conf", include_str!("../../templates/guest/machine-early.conf")),
    ("machine-grow.sh", include_str!("../../templates/guest/machine-grow.sh")),
    ("machine-init.sh", include_str!("../../templates/guest/machine-init.sh")),
    ("machine-later.path", include_str!("../../templates/guest/machine-later.path")),
    ("machine-later.service", include_str!("../../templates/guest/machine-later.service")),
    ("machine-later.sh", include_str!("../../templates/guest/machine-later.sh")),
    ("machine-later.timer", include_str!("../../templates/guest/machine-later.timer")),
    ("machine-logind.conf", include_str!("../../templates/guest/machine-logind.conf")),
    ("machine-rest.target", include_str!("../../templates/guest/machine-rest.target")),
    ("machine-ssh.conf", include_str!("../../templates/guest/machine-ssh.conf")),
    ("machine-sysctl.conf", include_str!("../../templates/guest/machine-sysctl.conf")),
    ("machine-user-bus.conf", include_str!("../../templates/guest/machine-user-bus.conf")),
    ("machine-user.conf", include_str!("../../templates/guest/machine-user.conf")),
    ("machine.link", include_str!("../../templates/guest/machine.link")),
    ("machine.network", include_str!("../../templates/guest/machine.network")),
    ("machine.target", include_str!("../../templates/guest/machine.target")),
];

/// One file that a box boots from, in the guest that was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootFile {
    /// The kernel the guest runs.
    Kernel,
    /// An initrd with the drivers its disk needs, and no more.
    Initrd,
    /// The name of its root device, for [`boot_command_line`].
    Root,
}

impl BootFile {
    /// The command line that streams the file to standard output; it fails where sealing has prepared none, which is
    /// so on other processors than x86-64 and in guests that QEMU does not run. Safe for every login shell.
    pub const fn command_line(self) -> &'static str {
        match self {
            Self::Kernel => "cat /var/lib/machine/boot/kernel",
            Self::Initrd => "cat /var/lib/machine/boot/initrd",
            Self::Root => "cat /var/lib/machine/boot/root",
        }
    }
}

/// Root's script for standard input of `bash -s`; safe to run again, also on a sealed guest that was booted again.
pub fn seal_script() -> String {
    let files: String = FILES.iter().map(|(name, text)| write_file(name, text.as_bytes())).collect();
    format!(
        "set -euo pipefail\n{{\n\
         export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive\n\
         install -d -m 0755 /var/lib/machine\n\
         rm -rf /var/lib/machine/work.*\n\
         work=$(mktemp -d /var/lib/machine/work.XXXXXX)\n\
         trap 'rm -rf \"$work\"' EXIT\n\
         cd \"$work\"\n\
         {files}{SEAL}\
         exit 0\n}} </dev/null\n"
    )
}

/// The kernel's command line for a box whose root device the guest has named; `None` when that is no device's name.
pub fn boot_command_line(root: &str) -> Option<String> {
    let name = root.trim_end_matches('\n').strip_prefix("/dev/")?;
    let is_plain =
        !name.is_empty() && name.len() < 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // A console that is quiet, since an emulated one is slow; of the security modules those that systems use: for the
    // others systemd loads programs into the kernel, which takes it a second under emulation.
    let options = "rw console=ttyS0 quiet lsm=landlock,lockdown,yama,apparmor";
    is_plain.then(|| format!("root=/dev/{name} {options}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Interrupt, Runner};

    #[test]
    fn bash_parses_the_script_to_its_end() {
        let env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let runner = Runner::new(env, Interrupt::default(), None);
        runner.read(&Cmd::new("bash").arg("-n").input(seal_script())).expect("parsed");
    }

    #[test]
    fn every_file_beside_the_script_is_used_by_it() {
        for (name, _) in FILES {
            assert!(SEAL.contains(name), "{name}");
        }
    }

    #[test]
    fn a_root_device_is_a_device_or_nothing() {
        let line = boot_command_line("/dev/vda1\n").expect("a device");
        assert!(line.starts_with("root=/dev/vda1 rw "), "{line}");
        for bad in ["", "/dev/", "vda", "/dev/vda init=/bin/sh", "/dev/vda\nx", "/dev/mapper/x", "UUID=1"] {
            assert_eq!(boot_command_line(bad), None, "{bad}");
        }
    }
}
