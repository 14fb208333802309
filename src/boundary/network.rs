//! What a guest reaches of the host and of what is around it.
//!
//! Enters: what our listeners heard, and what the guest says of other places. Leaves: judgements. A guest that reaches
//! nothing at all proves nothing by not reaching the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::canary::{Stand, Way, Who};
use super::observed::{Neighbour, Observed};
use super::{Judgement, Verdict};
use crate::guest::{Target, Tried};
use crate::model::Openings;

/// Where a guest finds its host's 127.0.0.1 in Lima's user-mode network (qemu.go, gvproxy.go).
const HOST_IN_GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 5, 2);
/// Where clouds have their metadata.
pub const METADATA_SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// Where it finds `::1` under QEMU (slirp.c).
const HOST_IN_GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);

const UNPROVEN: &str =
    "the guest reaches nothing outside, not even its resolver, so that this proves nothing";

/// What the answers call the router.
const ROUTER: &str = "router";
/// What they call the metadata service of a cloud.
const METADATA: &str = "metadata";

/// What a guest is to try: every listener of ours by the address it has in the guest, and the other places.
pub fn targets(stands: &[Stand], router: Option<SocketAddr>, neighbours: &[Neighbour]) -> Vec<Target> {
    let ours = stands.iter().map(|stand| Target {
        name: name_of(stand.way).into(),
        address: as_the_guest_sees(stand),
        tcp: stand.tcp,
        udp: stand.udp,
    });
    let place = |name: String, to: SocketAddr| Target { name, address: to.ip(), tcp: to.port(), udp: 0 };
    let router = router.map(|to| place(ROUTER.into(), to));
    let others = neighbours.iter().map(|other| {
        place(name_of_neighbour(&other.name), SocketAddr::new(HOST_IN_GUEST.into(), other.port))
    });
    ours.chain(router).chain([place(METADATA.into(), METADATA_SERVICE)]).chain(others).collect()
}

const fn as_the_guest_sees(stand: &Stand) -> IpAddr {
    match stand.way {
        Way::Loopback4 => IpAddr::V4(HOST_IN_GUEST),
        Way::Loopback6 => IpAddr::V6(HOST_IN_GUEST_V6),
        Way::Address4 | Way::Address6 => stand.address,
    }
}

const fn name_of(way: Way) -> &'static str {
    match way {
        Way::Loopback4 => "loopback4",
        Way::Loopback6 => "loopback6",
        Way::Address4 => "address4",
        Way::Address6 => "address6",
    }
}

fn name_of_neighbour(name: &str) -> String {
    format!("machine-{name}")
}

pub(super) fn loopback4(seen: &Observed) -> Judgement {
    way(seen, Way::Loopback4, "127.0.0.1")
}

pub(super) fn loopback6(seen: &Observed) -> Judgement {
    way(seen, Way::Loopback6, "::1")
}

pub(super) fn address4(seen: &Observed) -> Judgement {
    way(seen, Way::Address4, "its IPv4 address")
}

pub(super) fn address6(seen: &Observed) -> Judgement {
    way(seen, Way::Address6, "its IPv6 address")
}

/// One of our own listeners: it heard the guest, or it did not.
fn way(seen: &Observed, way: Way, place: &str) -> Judgement {
    let heard = |who| seen.heard.contains(&(way, who));
    let Some(stand) = seen.stands.iter().find(|stand| stand.way == way) else {
        return Judgement::not_probed(format!("this computer has nothing to listen on at {place}"));
    };
    if !heard(Who::Host) {
        return Judgement::not_probed(format!("a listener at {place} did not hear this computer itself"));
    }
    let tries = Tries::of(seen, name_of(way));
    if tries.user == Some(Tried::Open) && !heard(Who::User) {
        return Judgement::not_probed(format!("somebody else answered the guest in the place of {place}"));
    }
    let place = format!("a listener of this computer at {place}");
    let reached = Reached { user: heard(Who::User), root: heard(Who::Root) };
    judge(seen, reached, tries, SocketAddr::new(as_the_guest_sees(stand), stand.tcp), &place)
}

/// What a guest says of one place.
#[derive(Clone, Copy)]
struct Tries {
    user: Option<Tried>,
    root: Option<Tried>,
}

/// Who came through.
#[derive(Clone, Copy)]
struct Reached {
    user: bool,
    root: bool,
}

impl Tries {
    fn of(seen: &Observed, name: &str) -> Self {
        Self { user: seen.guest.tried(name), root: seen.guest.past.get(name).copied() }
    }

    /// In the guest's own words, for places where nobody of ours listens.
    fn reached(self) -> Reached {
        Reached { user: self.user == Some(Tried::Open), root: self.root == Some(Tried::Open) }
    }
}

/// The key that opens an address, if one does.
fn key_that_opens(openings: &Openings, to: SocketAddr) -> Option<&'static str> {
    let IpAddr::V4(address) = to.ip() else { return None };
    let refuses = |openings: &Openings| openings.refuse(address, to.port());
    let closed = Openings::default();
    let only = [
        ("host_access", Openings { host: openings.host, ..closed.clone() }),
        ("lan_access", Openings { lan: openings.lan, ..closed.clone() }),
        ("allow", Openings { doors: openings.doors.clone(), ..closed.clone() }),
    ];
    // What is not closed by itself is opened by no key.
    let found = only.into_iter().find(|(_, only)| refuses(&closed) && !refuses(only));
    found.map(|(key, _)| key)
}

fn judge(seen: &Observed, reached: Reached, tries: Tries, to: SocketAddr, place: &str) -> Judgement {
    let enclosed = seen.engine.as_ref().and_then(|engine| engine.own_network) == Some(true);
    match key_that_opens(&seen.stated.openings, to) {
        Some(key) if reached.user || reached.root => {
            return Judgement::open(key, &seen.stated.file, format!("the guest reached {place}"));
        }
        None if reached.user => {
            return Judgement::failed(format!("the guest reached {place}, which no key opens"));
        }
        _ => {}
    }
    match (reached.root, enclosed) {
        (true, true) => {
            Judgement::failed(format!("root in the guest reached {place}, past the rules outside of it"))
        }
        (true, false) => Judgement::crosses(format!(
            "{place}: the guest's user did not reach it, root did, past the rules that are inside the guest"
        )),
        _ if !seen.guest.works() => Judgement::not_probed(UNPROVEN),
        _ if tries.user.is_none() => Judgement::not_probed(format!("the guest did not try {place}")),
        _ if seen.guest.root_works() && tries.root.is_some() => {
            Judgement::closed(format!("{place} was not reached, by root past the guest's own rules neither"))
        }
        _ => Judgement::closed(format!(
            "{place} was not reached; root, past the guest's own rules, was not tried"
        )),
    }
}

fn judge_place(seen: &Observed, name: &str, to: SocketAddr, place: &str) -> Judgement {
    let tries = Tries::of(seen, name);
    judge(seen, tries.reached(), tries, to, place)
}

pub(super) fn lan(seen: &Observed) -> Judgement {
    let Some(router) = seen.router else {
        return Judgement::not_probed("no router answers this computer, so there is nothing to be refused");
    };
    judge_place(seen, ROUTER, router, &format!("the router, {router}"))
}

pub(super) fn metadata(seen: &Observed) -> Judgement {
    let reached = Tries::of(seen, METADATA).reached();
    if !seen.metadata && !reached.user && !reached.root {
        return Judgement::not_probed("no metadata service answers this computer at 169.254.169.254");
    }
    judge_place(seen, METADATA, METADATA_SERVICE, "the metadata service at 169.254.169.254")
}

/// The worst of all of them.
pub(super) fn neighbours(seen: &Observed) -> Judgement {
    let all = seen.neighbours.iter().map(|one| {
        let to = SocketAddr::new(HOST_IN_GUEST.into(), one.port);
        judge_place(
            seen,
            &name_of_neighbour(&one.name),
            to,
            &format!("the sshd of the machine `{}`", one.name),
        )
    });
    let rank = |judgement: &Judgement| match judgement.verdict {
        Verdict::Failed => 0,
        Verdict::Crosses => 1,
        Verdict::NotProbed => 2,
        _ => 3,
    };
    all.min_by_key(rank).unwrap_or_else(|| Judgement::not_probed("no other machine runs"))
}

pub(super) fn dns(seen: &Observed) -> Judgement {
    if seen.settings.config.pointer("/hostResolver/enabled").and_then(serde_json::Value::as_bool)
        == Some(true)
    {
        return Judgement::failed("Lima runs a resolver on this computer, open to all its users");
    }
    match seen.guest.tried("DNS") {
        Some(Tried::Open) => {
            Judgement::crosses("this computer's resolver answers the guest, for names of every kind")
        }
        _ => Judgement::not_probed("no resolver answered the guest"),
    }
}
