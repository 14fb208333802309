//! Who listens on a port, as Linux's `/proc` and macOS's `lsof` tell it.
//!
//! Enters: a port, or the text of a kernel's table of sockets. Leaves: addresses, and the process behind a listener.
//! Must not know what a port is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::{Cmd, Identity, Runner};
use crate::model::HostOs;

const TIME_LIMIT: Duration = Duration::from_secs(5);
/// The state LISTEN in a kernel's table (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: IpAddr,
    /// On which port.
    pub port: u16,
    inode: u64,
}

/// The process behind a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process id.
    pub pid: i32,
    /// Its command line.
    pub command: String,
}

impl Listener {
    /// Whether what connects to 127.0.0.1 arrives here.
    pub fn is_on_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address == Ipv4Addr::LOCALHOST || address.is_unspecified(),
            IpAddr::V6(address) => {
                address.is_unspecified() || address.to_ipv4_mapped() == Some(Ipv4Addr::LOCALHOST)
            }
        }
    }
}

/// Reads the listeners of `/proc/net/tcp` and `/proc/net/tcp6`, one after the other; other lines are passed over.
pub fn parse_listeners(table: &str) -> Vec<Listener> {
    table.lines().filter_map(parse_listener).collect()
}

fn parse_listener(line: &str) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().take(10).collect();
    let [_, local, _, LISTEN, _, _, _, _, _, inode] = words[..] else { return None };
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { address: parse_address(address)?, port, inode: inode.parse().ok()? })
}

/// Each group of eight digits is a word as the processor has it, which is a small-endian one on every host and guest.
fn parse_address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok().map(u32::to_le_bytes);
    match digits.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// The process that gets what connects to `port` of 127.0.0.1; `None` when there is none, or it is another user's.
pub fn port_owner(port: u16, os: HostOs, runner: &Runner) -> Option<Owner> {
    match os {
        HostOs::Linux => owner_in_proc(Path::new("/proc"), port),
        HostOs::MacOs => owner_by_lsof(port, runner),
    }
}

fn owner_in_proc(proc: &Path, port: u16) -> Option<Owner> {
    let read = |name: &str| std::fs::read_to_string(proc.join("net").join(name)).unwrap_or_default();
    let listeners = parse_listeners(&(read("tcp") + &read("tcp6")));
    let mut on_port: Vec<Listener> = listeners.into_iter().filter(|one| one.port == port).collect();
    on_port.retain(Listener::is_on_loopback);
    // One for this very address is before one for all.
    on_port.sort_by_key(|one| one.address.is_unspecified());
    let socket = format!("socket:[{}]", on_port.first()?.inode);
    let processes = std::fs::read_dir(proc).ok()?.filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let pid = pids.into_iter().find(|pid| has_open(&proc.join(pid.to_string()), &socket))?;
    let command = std::fs::read(proc.join(pid.to_string()).join("cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    Some(Owner { pid, command })
}

fn has_open(process: &Path, socket: &str) -> bool {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { return false };
    let is_it = |path: &Path| std::fs::read_link(path).is_ok_and(|target| target.as_os_str() == socket);
    descriptors.filter_map(Result::ok).any(|descriptor| is_it(&descriptor.path()))
}

fn owner_by_lsof(port: u16, runner: &Runner) -> Option<Owner> {
    let which = format!("-iTCP:{port}");
    let lsof = Cmd::new("lsof").args(["-n", "-P", "-w", "-a", &which, "-sTCP:LISTEN", "-F", "pn"]);
    // Its status is 1 when nothing is found.
    let output = runner.read_any_status(&lsof.time_limit(TIME_LIMIT)).ok()?;
    let pid = parse_lsof(&output.text(), port)?;
    let Identity { command, .. } = Identity::of(pid, runner)?;
    Some(Owner { pid, command })
}

/// Reads `p4711`, and below it a line such as `n127.0.0.1:3000` or `n*:3000` for each socket.
fn parse_lsof(output: &str, port: u16) -> Option<i32> {
    let wanted = [format!("n127.0.0.1:{port}"), format!("n*:{port}")];
    let find = |name: &String| {
        let mut pid = None;
        output.lines().find_map(|line| {
            pid = line.strip_prefix('p').and_then(|pid| pid.parse().ok()).or(pid);
            pid.filter(|_| line == name)
        })
    };
    wanted.iter().find_map(find)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Interrupt;
    use proptest::prelude::*;
    use std::net::TcpListener;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 100 0 0 10 0
   2: 0100007F:0BB9 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 100 0 0 10 0
   3: 00000000000000000000000001000000:0BBA 00000000000000000000000000000000:0000 0A 0:0 0:0 0  1000 0 14 1 0
   4: 00000000000000000000000000000000:0BBB 00000000000000000000000000000000:0000 0A 0:0 0:0 0  1000 0 15 1 0
   5: 0000000000000000FFFF00000100007F:0BBC 00000000000000000000000000000000:0000 0A 0:0 0:0 0  1000 0 16 1 0
   6: 0F05A8C0:0BBD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 17 1 0 100 0 0 10 0
";

    #[test]
    fn listeners_are_read_with_their_addresses() {
        let found = parse_listeners(TABLE);
        let shown: Vec<String> = found
            .iter()
            .map(|one| format!("{} {} {}", one.address, one.port, one.is_on_loopback()))
            .collect();
        let expected = [
            "127.0.0.1 3000 true",
            "0.0.0.0 8080 true",
            "::1 3002 false",
            ":: 3003 true",
            "::ffff:127.0.0.1 3004 true",
            "192.168.5.15 3005 false",
        ];
        assert_eq!(shown, expected);
    }

    proptest! {
        #[test]
        fn a_table_of_a_guest_may_hold_anything(text in "(?s).{0,200}", word in "[0-9A-Fa-f:é]{0,40}") {
            parse_listeners(&text);
            parse_listeners(&format!("0: {word} x 0A 0 0 0 0 0 1"));
        }
    }

    #[test]
    fn the_process_behind_a_port_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        let os = if cfg!(target_os = "macos") { HostOs::MacOs } else { HostOs::Linux };
        let owner = port_owner(port, os, &runner).expect("an owner");
        assert_eq!(owner.pid, i32::try_from(std::process::id()).expect("a pid"));
        drop(listener);
        assert_eq!(port_owner(port, os, &runner), None);
    }

    #[test]
    fn lsof_names_the_one_for_this_address_before_the_one_for_all() {
        let output = "p7\nf3\nn*:3000\np8\nf4\nn[::1]:3000\np9\nf5\nn127.0.0.1:3000\n";
        assert_eq!(parse_lsof(output, 3000), Some(9));
        assert_eq!(parse_lsof("p7\nf3\nn*:3000\n", 3000), Some(7));
        assert_eq!(parse_lsof("p8\nf4\nn[::1]:3000\n", 3000), None);
    }
}
