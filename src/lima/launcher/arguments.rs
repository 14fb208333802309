//! Lima's QEMU command line, understood and rewritten; a pure function, so that every shape is a test.
//!
//! Enters: arguments. Leaves: the kind of call, and arguments. An unknown shape is refused, never guessed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Engine, Launch};
use crate::failure::{Failure, Result};

/// How Lima's forward of the ssh port begins (qemu.go, `Cmdline`).
const FORWARD: &str = "hostfwd=tcp:127.0.0.1:";

/// What Lima wants from QEMU.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A question about QEMU itself (`-accel help`, `--version`, …).
    Probe,
    /// A virtual machine, whose pid file lies in the instance's folder.
    Boot {
        /// The folder.
        instance: PathBuf,
        /// The port of 127.0.0.1 that leads to the guest's sshd.
        port: u16,
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
        let ports: Vec<u16> = values_of(args, "-netdev").filter_map(ssh_port).collect();
        let [port] = ports[..] else {
            return Err(refuse("not exactly one `-netdev user` with the ssh forward"));
        };
        let instance = Path::new(pidfile).parent().filter(|folder| folder.is_absolute());
        let instance = instance.ok_or_else(|| refuse("a relative -pidfile"))?.to_owned();
        Ok(Self::Boot { instance, port })
    }
}

/// The port that reaches the guest's sshd, of a `-netdev` value that is Lima's user-mode network.
fn ssh_port(value: &OsStr) -> Option<u16> {
    let text = value.to_str()?.strip_prefix("user,")?;
    let forward = text.split(',').find_map(|part| part.strip_prefix(FORWARD))?;
    forward.strip_suffix("-:22")?.parse().ok()
}

fn values_of<'a>(args: &'a [OsString], key: &'a str) -> impl Iterator<Item = &'a OsStr> {
    args.windows(2).filter(move |pair| pair[0] == key).map(|pair| pair[1].as_os_str())
}

fn value_of<'a>(args: &'a [OsString], key: &'a str) -> Option<&'a OsStr> {
    values_of(args, key).next()
}

/// What tells a guest's kernel that its memory was used before, or by another machine: it then makes new random numbers.
/// The machine type of ARM has no such device in every version of QEMU.
const GENERATION: [&str; 2] = ["-device", "vmgenid,guid=auto"];

/// What has a guest's kernel clear all memory that is freed, and at its boot all there is: what a secret has passed through
/// does not sleep with the machine.
const CLEARS_FREED: &str = "init_on_free=1";

/// Adds free page reporting and a generation, takes IPv6 away, and puts software emulation where KVM is not to be used.
pub(super) fn rewrite(args: &[OsString], launch: &Launch) -> Vec<OsString> {
    let mut rewritten = args.to_vec();
    change_network(&mut rewritten, launch.enclosure.is_some());
    if launch.clears_freed {
        add_to_value(&mut rewritten, "-append", CLEARS_FREED);
    }
    if launch.engine == Engine::Tcg {
        emulate(&mut rewritten);
    }
    // Pages that the guest frees go back to the host; Lima's QEMU has no balloon device at all.
    rewritten.extend(["-device", "virtio-balloon-pci,free-page-reporting=on"].map(OsString::from));
    if value_of(args, "-machine").is_some_and(|machine| machine.as_bytes().starts_with(b"q35")) {
        rewritten.extend(GENERATION.map(OsString::from));
    }
    rewritten
}

fn add_to_value(args: &mut [OsString], key: &str, word: &str) {
    for index in 1..args.len() {
        if args[index - 1] == key {
            args[index].push(format!(" {word}"));
        }
    }
}

/// IPv6 leads to the host's own loopback, at `fec0::2`. In a namespace that only pasta reaches, sshd's port is open at every
/// address: newer versions of pasta do not come by loopback.
fn change_network(args: &mut [OsString], is_enclosed: bool) {
    for index in 1..args.len() {
        if args[index - 1] != "-netdev" || ssh_port(&args[index]).is_none() {
            continue;
        }
        let value = args[index].to_string_lossy();
        let value = if is_enclosed { value.replace(FORWARD, "hostfwd=tcp::") } else { value.into_owned() };
        args[index] = format!("{value},ipv6=off").into();
    }
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
    use crate::lima::launcher::Enclosure;
    use crate::model::Openings;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn launch(engine: Engine) -> Launch {
        Launch { engine, wakes: None, enclosure: None, clears_freed: false }
    }

    fn enclosure() -> Enclosure {
        Enclosure { pasta: "/p".into(), nft: "/n".into(), openings: Openings::default() }
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
        assert_eq!(Call::of(&boot).expect("a boot"), Call::Boot { instance: "/l/blog".into(), port: 20_001 });
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
        let rewritten = rewrite(&args, &launch(Engine::Kvm));
        assert_eq!(rewritten[..4], args);
        let added = "-device virtio-balloon-pci,free-page-reporting=on -device vmgenid,guid=auto";
        assert_eq!(rewritten[4..], words(added));
    }

    #[test]
    fn emulation_replaces_kvm_on_both_architectures() {
        let x86 = rewrite(&words("-cpu host -machine q35,accel=kvm -smp 2"), &launch(Engine::Tcg));
        let expected = "-cpu max -machine q35,vmport=off -smp 2 -accel tcg,thread=multi,tb-size=512 \
            -global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1 \
            -device virtio-balloon-pci,free-page-reporting=on -device vmgenid,guid=auto";
        assert_eq!(x86, words(expected));
        let arm = rewrite(&words("-cpu host -machine virt,accel=kvm"), &launch(Engine::Tcg));
        let expected = "-cpu max -machine virt -accel tcg,thread=multi,tb-size=512 \
            -device virtio-balloon-pci,free-page-reporting=on";
        assert_eq!(arm, words(expected));
    }

    #[test]
    fn the_network_loses_ipv6_and_is_open_where_only_pasta_comes() {
        let args = words(&format!("-m 1 {NET} -netdev stream,id=x"));
        let network = |is_enclosed: bool| {
            let rewritten =
                rewrite(&args, &Launch { enclosure: is_enclosed.then(enclosure), ..launch(Engine::Kvm) });
            (rewritten[3].to_string_lossy().into_owned(), rewritten[5].to_string_lossy().into_owned())
        };
        let usual =
            "user,id=net0,net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:20001-:22,ipv6=off";
        assert_eq!(network(false), (usual.into(), "stream,id=x".into()));
        assert_eq!(network(true).0, usual.replace("127.0.0.1", ""));
    }

    #[test]
    fn the_kernel_clears_what_is_freed_where_it_is_asked_to() {
        let args = [words("-m 1 -append"), vec!["root=/dev/vda rw".into()], words("-kernel /k")].concat();
        let appended = |clears_freed| {
            let launch = Launch { clears_freed, ..launch(Engine::Kvm) };
            value_of(&rewrite(&args, &launch), "-append").expect("its value").to_owned()
        };
        assert_eq!(appended(true), "root=/dev/vda rw init_on_free=1");
        assert_eq!(appended(false), "root=/dev/vda rw");
    }

    #[test]
    fn emulation_that_lima_chose_itself_is_left_alone() {
        let args = words("-cpu max -machine q35,vmport=off -accel tcg,thread=multi,tb-size=512");
        assert_eq!(rewrite(&args, &launch(Engine::Tcg))[..6], args);
        assert_eq!(rewrite(&args, &launch(Engine::Tcg)).len(), 10);
    }
}
