//! The rules of the namespace that QEMU runs in: a pure function, so that every set of openings and addresses is a test.
//!
//! Enters: openings, the computer's own addresses. Leaves: text for `nft -f -`.
//! There is no IPv6 in the namespace at all; what comes from its own loopback stays there.

use std::net::Ipv4Addr;

use crate::model::{Opening, Openings};

/// Renders the whole rule set; loading it replaces an earlier one at once.
pub(super) fn render(openings: &Openings, own: &[Ipv4Addr]) -> String {
    let doors: String = openings.doors.iter().map(render_door).collect();
    let own = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let verdict = if openings.host { "accept" } else { "reject with icmpx admin-prohibited" };
    let own = if own.is_empty() { own } else { format!("    ip daddr {{ {own} }} {verdict}\n") };
    let closed = openings.closed().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "table inet enclosure\ndelete table inet enclosure\n\
         table inet enclosure {{\n  chain output {{\n\
         \x20   type filter hook output priority filter; policy accept;\n\
         \x20   oifname \"lo\" accept\n\
         \x20   meta nfproto ipv6 reject with icmpx admin-prohibited\n\
         {doors}{own}\
         \x20   ip daddr {{ {closed} }} reject with icmpx admin-prohibited\n  }}\n}}\n"
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
        insta::assert_snapshot!(render(&Openings::default(), &OWN), @r#"
        table inet enclosure
        delete table inet enclosure
        table inet enclosure {
          chain output {
            type filter hook output priority filter; policy accept;
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
        let text = |what: &str| render(&openings(what), &OWN);
        let place = |text: &str, what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        assert!(text("host").contains("ip daddr { 10.0.0.5, 203.0.113.9 } accept\n"));
        assert!(text("host").contains("{ 10.0.0.0/8, "));
        // The private networks, but not the computer that stands in one of them.
        assert!(text("lan").contains("ip daddr { 10.0.0.5, 203.0.113.9 } reject"));
        assert!(!text("lan").contains("10.0.0.0/8") && text("lan").contains("169.254.0.0/16"));
        let door = text("10.2.0.0/16:443");
        let accept = place(&door, "ip daddr 10.2.0.0/16 meta l4proto { tcp, udp } th dport 443 accept");
        assert!(accept < place(&door, "10.0.0.5"));
        assert!(!render(&Openings::default(), &[]).contains("{  }"));
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
