//! Lima's QEMU command line, understood and rewritten; a pure function, so that every shape is a test.
//!
//! Enters: arguments. Leaves: the kind of call, and arguments. An unknown shape is refused, never guessed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Engine;
use crate::failure::{Failure, Result};

/// What Lima wants from QEMU.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A question about QEMU itself (`-accel help`, `--version`, …).
    Probe,
    /// A virtual machine, whose pid file lies in the instance's folder.
    Boot {
        /// The folder.
        instance: PathBuf,
    },
}

impl Call {
    /// Tells the calls apart.
    pub(super) fn of(args: &[OsString]) -> Result<Self> {
        let refuse = |why: &str| {
            Failure::operation(format!("the launcher does not know this QEMU call: {why}"))
                .hint("`machine doctor` shows whether this version of Lima is supported")
        };
        let Some(pidfile) = value_of(args, "-pidfile") else {
            let asks =
                |arg: &OsString| matches!(arg.as_bytes(), b"help" | b"--version" | b"-version" | b"--help");
            return if args.iter().any(asks) { Ok(Self::Probe) } else { Err(refuse("no -pidfile")) };
        };
        let forwards = values_of(args, "-netdev").filter(|value| is_ssh_forward(value)).count();
        if forwards != 1 {
            return Err(refuse("not exactly one `-netdev user` with the ssh forward"));
        }
        let instance = Path::new(pidfile).parent().filter(|folder| folder.is_absolute());
        Ok(Self::Boot { instance: instance.ok_or_else(|| refuse("a relative -pidfile"))?.to_owned() })
    }
}

/// Whether a `-netdev` value is Lima's user-mode network with the port that reaches the guest's sshd.
fn is_ssh_forward(value: &OsStr) -> bool {
    let Some(text) = value.to_str() else { return false };
    let forward = text.split(',').find_map(|part| part.strip_prefix("hostfwd=tcp:127.0.0.1:"));
    let port = forward.and_then(|rest| rest.strip_suffix("-:22"));
    text.starts_with("user,") && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn values_of<'a>(args: &'a [OsString], key: &'a str) -> impl Iterator<Item = &'a OsStr> {
    args.windows(2).filter(move |pair| pair[0] == key).map(|pair| pair[1].as_os_str())
}

fn value_of<'a>(args: &'a [OsString], key: &'a str) -> Option<&'a OsStr> {
    values_of(args, key).next()
}

/// Adds free page reporting, and software emulation where KVM is not to be used.
pub(super) fn rewrite(args: &[OsString], engine: Engine) -> Vec<OsString> {
    let mut rewritten = args.to_vec();
    if engine == Engine::Tcg {
        emulate(&mut rewritten);
    }
    // Pages that the guest frees go back to the host; Lima's QEMU has no balloon device at all.
    rewritten.extend(["-device", "virtio-balloon-pci,free-page-reporting=on"].map(OsString::from));
    rewritten
}

/// Replaces what Lima writes for KVM by what it writes itself when there is no `/dev/kvm` (qemu.go, `Cmdline`).
fn emulate(args: &mut Vec<OsString>) {
    let mut has_accelerator = false;
    let mut is_x86 = false;
    for index in 1..args.len() {
        let key = args[index - 1].clone();
        has_accelerator |= key == "-accel";
        let Some(value) = args[index].to_str() else { continue };
        if key == "-machine" {
            is_x86 = value.starts_with("q35");
            args[index] = emulated_machine(value).into();
        } else if key == "-cpu" && value.split(',').next() == Some("host") {
            args[index] = value.replacen("host", "max", 1).into();
        }
    }
    if !has_accelerator {
        args.extend(["-accel", "tcg,thread=multi,tb-size=512"].map(OsString::from));
        if is_x86 {
            args.extend(
                ["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"].map(OsString::from),
            );
        }
    }
}

/// The machine type without KVM; one that does not ask for KVM stays as it is.
fn emulated_machine(value: &str) -> String {
    match value.strip_suffix(",accel=kvm") {
        Some(_) if value.starts_with("q35") => "q35,vmport=off".into(),
        Some(machine) => machine.into(),
        None => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    const NET: &str =
        "-netdev user,id=net0,net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:20001-:22";

    #[test]
    fn questions_are_passed_on() {
        for line in [
            "-M none -accel help",
            "-M none -netdev help",
            "-machine help",
            "-cpu help -machine q35",
            "--version",
        ] {
            assert_eq!(Call::of(&words(line)).expect(line), Call::Probe);
        }
    }

    #[test]
    fn a_boot_is_known_by_its_pid_file_and_its_forward() {
        let boot = words(&format!("-m 4096 {NET} -pidfile /l/blog/qemu.pid"));
        assert_eq!(Call::of(&boot).expect("a boot"), Call::Boot { instance: "/l/blog".into() });
    }

    #[test]
    fn unknown_shapes_are_refused() {
        let twice = format!("{NET} {NET} -pidfile /l/blog/qemu.pid");
        let lines = [
            "-m 4096",
            "",
            "-m 1 -pidfile /l/blog/qemu.pid",
            "-netdev user,hostfwd=tcp:0.0.0.0:1-:22 -pidfile /l/q",
            "-netdev user,hostfwd=tcp:127.0.0.1:x-:22 -pidfile /l/q",
            &twice,
        ];
        for line in lines {
            assert!(Call::of(&words(line)).is_err(), "{line}");
        }
        assert!(Call::of(&words(&format!("{NET} -pidfile qemu.pid"))).is_err());
    }

    #[test]
    fn kvm_keeps_limas_choice() {
        let args = words("-cpu host -machine q35,accel=kvm");
        let rewritten = rewrite(&args, Engine::Kvm);
        assert_eq!(rewritten[..4], args);
        assert_eq!(rewritten[4..], words("-device virtio-balloon-pci,free-page-reporting=on"));
    }

    #[test]
    fn emulation_replaces_kvm_on_both_architectures() {
        let x86 = rewrite(&words("-cpu host -machine q35,accel=kvm -smp 2"), Engine::Tcg);
        let expected = "-cpu max -machine q35,vmport=off -smp 2 -accel tcg,thread=multi,tb-size=512 \
            -global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1 \
            -device virtio-balloon-pci,free-page-reporting=on";
        assert_eq!(x86, words(expected));
        let arm = rewrite(&words("-cpu host -machine virt,accel=kvm"), Engine::Tcg);
        let expected = "-cpu max -machine virt -accel tcg,thread=multi,tb-size=512 \
            -device virtio-balloon-pci,free-page-reporting=on";
        assert_eq!(arm, words(expected));
    }

    #[test]
    fn emulation_that_lima_chose_itself_is_left_alone() {
        let args = words("-cpu max -machine q35,vmport=off -accel tcg,thread=multi,tb-size=512");
        assert_eq!(rewrite(&args, Engine::Tcg)[..6], args);
        assert_eq!(rewrite(&args, Engine::Tcg).len(), 8);
    }
}
