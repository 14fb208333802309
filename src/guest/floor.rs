//! The floor: rules in the guest's own kernel that keep it from its host and from the networks around.
//!
//! Enters: openings, in addresses. Leaves: an nftables file, and the step that puts it in place for every boot.
//! Whoever is root in the guest can take it away; on Linux the host has rules of its own as well.

use super::step::Step;
use crate::model::{GUEST_NETWORK, Opening, Openings};

/// IPv6 that leads to the host (`fec0::2` under QEMU), to neighbours, or by a translator to IPv4. Guests need none of it.
const CLOSED_V6: &str = "::/8, 2002::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8";

/// The rules, as `nft -f` reads them. `RESOLVER` stands for the network's name server until they are put in place.
pub fn render_floor(openings: &Openings) -> String {
    let doors: String = openings.doors.iter().map(render_door).collect();
    let host = if openings.host { format!("    ip daddr {GUEST_NETWORK} accept\n") } else { String::new() };
    let closed: Vec<String> = openings.closed().iter().map(ToString::to_string).collect();
    format!(
        "# Written by machine: what this machine may not reach. Changes are overwritten.\n\
         table inet machine_floor\ndelete table inet machine_floor\n\
         table inet machine_floor {{\n  chain uplink {{\n\
         \x20   # sshd answers the host, which may not be called.\n\
         \x20   tcp sport 22 tcp flags & (syn | ack) != syn accept\n\
         \x20   udp sport 68 udp dport 67 accept\n\
         \x20   ip daddr RESOLVER meta l4proto {{ tcp, udp }} th dport 53 accept\n\
         \x20   icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} accept\n\
         {doors}{host}\
         \x20   ip daddr {{ {} }} reject with icmpx admin-prohibited\n\
         \x20   ip6 daddr {{ {CLOSED_V6} }} reject with icmpx admin-prohibited\n  }}\n{}{}}}\n",
        closed.join(", "),
        render_hook("output"),
        render_hook("forward"),
    )
}

/// By the card's name: what containers and tunnels of the guest's own do among themselves is not the host's business.
fn render_hook(hook: &str) -> String {
    format!(
        "  chain {hook} {{\n    type filter hook {hook} priority filter; policy accept;\n\
         \x20   oifname \"eth*\" jump uplink\n    oifname \"en*\" jump uplink\n  }}\n"
    )
}

fn render_door(door: &Opening) -> String {
    let port =
        door.port.map_or_else(String::new, |port| format!("meta l4proto {{ tcp, udp }} th dport {port} "));
    format!("    ip daddr {} {port}accept\n", door.network)
}

/// The step that puts the floor in place, now and for every boot.
pub fn floor_step(openings: &Openings) -> Step {
    let files = vec![
        ("floor.nft".to_string(), render_floor(openings).into_bytes()),
        (
            "machine-floor.service".to_string(),
            include_bytes!("../../templates/guest/machine-floor.service").to_vec(),
        ),
    ];
    let body = include_str!("../../templates/guest/floor.sh");
    Step::state("floor", format!("floor: {}", describe(openings)), body.into(), files)
}

fn describe(openings: &Openings) -> String {
    let keys = [(openings.host, "host"), (openings.lan, "LAN")];
    let mut words: Vec<String> =
        keys.into_iter().filter(|(open, _)| *open).map(|(_, word)| word.to_string()).collect();
    match openings.doors.len() {
        0 => {}
        1 => words.push("1 door".into()),
        count => words.push(format!("{count} doors")),
    }
    if words.is_empty() { "host and LAN closed".into() } else { format!("{} open", words.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings() -> Openings {
        let open = |network: &str, port| Opening { network: network.parse().expect("a network"), port };
        Openings {
            doors: vec![open("10.2.0.0/16", None), open("192.168.5.2", Some(5432))],
            ..Openings::default()
        }
    }

    #[test]
    fn the_closed_floor() {
        insta::assert_snapshot!(render_floor(&Openings::default()), @r#"
        # Written by machine: what this machine may not reach. Changes are overwritten.
        table inet machine_floor
        delete table inet machine_floor
        table inet machine_floor {
          chain uplink {
            # sshd answers the host, which may not be called.
            tcp sport 22 tcp flags & (syn | ack) != syn accept
            udp sport 68 udp dport 67 accept
            ip daddr RESOLVER meta l4proto { tcp, udp } th dport 53 accept
            icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
            ip daddr { 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16, 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4, 240.0.0.0/4 } reject with icmpx admin-prohibited
            ip6 daddr { ::/8, 2002::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8 } reject with icmpx admin-prohibited
          }
          chain output {
            type filter hook output priority filter; policy accept;
            oifname "eth*" jump uplink
            oifname "en*" jump uplink
          }
          chain forward {
            type filter hook forward priority filter; policy accept;
            oifname "eth*" jump uplink
            oifname "en*" jump uplink
          }
        }
        "#);
    }

    #[test]
    fn doors_stand_before_what_is_closed_and_keys_leave_it_out() {
        let text = render_floor(&openings());
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        assert!(place("ip daddr 10.2.0.0/16 accept") < place("reject"));
        assert!(
            place("ip daddr 192.168.5.2 meta l4proto { tcp, udp } th dport 5432 accept") < place("reject")
        );
        let host = render_floor(&Openings { host: true, ..Openings::default() });
        assert!(host.contains("ip daddr 192.168.5.0/24 accept") && host.contains("{ 10.0.0.0/8, "));
        let lan = render_floor(&Openings { lan: true, ..Openings::default() });
        assert!(lan.contains("{ 192.168.5.0/24, 0.0.0.0/8, ") && !lan.contains("10.0.0.0/8"));
    }

    #[test]
    fn the_name_says_what_is_open() {
        let name = |openings: Openings| floor_step(&openings).name;
        assert_eq!(name(Openings::default()), "floor: host and LAN closed");
        assert_eq!(name(openings()), "floor: 2 doors open");
        assert_eq!(name(Openings { host: true, lan: true, doors: Vec::new() }), "floor: host, LAN open");
    }
}
