//! The rules of the namespace that QEMU runs in: a pure function, so that every set of openings and addresses is a test.
//!
//! Enters: openings, the computer's own addresses, sshd's port. Leaves: text for `nft -f -`.
//! There is no IPv6 in the namespace at all. On its own loopback are the name server and sshd's port, and pasta, which leads
//! to the computer's loopback what was open when it was started: what was closed since is closed here.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::model::{Opening, Openings};

/// Where the name server inside listens.
const NAMES: u16 = 53;

/// Renders the whole rule set; loading it replaces an earlier one at once.
pub(super) fn render(openings: &Openings, own: &[Ipv4Addr], sshd: u16) -> String {
    let loopback = openings.host_ports().map_or_else(String::new, |open| render_loopback(&open, sshd));
    let doors: String = openings.doors.iter().map(render_door).collect();
    let own = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let verdict = if openings.host { "accept" } else { "reject with icmpx admin-prohibited" };
    let own = if own.is_empty() { own } else { format!("    ip daddr {{ {own} }} {verdict}\n") };
    let closed = openings.closed().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "table inet enclosure\ndelete table inet enclosure\n\
         table inet enclosure {{\n  chain output {{\n\
         \x20   type filter hook output priority filter; policy accept;\n\
         {loopback}\
         \x20   oifname \"lo\" accept\n\
         \x20   meta nfproto ipv6 reject with icmpx admin-prohibited\n\
         {doors}{own}\
         \x20   ip daddr {{ {closed} }} reject with icmpx admin-prohibited\n  }}\n}}\n"
    )
}

/// Without looking at connections, which takes a module of the kernel: who begins one is told by its first packet, and an
/// answer by UDP by where it comes from. Not in one line with two `!=`: nft 1.0.6 makes one comparison of both.
fn render_loopback(open: &[u16], sshd: u16) -> String {
    let set = |more: &[u16]| {
        let all: BTreeSet<&u16> = open.iter().chain(more).collect();
        all.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (tcp, udp) = (set(&[NAMES, sshd]), set(&[NAMES]));
    format!(
        "    oifname \"lo\" tcp dport {{ {tcp} }} accept\n    \
         oifname \"lo\" tcp flags & (syn | ack) == syn reject with tcp reset\n    \
         oifname \"lo\" udp dport {{ {udp} }} accept\n    \
         oifname \"lo\" udp sport {{ {udp} }} accept\n    \
         oifname \"lo\" meta l4proto udp reject\n"
    )
}

fn render_door(door: &Opening) -> String {
    let port =
        door.port.map_or_else(String::new, |port| format!("meta l4proto {{ tcp, udp }} th dport {port} "));
    format!("    ip daddr {} {port}accept\n", door.network)
}

/// Reads this computer's own IPv4 addresses, loopback aside, out of `/proc/net/fib_trie`.
pub(super) fn own_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let mut addresses = Vec::new();
    let mut last = None;
    for line in trie.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            last = leaf.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(last.take().filter(|address| !address.is_loopback()));
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(text: &str) -> Openings {
        let mut openings = Openings::default();
        for word in text.split_whitespace() {
            match word.split_once(':') {
                _ if word == "host" => openings.host = true,
                _ if word == "lan" => openings.lan = true,
                Some((network, port)) => openings
                    .doors
                    .push(Opening { network: network.parse().expect("a network"), port: port.parse().ok() }),
                None => {
                    openings.doors.push(Opening { network: word.parse().expect("a network"), port: None });
                }
            }
        }
        openings
    }

    const OWN: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(203, 0, 113, 9)];

    #[test]
    fn everything_of_the_computer_and_around_it_is_closed() {
        insta::assert_snapshot!(render(&Openings::default(), &OWN, 20001), @r#"
        table inet enclosure
        delete table inet enclosure
        table inet enclosure {
          chain output {
            type filter hook output priority filter; policy accept;
            oifname "lo" tcp dport { 53, 20001 } accept
            oifname "lo" tcp flags & (syn | ack) == syn reject with tcp reset
            oifname "lo" udp dport { 53 } accept
            oifname "lo" udp sport { 53 } accept
            oifname "lo" meta l4proto udp reject
            oifname "lo" accept
            meta nfproto ipv6 reject with icmpx admin-prohibited
            ip daddr { 10.0.0.5, 203.0.113.9 } reject with icmpx admin-prohibited
            ip daddr { 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16, 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 240.0.0.0/4 } reject with icmpx admin-prohibited
          }
        }
        "#);
    }

    #[test]
    fn each_key_opens_its_own() {
        let text = |what: &str| render(&openings(what), &OWN, 20001);
        let place = |text: &str, what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        assert!(text("host").contains("ip daddr { 10.0.0.5, 203.0.113.9 } accept\n"));
        assert!(text("host").contains("{ 10.0.0.0/8, "));
        // The private networks, but not the computer that stands in one of them.
        assert!(text("lan").contains("ip daddr { 10.0.0.5, 203.0.113.9 } reject"));
        assert!(!text("lan").contains("10.0.0.0/8") && text("lan").contains("169.254.0.0/16"));
        let door = text("10.2.0.0/16:443");
        let accept = place(&door, "ip daddr 10.2.0.0/16 meta l4proto { tcp, udp } th dport 443 accept");
        assert!(accept < place(&door, "10.0.0.5"));
        assert!(!render(&Openings::default(), &[], 20001).contains("{  }"));
    }

    #[test]
    fn on_loopback_is_open_what_is_open_now() {
        let lines = |what: &str| -> Vec<String> {
            let text = render(&openings(what), &OWN, 20001);
            text.lines().filter(|line| line.contains("\"lo\"")).map(|line| line.trim().into()).collect()
        };
        assert_eq!(
            lines("192.168.5.2:5432 10.0.0.0/8:80"),
            [
                "oifname \"lo\" tcp dport { 53, 5432, 20001 } accept",
                "oifname \"lo\" tcp flags & (syn | ack) == syn reject with tcp reset",
                "oifname \"lo\" udp dport { 53, 5432 } accept",
                "oifname \"lo\" udp sport { 53, 5432 } accept",
                "oifname \"lo\" meta l4proto udp reject",
                "oifname \"lo\" accept",
            ]
        );
        for all in ["host", "192.168.5.2"] {
            assert_eq!(lines(all), ["oifname \"lo\" accept"]);
        }
    }

    #[test]
    fn own_addresses_are_read_from_the_kernels_own_table() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            +-- 127.0.0.0/8 2 0 2\n        |-- 127.0.0.1\n           /32 host LOCAL\n     +-- 192.0.2.0/24 2 0 2\n        \
            |-- 192.0.2.2\n           /32 host LOCAL\n        |-- 192.0.2.255\n           /32 link BROADCAST\n\
            Local:\n        |-- 192.0.2.2\n           /32 host LOCAL\n";
        assert_eq!(own_addresses(trie), [Ipv4Addr::new(192, 0, 2, 2)]);
        assert!(own_addresses("nonsense\n/32 host LOCAL\n").is_empty());
    }
}
