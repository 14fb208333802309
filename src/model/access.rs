//! What of the host's side a machine may reach: nothing, unless a project's `host_access`, `lan_access` or `allow` says so.
//!
//! Enters: words of the configuration. Leaves: doors as written, and openings in addresses, from which rules are made.
//! Machines have no IPv6, so there is none here.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Refused, shown};

/// Where a guest finds its host.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 5, 2);
/// The user-mode network of every machine.
pub const GUEST_NETWORK: Network = Network::fixed(192, 168, 5, 0, 24);
/// The networks that are nobody's on the internet: RFC 1918, and what providers and VPNs use (RFC 6598).
const LAN: [Network; 4] = [
    Network::fixed(10, 0, 0, 0, 8),
    Network::fixed(100, 64, 0, 0, 10),
    Network::fixed(172, 16, 0, 0, 12),
    Network::fixed(192, 168, 0, 0, 16),
];
/// What leads to the host or to all neighbours, and to the metadata of a cloud: only `allow` opens it.
const NEVER: [Network; 5] = [
    Network::fixed(0, 0, 0, 0, 8),
    Network::fixed(127, 0, 0, 0, 8),
    Network::fixed(169, 254, 0, 0, 16),
    Network::fixed(224, 0, 0, 0, 4),
    Network::fixed(240, 0, 0, 0, 4),
];

/// An IPv4 network; one address is a network of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: Ipv4Addr,
    prefix: u8,
}

impl Network {
    const fn fixed(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: Ipv4Addr::new(a, b, c, d), prefix }
    }

    /// Whether an address is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(self.address) == u32::from(address) & self.mask()
    }

    /// Its address, or the first of them.
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Whether it is one address.
    pub(super) const fn is_address(self) -> bool {
        self.prefix == 32
    }

    /// Whether it is this computer's own loopback, or a part of it.
    pub(super) const fn is_loopback(self) -> bool {
        self.address.is_loopback()
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl From<Ipv4Addr> for Network {
    fn from(address: Ipv4Addr) -> Self {
        Self { address, prefix: 32 }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            32 => write!(f, "{}", self.address),
            prefix => write!(f, "{}/{prefix}", self.address),
        }
    }
}

impl FromStr for Network {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let no_network = || Refused::new(format!("`{}` is no IPv4 network", shown(text)));
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().ok().ok_or_else(no_network)?;
        let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit()) && prefix.len() <= 2;
        let prefix =
            prefix.parse().ok().filter(|prefix| is_number && *prefix <= 32).ok_or_else(no_network)?;
        if prefix < 8 {
            return Err(Refused::new(format!("`{text}` is wider than a private network can be")));
        }
        let network = Self { address, prefix };
        let whole = Self { address: Ipv4Addr::from(u32::from(address) & network.mask()), prefix };
        if whole == network {
            return Ok(network);
        }
        Err(Refused::new(format!("`{text}` has bits behind its prefix")).instead(whole.to_string()))
    }
}

impl TryFrom<String> for Network {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// One entry of `allow`: `gitlab.corp:22`, `10.2.0.0/16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// What is behind it.
    pub place: Place,
    /// The one port, TCP and UDP; all of them when `None`.
    pub port: Option<u16>,
}

/// What is behind a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address or a network.
    Network(Network),
    /// A name, which the host looks up.
    Name(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for Door {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return Err(Refused::new(format!(
                "`{}` looks like an IPv6 address, and machines have IPv4 only",
                shown(text)
            )));
        }
        let (place, port) = match text.split_once(':') {
            Some((place, port)) => (place, Some(read_port(text, port)?)),
            None => (text, None),
        };
        let is_number = place.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'));
        if is_number || place.contains('/') {
            return Ok(Self { place: Place::Network(place.parse()?), port });
        }
        if is_host_name(place) {
            return Ok(Self { place: Place::Name(place.to_ascii_lowercase()), port });
        }
        Err(Refused::new(format!("`{}` is neither a host's name nor an IPv4 network", shown(place))))
    }
}

impl Door {
    /// What is meant instead by a door to the guest's own loopback, or into its network where nobody is but this computer.
    pub fn instead(&self) -> Option<Self> {
        let leads_nowhere = match &self.place {
            Place::Name(name) => name == "localhost",
            Place::Network(network) => {
                network.is_loopback() || (*network != HOST.into() && GUEST_NETWORK.contains(network.address))
            }
        };
        leads_nowhere.then_some(Self { place: Place::Network(HOST.into()), port: self.port })
    }
}

fn read_port(text: &str, port: &str) -> Result<u16, Refused> {
    let number = port.parse::<u16>().ok().filter(|number| *number > 0 && !port.starts_with('+'));
    number.ok_or_else(|| Refused::new(format!("`{}` is no port, in `{}`", shown(port), shown(text))))
}

/// RFC 1123, section 2.1: labels of letters, digits and inner hyphens. The last one is no number, or it would be an
/// address in one of the spellings that only some programs know.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && !last.starts_with(|c: char| c.is_ascii_digit())
}

/// What a project opens, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `host_access`: every service of this computer.
    pub host: bool,
    /// `lan_access`: the private networks it is in.
    pub lan: bool,
    /// `allow`: single doors.
    pub allow: Vec<Door>,
}

impl Access {
    /// The same with one more door.
    #[must_use]
    pub fn with(&self, door: Option<Door>) -> Self {
        let door = door.filter(|door| !self.allow.contains(door));
        Self { allow: self.allow.iter().cloned().chain(door).collect(), ..*self }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = [(self.host, "host_access"), (self.lan, "lan_access")];
        let keys = keys.into_iter().filter(|(is_set, _)| *is_set).map(|(_, key)| key.to_string());
        let words: Vec<String> = keys.chain(self.allow.iter().map(ToString::to_string)).collect();
        f.write_str(if words.is_empty() { "closed" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

/// One door in addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Opening {
    /// Whom it leads to.
    pub network: Network,
    /// The one port, TCP and UDP; all of them when `None`.
    pub port: Option<u16>,
}

/// What is open, in addresses: what the rules of the guest's floor and of the host's enclosure are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Openings {
    /// Every service of this computer.
    pub host: bool,
    /// The private networks.
    pub lan: bool,
    /// Single doors, in order.
    pub doors: Vec<Opening>,
}

impl Openings {
    /// Whether a machine would be refused.
    pub fn refuse(&self, address: Ipv4Addr, port: u16) -> bool {
        let is_door =
            |door: &Opening| door.network.contains(address) && door.port.is_none_or(|only| only == port);
        if self.doors.iter().any(is_door) {
            return false;
        }
        if GUEST_NETWORK.contains(address) {
            return !self.host;
        }
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        within(&NEVER) || (!self.lan && within(&LAN))
    }

    /// The ports of this computer's loopback that are open to the guest, at 192.168.5.2; `None` for all of them.
    pub fn host_ports(&self) -> Option<Vec<u16>> {
        let doors = self.doors.iter().filter(|door| door.network == HOST.into());
        // A door without a port is all of them.
        let ports: Option<Vec<u16>> = doors.map(|door| door.port).collect();
        ports.filter(|_| !self.host)
    }

    /// The networks that are closed, doors and exceptions aside.
    pub fn closed(&self) -> Vec<Network> {
        // It lies in a private network itself, and rules take no network twice.
        let host = (!self.host && self.lan).then_some(GUEST_NETWORK);
        let lan = if self.lan { &[][..] } else { &LAN[..] };
        host.into_iter().chain(lan.iter().copied()).chain(NEVER).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn door(text: &str) -> String {
        match text.parse::<Door>() {
            Ok(door) => door.to_string(),
            Err(refused) => format!("refused: {refused}"),
        }
    }

    #[test]
    fn doors_are_names_addresses_and_networks_with_or_without_a_port() {
        for text in
            ["gitlab.corp:22", "gitlab", "10.2.0.0/16", "10.2.0.0/16:443", "192.168.5.2:5432", "169.254.1.1"]
        {
            assert_eq!(door(text), text);
        }
        assert_eq!(door("GitLab.Corp:22"), "gitlab.corp:22");
        assert_eq!(door("10.2.3.4/32"), "10.2.3.4");
    }

    #[test]
    fn what_could_be_meant_otherwise_is_refused() {
        let cases = [
            ("10.2.3.4/16", "`10.2.3.4/16` has bits behind its prefix; did you mean `10.2.0.0/16`?"),
            ("0.0.0.0/0", "`0.0.0.0/0` is wider than a private network can be"),
            ("10.0.0.0/33", "`10.0.0.0/33` is no IPv4 network"),
            ("10.0.0.0/+8", "`10.0.0.0/+8` is no IPv4 network"),
            ("10.1", "`10.1` is no IPv4 network"),
            ("0x7f.1", "`0x7f.1` is neither a host's name nor an IPv4 network"),
            ("2130706433", "`2130706433` is no IPv4 network"),
            ("[::1]:22", "`[::1]:22` looks like an IPv6 address, and machines have IPv4 only"),
            ("fe80::1", "`fe80::1` looks like an IPv6 address, and machines have IPv4 only"),
            ("gitlab.corp:0", "`0` is no port, in `gitlab.corp:0`"),
            ("gitlab.corp:", "`` is no port, in `gitlab.corp:`"),
            ("gitlab.corp:65536", "`65536` is no port, in `gitlab.corp:65536`"),
            ("*.corp", "`*.corp` is neither a host's name nor an IPv4 network"),
            ("a b", "`a b` is neither a host's name nor an IPv4 network"),
            ("-x.corp", "`-x.corp` is neither a host's name nor an IPv4 network"),
            ("", "`` is no IPv4 network"),
        ];
        for (text, expected) in cases {
            assert_eq!(door(text), format!("refused: {expected}"), "{text}");
        }
    }

    #[test]
    fn a_door_to_the_guest_itself_means_this_computer() {
        let instead = |text: &str| Some(text.parse::<Door>().ok()?.instead()?.to_string());
        for text in ["127.0.0.1:80", "127.0.0.0/8:80", "LocalHost:80", "192.168.5.0/24:80", "192.168.5.3:80"]
        {
            assert_eq!(instead(text).as_deref(), Some("192.168.5.2:80"), "{text}");
        }
        for text in ["192.168.5.2:80", "192.168.0.0/16", "10.0.0.1", "localhost.corp"] {
            assert_eq!(instead(text), None, "{text}");
        }
    }

    #[test]
    fn the_host_the_lan_and_metadata_are_closed_and_each_key_opens_its_own() {
        let refuses = |openings: &Openings| {
            let all =
                ["192.168.5.2", "192.168.1.9", "100.64.0.1", "169.254.169.254", "224.0.0.251", "9.9.9.9"];
            all.map(|text| u8::from(openings.refuse(text.parse().expect("an address"), 443)))
        };
        assert_eq!(refuses(&Openings::default()), [1, 1, 1, 1, 1, 0]);
        assert_eq!(refuses(&Openings { host: true, ..Openings::default() }), [0, 1, 1, 1, 1, 0]);
        assert_eq!(refuses(&Openings { lan: true, ..Openings::default() }), [1, 0, 0, 1, 1, 0]);
        let doors = vec![Opening { network: "169.254.0.0/16".parse().expect("a network"), port: Some(443) }];
        assert_eq!(refuses(&Openings { doors: doors.clone(), ..Openings::default() }), [1, 1, 1, 0, 1, 0]);
        let other_port = Openings { doors, ..Openings::default() };
        assert!(other_port.refuse(Ipv4Addr::new(169, 254, 169, 254), 80));
    }

    #[test]
    fn loopback_is_opened_by_ports() {
        let open = |doors: &[&str], host| {
            let open = |door: &&str| {
                let (network, port) = door.split_once(':').unwrap_or((door, ""));
                Opening { network: network.parse().expect("a network"), port: port.parse().ok() }
            };
            Openings { host, lan: true, doors: doors.iter().map(open).collect() }.host_ports()
        };
        assert_eq!(open(&["10.0.0.5:22"], false), Some(vec![]));
        assert_eq!(open(&["192.168.5.2:5432", "192.168.5.2:80"], false), Some(vec![5432, 80]));
        assert_eq!(open(&["192.168.5.2"], false), None);
        assert_eq!(open(&[], true), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_shown_as_it_is_read_again(text in "[a-z0-9./:\\[\\]-]{0,24}") {
            if let Ok(door) = text.parse::<Door>() {
                prop_assert_eq!(door.to_string().parse::<Door>().expect("again"), door);
            }
        }
    }
}
