//! What the process that runs a machine may do on the host, and which devices it gives the guest.
//!
//! Enters: QEMU's command line and standing. Leaves: a judgement. On macOS the process is the system's, and nobody can look.

use std::path::Path;

use super::Judgement;
use super::observed::Observed;
use crate::model::HostOs;
use crate::process::Standing;

/// Options that give a guest, or anybody else, something of the host (qemu(1)).
const OPTIONS: [&str; 8] = ["-virtfs", "-fsdev", "-vnc", "-spice", "-gdb", "-s", "-usbdevice", "-incoming"];
/// Devices that are the host's, or share memory with its processes.
const DEVICES: [&str; 7] = ["vfio", "usb-host", "ivshmem", "vhost", "virtio-9p", "pci-assign", "host-"];

pub(super) fn judge(seen: &Observed) -> Judgement {
    if seen.os == HostOs::MacOs {
        return Judgement::not_probed(
            "on macOS the process is the system's own, which does not let itself be looked at",
        );
    }
    let Some(engine) = &seen.engine else {
        return Judgement::not_probed("the process that runs the machine was not found");
    };
    if engine.uid == 0 || engine.capabilities != 0 {
        let (uid, mask) = (engine.uid, engine.capabilities);
        return Judgement::failed(format!("QEMU has privileges: user {uid}, capabilities {mask:x}"));
    }
    if let Some(given) = given_of_host(&engine.args) {
        return Judgement::failed(format!("QEMU gives the guest something of this computer: `{given}`"));
    }
    Judgement::crosses(describe(engine))
}

fn describe(engine: &Standing) -> String {
    let network = match engine.own_network {
        Some(true) => "in a network of its own",
        Some(false) => "in this computer's network",
        None => "in a network that could not be looked at",
    };
    let filter = if engine.filtered { "with" } else { "without" };
    format!(
        "QEMU runs as you, without privileges, {network}, {filter} a filter of system calls; it has no device or folder \
         of this computer. A hole in it is a hole into your account"
    )
}

/// The first argument that hands over something of the host.
fn given_of_host(args: &[String]) -> Option<String> {
    let folder =
        args.windows(2).find(|pair| pair[0] == "-pidfile").and_then(|pair| Path::new(&pair[1]).parent());
    // A machine that slept was started to wait for its memory, which came through a pipe of ours.
    let waits = args.windows(2).any(|pair| pair == ["-incoming", "defer"]);
    let is_given = |arg: &&String| OPTIONS.contains(&arg.as_str()) && !(waits && *arg == "-incoming");
    let alone = args.iter().find(is_given).cloned();
    let pairs = args.windows(2).find(|pair| is_foreign(&pair[0], &pair[1], folder));
    alone.or_else(|| pairs.map(|pair| pair.join(" ")))
}

fn is_foreign(option: &str, value: &str, folder: Option<&Path>) -> bool {
    let part = |name: &str| value.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let outside = |path: &str| folder.is_none_or(|folder| !Path::new(path).starts_with(folder));
    match option {
        "-device" => DEVICES.iter().any(|device| value.starts_with(device)),
        "-display" => value.split(',').next() != Some("none"),
        "-drive" | "-blockdev" => part("file").or_else(|| part("filename")).is_some_and(outside),
        // A socket of a path in the instance's folder, never one of the network.
        "-chardev" => part("port").is_some() || part("path").is_some_and(outside),
        "-monitor" => value != "none",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        format!("qemu -display none -drive file=/l/blog/disk,if=none -drive id=cd,file=/l/blog/cidata.iso \
            -device virtio-blk-pci,drive=boot-disk -chardev socket,id=q,path=/l/blog/qmp.sock,server=on -pidfile /l/blog/qemu.pid {line}")
        .split_whitespace()
        .map(String::from)
        .collect()
    }

    #[test]
    fn limas_own_command_line_gives_nothing() {
        assert_eq!(given_of_host(&words("-device virtio-net-pci,netdev=net0 -qmp chardev:q")), None);
        assert_eq!(given_of_host(&words("-S -incoming defer")), None, "a machine that woke");
    }

    #[test]
    fn everything_of_the_host_is_named() {
        for given in [
            "-virtfs local,path=/",
            "-vnc :0",
            "-s",
            "-device vfio-pci,host=01:00.0",
            "-device usb-host,vendorid=1",
            "-device vhost-user-fs-pci,tag=x",
            "-display sdl",
            "-drive file=/home/me/secret,if=virtio",
            "-drive file=/l/blog2/disk",
            "-blockdev driver=file,filename=/dev/sda,node-name=x",
            "-chardev socket,host=0.0.0.0,port=4444,id=x",
            "-chardev socket,path=/tmp/x,id=x",
            "-monitor tcp:127.0.0.1:4444",
            "-incoming tcp:0:4444",
        ] {
            let found = given_of_host(&words(given)).unwrap_or_default();
            assert!(!found.is_empty() && given.starts_with(&found), "{given}: {found}");
        }
    }
}
