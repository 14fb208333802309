//! What a project may reach, in addresses: the names of `allow` are looked up on the host, as the guest would see them.
//!
//! Enters: `Access`, what the names were the last time. Leaves: `Openings`, and a warning for a name nobody knows.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::model::{Access, Computer, Network, Opening, Openings, Place, Project, Proxy};
use crate::plan::look_up;
use crate::ui;

/// Addresses by name.
pub type Addresses = BTreeMap<String, Vec<Ipv4Addr>>;

/// What a project's machine may reach: what its table opens, and this computer's proxy.
pub fn access_of(project: &Project, computer: &Computer) -> Access {
    project.access.with(computer.proxy.as_ref().map(Proxy::door))
}

/// Looks up every name that is opened. One that has no answer now keeps the last one.
pub fn look_up_doors(access: &Access, last: &Addresses) -> Addresses {
    let names = access.allow.iter().filter_map(|door| match &door.place {
        Place::Name(name) => Some(name),
        Place::Network(_) => None,
    });
    let mut addresses = Addresses::new();
    for name in names {
        let found = Some(look_up(name)).filter(|found| !found.is_empty());
        match found.or_else(|| last.get(name).cloned()) {
            Some(found) => drop(addresses.insert(name.clone(), found)),
            None => ui::warn(&format!(
                "`{name}`, which is to be reachable, is not known to this computer's resolver: its door stays closed"
            )),
        }
    }
    addresses
}

/// The openings, with the addresses that were found.
pub fn open(access: &Access, addresses: &Addresses) -> Openings {
    let mut doors: Vec<Opening> = Vec::new();
    for door in &access.allow {
        let networks = match &door.place {
            Place::Network(network) => vec![*network],
            Place::Name(name) => {
                addresses.get(name).into_iter().flatten().copied().map(Network::from).collect()
            }
        };
        doors.extend(networks.into_iter().map(|network| Opening { network, port: door.port }));
    }
    doors.sort_unstable();
    doors.dedup();
    Openings { host: access.host, lan: access.lan, doors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_an_answer_keeps_its_last_one() {
        let allow =
            ["gone.invalid:22", "10.2.0.0/16", "10.2.0.0/16"].map(|door| door.parse().expect("a door"));
        let access = Access { allow: allow.to_vec(), ..Access::default() };
        let last = Addresses::from([("gone.invalid".to_string(), vec![Ipv4Addr::new(10, 9, 0, 1)])]);
        let found = look_up_doors(&access, &last);
        assert_eq!(found, last);
        let shown: Vec<String> = open(&access, &found)
            .doors
            .iter()
            .map(|door| format!("{} {:?}", door.network, door.port))
            .collect();
        assert_eq!(shown, ["10.2.0.0/16 None", "10.9.0.1 Some(22)"]);
        assert!(open(&access, &look_up_doors(&access, &Addresses::new())).doors.len() == 1);
    }
}
