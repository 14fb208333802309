//! What a process has taken of processors and network so far, and who is connected to a port of this computer.
//!
//! Enters: pids, ports, tables of the kernel and of `ss`, `ps`, `lsof` and `nettop`. Leaves: counters that only grow while
//! what they count lives. Must not know whose they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Cmd, Runner};
use crate::model::HostOs;

const TIME_LIMIT: Duration = Duration::from_secs(5);
/// The state ESTABLISHED in a kernel's table (`include/net/tcp_states.h`).
const ESTABLISHED: &str = "01";

/// Bytes moved so far, by interface or connection.
pub type Counters = BTreeMap<String, u64>;

/// How much was moved from one look to the next. What came in between counts whole.
pub fn moved(before: &Counters, after: &Counters) -> u64 {
    let of = |(name, bytes): (&String, &u64)| bytes.saturating_sub(before.get(name).copied().unwrap_or(0));
    after.iter().map(of).sum()
}

/// The interfaces of a network that a process has for itself, without its loopback; `None` when it shares ours.
pub fn interfaces_in_proc(pid: i32) -> Option<Counters> {
    let network = |whose: &str| std::fs::read_link(format!("/proc/{whose}/ns/net")).ok();
    if network(&pid.to_string())? == network("self")? {
        return None;
    }
    Some(parse_interfaces(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?))
}

/// Reads `uplink: RECEIVED packets … SENT …` of `/proc/net/dev`: eight numbers of what came, then of what went.
fn parse_interfaces(table: &str) -> Counters {
    let line = |line: &str| {
        let (name, numbers) = line.trim().split_once(':')?;
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        let bytes: u64 = numbers.first()?.parse().ok()?;
        Some((name.to_string(), bytes.saturating_add(numbers.get(8)?.parse().ok()?)))
    };
    table.lines().filter_map(line).filter(|(name, _)| name != "lo").collect()
}

/// The TCP connections of a process in this computer's own network, but those that came to one of our ports; asks `ss`.
pub fn connections_by_ss(pid: i32, without_port: u16, runner: &Runner) -> Option<Counters> {
    let ss = Cmd::new("ss").args(["-H", "-t", "-n", "-i", "-p", "state", "established"]);
    let output = runner.read(&ss.time_limit(TIME_LIMIT)).ok()?;
    Some(parse_ss(&output.text(), pid, without_port))
}

/// Reads a line `0 0 LOCAL PEER users:(("qemu",pid=7,fd=3))` and the one below it, with `bytes_sent:1 bytes_received:2`.
fn parse_ss(output: &str, pid: i32, without_port: u16) -> Counters {
    let mut counters = Counters::new();
    let mut current: Option<String> = None;
    let (owner, port) = (format!("pid={pid},"), format!(":{without_port}"));
    for line in output.lines() {
        if !line.starts_with(char::is_whitespace) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let local = words.get(2).copied().unwrap_or_default();
            let is_its_own = line.contains(&owner) && !local.ends_with(&port);
            current = is_its_own.then(|| words[2..].iter().take(2).copied().collect::<Vec<_>>().join(" "));
        }
        let Some(name) = &current else { continue };
        let numbers = line.split_whitespace().filter_map(|word| {
            let (kind, number) = word.split_once(':')?;
            matches!(kind, "bytes_sent" | "bytes_received").then(|| number.parse::<u64>().ok())?
        });
        *counters.entry(name.clone()).or_default() += numbers.sum::<u64>();
    }
    counters
}

/// What a process of macOS has moved; asks `nettop`.
pub fn connections_by_nettop(pid: i32, runner: &Runner) -> Option<Counters> {
    let nettop = Cmd::new("nettop").args(["-P", "-x", "-n", "-L", "1", "-J", "bytes_in,bytes_out", "-p"]);
    let output = runner.read(&nettop.arg(pid.to_string()).time_limit(TIME_LIMIT)).ok()?;
    parse_nettop(&output.text(), pid)
}

/// Reads `limactl.4711,1024,2048,` below a line of headings, with or without a time before it.
fn parse_nettop(output: &str, pid: i32) -> Option<Counters> {
    let suffix = format!(".{pid}");
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let at = fields.iter().position(|field| field.ends_with(&suffix))?;
        let number = |offset: usize| fields.get(at + offset)?.parse::<u64>().ok();
        Some(number(1)?.saturating_add(number(2)?))
    };
    let bytes = output.lines().find_map(line)?;
    Some([("process".to_string(), bytes)].into())
}

/// The processor time a process has taken; asks `ps`.
pub fn processor_time_by_ps(pid: i32, runner: &Runner) -> Option<Duration> {
    let ps = Cmd::new("ps").env("LC_ALL", "C").args(["-o", "time=", "-p"]).arg(pid.to_string());
    parse_time(runner.read(&ps.time_limit(TIME_LIMIT)).ok()?.text().trim())
}

/// Reads `1:02:03`, `62:03.45` (macOS), `1-02:03:04`.
fn parse_time(text: &str) -> Option<Duration> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let (clock, hundredths) = clock.split_once('.').unwrap_or((clock, "0"));
    let whole =
        clock.split(':').try_fold(0u64, |sum, part| sum.checked_mul(60)?.checked_add(part.parse().ok()?))?;
    let seconds = days.parse::<u64>().ok()?.checked_mul(86_400)?.checked_add(whole)?;
    Some(Duration::from_secs(seconds) + Duration::from_millis(hundredths.parse::<u64>().ok()?.min(99) * 10))
}

/// Whether somebody is connected to one of these ports of this computer.
pub fn has_connection(ports: &[u16], os: HostOs, runner: &Runner) -> bool {
    match os {
        _ if ports.is_empty() => false,
        HostOs::Linux => {
            let read = |name: &str| std::fs::read_to_string(Path::new("/proc/net").join(name));
            let tables = read("tcp").unwrap_or_default() + &read("tcp6").unwrap_or_default();
            is_connected(&tables, ports)
        }
        HostOs::MacOs => {
            let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let which = format!("-iTCP:{list}");
            let lsof =
                Cmd::new("lsof").args(["-n", "-P", "-w", "-a", &which, "-sTCP:ESTABLISHED", "-F", "n"]);
            // Its status is 1 when nothing is found.
            let output = runner.read_any_status(&lsof.time_limit(TIME_LIMIT)).ok();
            output.is_some_and(|finished| is_connected_by_lsof(&finished.text(), ports))
        }
    }
}

fn is_connected(table: &str, ports: &[u16]) -> bool {
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        let [_, local, _, ESTABLISHED] = words[..] else { return false };
        let port = local.split_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        port.is_some_and(|port| ports.contains(&port))
    })
}

/// Reads `n127.0.0.1:3000->127.0.0.1:51000`: what stands before the arrow is the end of this process.
fn is_connected_by_lsof(output: &str, ports: &[u16]) -> bool {
    output.lines().filter_map(|line| line.strip_prefix('n')?.split_once("->")).any(|(local, _)| {
        local
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .is_some_and(|port| ports.contains(&port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Interrupt;
    use std::net::{TcpListener, TcpStream};

    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  999999       1    0    0    0     0          0         0   999999       1    0    0    0     0       0          0
uplink:    1000      10    0    0    0     0          0         0       34       5    0    0    0     0       0          0
";

    const SS: &str = "\
0      0      192.168.1.5:43434  1.2.3.4:443  users:((\"qemu-system-x86\",pid=123,fd=30))
\t cubic wscale:7,7 rto:204 bytes_sent:100 bytes_acked:101 segs_out:9 bytes_received:900
0      0      127.0.0.1:20000    127.0.0.1:51000 users:((\"qemu-system-x86\",pid=123,fd=31))
\t cubic bytes_sent:5000 bytes_received:5000
0      0      192.168.1.5:43435  1.2.3.4:443  users:((\"firefox\",pid=1234,fd=30))
\t cubic bytes_sent:7000 bytes_received:7000
0      0      192.168.1.5:43436  1.2.3.4:22   users:((\"qemu-system-x86\",pid=123,fd=32)) cubic bytes_sent:1 bytes_received:2
";

    #[test]
    fn what_is_moved_is_counted_without_loopback_and_our_own_port() {
        assert_eq!(parse_interfaces(DEV), [("uplink".to_string(), 1034)].into());
        let counters = parse_ss(SS, 123, 20_000);
        let expected = [("192.168.1.5:43434 1.2.3.4:443", 1000), ("192.168.1.5:43436 1.2.3.4:22", 3)];
        assert_eq!(counters, expected.map(|(name, bytes)| (name.to_string(), bytes)).into());
        assert_eq!(parse_ss("", 123, 20_000), Counters::new());
    }

    #[test]
    fn a_connection_that_came_counts_whole_and_one_that_went_not_at_all() {
        let counters =
            |list: &[(&str, u64)]| list.iter().map(|(name, bytes)| ((*name).into(), *bytes)).collect();
        let (before, after) = (counters(&[("a", 10), ("b", 5)]), counters(&[("a", 12), ("c", 3)]));
        assert_eq!(moved(&before, &after), 5);
        assert_eq!(moved(&after, &after), 0);
    }

    #[test]
    fn a_mac_tells_it_by_nettop_ps_and_lsof() {
        let output = "time,,bytes_in,bytes_out,\n15:04:05.123456,limactl.4711,1024,2048,\n";
        assert_eq!(parse_nettop(output, 4711), Some([("process".to_string(), 3072)].into()));
        assert_eq!(
            parse_nettop(",bytes_in,bytes_out,\nlimactl.4711,1,2,\n", 4711).map(|all| all["process"]),
            Some(3)
        );
        assert_eq!(parse_nettop(output, 711), None);
        let time = |text: &str| parse_time(text).map(|time| time.as_millis());
        assert_eq!(
            (time("0:01.23"), time("62:03.00"), time("1:02:03")),
            (Some(1230), Some(3_723_000), Some(3_723_000))
        );
        assert_eq!((time("1-00:00:01"), time(""), time("x:1")), (Some(86_401_000), None, None));
        let lsof = "p7\nf3\nn127.0.0.1:3000->127.0.0.1:51000\n";
        assert!(is_connected_by_lsof(lsof, &[3000]) && !is_connected_by_lsof(lsof, &[51_000]));
    }

    #[test]
    fn a_connection_is_seen_while_it_is_open() {
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        let os = if cfg!(target_os = "macos") { HostOs::MacOs } else { HostOs::Linux };
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        assert!(!has_connection(&[port], os, &runner));
        let client = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let server = listener.accept().expect("accepted");
        assert!(has_connection(&[port], os, &runner) && !has_connection(&[], os, &runner));
        drop((client, server));
    }

    #[test]
    fn the_systems_own_ps_understands_the_question() {
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(processor_time_by_ps(own, &runner).is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_shares_our_network_has_none_of_its_own() {
        assert_eq!(interfaces_in_proc(i32::try_from(std::process::id()).expect("a pid")), None);
    }
}
