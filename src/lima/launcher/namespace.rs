//! Steps into namespaces of one's own: users, network, mounts. Afterwards this process can do in there what root can, and
//! nothing more than before outside; before it becomes QEMU it gives that up.
//!
//! Enters: a resolv.conf for inside. Leaves: this very process, same pid, in an empty network. Needs no privilege where
//! the system lets users make namespaces.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{getegid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, clear_ambient_capability_set,
    configure_capability_in_ambient_set, move_into_link_name_space, set_capabilities, set_no_new_privs,
};

use crate::failure::{Context, Result};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What `nft` needs to load rules.
const FOR_RULES: CapabilitySet = CapabilitySet::NET_ADMIN;

/// Enters fresh namespaces. Inside, user and group are called what they are outside, and `resolv_conf` is the one.
///
/// # Errors
/// When the system does not let this user do so. The process may be in some of them then, and should end.
pub(super) fn enter(resolv_conf: &Path) -> Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare()
        .map_err(io::Error::from)
        .because(|| "this system does not let you make a namespace of your own")?;
    put("/proc/self/setgroups", "deny")?;
    put("/proc/self/uid_map", &format!("{uid} {uid} 1\n"))?;
    put("/proc/self/gid_map", &format!("{gid} {gid} 1\n"))?;
    // Here AppArmor refuses, where it restricts namespaces to programs with a profile.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)
        .map_err(io::Error::from)
        .because(|| "this system gives you a namespace without the rights to use it")?;
    if Path::new(RESOLV_CONF).exists() {
        mount_bind(resolv_conf, RESOLV_CONF)
            .map_err(io::Error::from)
            .because(|| "failed to put another resolv.conf in place")?;
    }
    // So that the guest can ping.
    put("/proc/sys/net/ipv4/ping_group_range", &format!("{gid} {gid}\n"))
}

#[expect(deprecated, reason = "unsafe only where file tables are unshared as well, and these are not")]
fn unshare() -> rustix::io::Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWNS)
}

/// Joins the namespaces of another process of this user, for rules.
pub(super) fn join(pid: i32) -> Result<()> {
    let open = |name: &str| {
        let path = format!("/proc/{pid}/ns/{name}");
        std::fs::File::open(&path).because(|| format!("failed to open `{path}`"))
    };
    // Both are opened before the first is entered, since /proc is judged by what one is.
    let (user, network) = (open("user")?, open("net")?);
    let entered = move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))
        .and_then(|()| move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)));
    entered.map_err(io::Error::from).because(|| format!("failed to enter the namespaces of process {pid}"))
}

/// Sockets on the name server's port. Loopback has no address before pasta has come, so they take all.
pub(super) fn bind_name_server() -> Result<(UdpSocket, TcpListener)> {
    let place = (Ipv4Addr::UNSPECIFIED, 53);
    let bound = UdpSocket::bind(place).and_then(|udp| Ok((udp, TcpListener::bind(place)?)));
    bound.because(|| "failed to listen for name look-ups in the namespace")
}

/// Lets the programs that are started next change the network's rules.
pub(super) fn lend_rights() -> Result<()> {
    let lend = CapabilitySets { effective: FOR_RULES, permitted: FOR_RULES, inheritable: FOR_RULES };
    set_capabilities(None, lend)
        .and_then(|()| configure_capability_in_ambient_set(FOR_RULES, true))
        .map_err(io::Error::from)
        .because(|| "failed to keep the right to load network rules")
}

/// Gives up every right in the namespace, for this process and all that it becomes or starts.
pub(super) fn drop_rights() -> Result<()> {
    let none = CapabilitySet::empty();
    clear_ambient_capability_set()
        .and_then(|()| {
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        })
        .and_then(|()| set_no_new_privs(true))
        .map_err(io::Error::from)
        .because(|| "failed to give up rights before starting QEMU")
}

/// Whether a route leads out of this process's network.
pub(super) fn has_route() -> bool {
    let routes = std::fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    // Interface, destination, gateway and so on, in hexadecimal; the first line is their names.
    routes.lines().skip(1).any(|line| line.split('\t').nth(1) == Some("00000000"))
}

/// Writes into a file of the kernel's, which are neither made nor replaced.
fn put(path: &str, text: &str) -> Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.because(|| format!("failed to write `{path}`"))
}
