//! Asks this computer's resolver for the addresses behind a name, and waits only so long.
//!
//! Enters: names of `allow` and of git hosts. Leaves: IPv4 addresses. What leads back to this computer is none: a name
//! is somebody else's to point, and opens what it says, not the host.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;

use crate::model::GUEST_NETWORK;

/// The system's own limit is half a minute, for each name server.
const LIMIT: Duration = Duration::from_secs(3);

/// The addresses of a name, in order; of an address, itself. Empty when nobody knows it in time.
pub fn look_up(name: &str) -> Vec<Ipv4Addr> {
    if let Ok(address) = name.parse() {
        return vec![address];
    }
    let (sender, answer) = mpsc::channel();
    let asked = name.to_string();
    // The system's resolver cannot be told to stop; the thread ends with it, or with us.
    std::thread::spawn(move || {
        let found = (asked.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let _ = sender.send(found.unwrap_or_default());
    });
    let found = answer.recv_timeout(LIMIT).unwrap_or_default();
    let mut addresses: Vec<Ipv4Addr> = found
        .iter()
        .filter_map(|address| if let IpAddr::V4(address) = address.ip() { Some(address) } else { None })
        .filter(|address| is_elsewhere(*address))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn is_elsewhere(address: Ipv4Addr) -> bool {
    let is_special = address.is_loopback()
        || address.is_unspecified()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast();
    !is_special && !GUEST_NETWORK.contains(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_answer_and_no_name_means_this_computer() {
        assert_eq!(look_up("192.168.5.2"), [Ipv4Addr::new(192, 168, 5, 2)]);
        assert_eq!(look_up("localhost"), Vec::<Ipv4Addr>::new());
        assert_eq!(look_up("no-such-name.invalid"), Vec::<Ipv4Addr>::new());
    }
}
