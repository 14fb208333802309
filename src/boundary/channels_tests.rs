//! Every verdict of every channel, from values: what was seen, changed in one place at a time.
//!
//! Enters: nothing. Leaves: complaints of the harness. What is not known of a machine is never called closed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::boundary::Verdict;
use crate::boundary::canary::{Stand, Way, Who};
use crate::boundary::observed::{
    AgentSeen, Cidata, GuestPorts, KeyPin, MasterSeen, Mode, Neighbour, Private, Settings, Stated, TrustSeen,
};
use crate::guest::{Place, Probed, Tried};
use crate::model::{HostOs, Opening, Openings};
use crate::process::Standing;

const WAYS: [Way; 4] = [Way::Loopback4, Way::Loopback6, Way::Address4, Way::Address6];
const PLACES: [&str; 6] = ["loopback4", "loopback6", "address4", "address6", "router", "metadata"];
const SSH_OPTIONS: [(&str, &str); 7] = [
    ("hostname", "127.0.0.1"),
    ("stricthostkeychecking", "true"),
    ("updatehostkeys", "false"),
    ("globalknownhostsfile", "/dev/null"),
    ("permitlocalcommand", "no"),
    ("controlmaster", "false"),
    ("forwardx11", "no"),
];

/// A machine about which everything is known and nothing is wrong.
pub(super) fn sound() -> Observed {
    let address = Ipv4Addr::LOCALHOST.into();
    let closed = PLACES.iter().chain(&["machine-shop"]).map(|name| (name.to_string(), Tried::Closed));
    let mut past: std::collections::BTreeMap<String, Tried> = closed.collect();
    past.insert("DNS".into(), Tried::Open);
    let mut tried = past.clone();
    tried.insert("control".into(), Tried::Open);
    Observed {
        stated: Stated {
            name: "blog".into(),
            file: "/c/projects.toml".into(),
            forward_agent: true,
            ..Stated::default()
        },
        os: HostOs::Linux,
        settings: Settings { config: json!({"plain": true, "mounts": []}), foreign: None },
        engine: Some(Standing { own_network: Some(true), uid: 1000, ..Standing::default() }),
        ssh_options: SSH_OPTIONS.map(|(key, value)| (key.into(), value.into())).to_vec(),
        modes: vec![Mode { path: "/d".into(), bits: 0o700, own: true }],
        cidata: Some(Cidata { readable: true, leaks: Vec::new() }),
        private: vec![Private { what: "your home folder".into(), text: "/home/me".into() }],
        secrets: Some(vec![("TOKEN".into(), false), ("SHOWN".into(), true)]),
        trust: TrustSeen::Own,
        lima_master: MasterSeen::NoAgent,
        key: KeyPin { right: true, wrong: false },
        stands: WAYS.map(|way| Stand { way, address, tcp: 1, udp: 2 }).to_vec(),
        heard: WAYS.map(|way| (way, Who::Host)).into(),
        router: Some(SocketAddr::new(Ipv4Addr::new(192, 168, 1, 1).into(), 53)),
        metadata: true,
        neighbours: vec![Neighbour { name: "shop".into(), port: 20_001 }],
        guest_ports: GuestPorts { heard: true, appeared: Vec::new() },
        agent: AgentSeen {
            host_keys: Some(vec!["ssh-ed25519 A".into(), "ssh-ed25519 B".into()]),
            session_keys: Some(vec!["ssh-ed25519 A".into()]),
            signed_anything: false,
            other_sessions: 0,
            is_held: false,
        },
        guest: Probed {
            tried,
            past,
            root: true,
            ways: vec!["sudo".into()],
            mounts: vec![("ext4".into(), "/".into())],
            variables: "HOME=/home/dev\n".into(),
            account: "dev:x:1000:1000::/home/dev:/bin/bash".into(),
            hostname: "lima-blog".into(),
            listening: vec![1, 2, 3],
            escape: "\u{1b}]52;c;eA==\u{7}".into(),
            secrets: Some(vault("tmpfs", "rw,nosuid,nodev,noexec,noswap", "700 dev", Some(false), false)),
            ..Probed::default()
        },
        cleaned: String::new(),
    }
}

fn vault(kind: &str, options: &str, access: &str, others: Option<bool>, swaps: bool) -> Place {
    let options = options.split(',').map(String::from).collect();
    Place::Folder { kind: kind.into(), options, access: access.into(), count: 2, others, swaps }
}

pub(super) fn verdict(observed: &Observed, channel: &str) -> String {
    let line = assess(observed).into_iter().find(|line| line.channel == channel).expect("a channel");
    line.judgement.verdict.to_string()
}

type Change = fn(&mut Observed);

/// What each change makes of each channel that it is about.
fn becomes(cases: &[(&str, &str, Change)]) {
    for (channel, expected, change) in cases {
        let mut observed = sound();
        change(&mut observed);
        assert_eq!(verdict(&observed, channel), *expected, "{channel}");
    }
}

#[test]
fn a_sound_machine_has_every_channel_closed_or_as_stated() {
    let lines = assess(&sound());
    let text: Vec<String> =
        lines.iter().map(|line| format!("{}: {}\n", line.channel, line.judgement.verdict)).collect();
    insta::assert_snapshot!(text.concat(), @"
    files: closed
    lima-settings: closed
    lima-data: crosses, as stated
    identity: crosses, as stated
    environment: closed
    guest-root: crosses, as stated
    agent-in-a-session: crosses, as stated
    agent-at-rest: closed
    lima-connection: closed
    secrets: crosses, as stated
    repository-file: closed
    host-127.0.0.1: closed
    host-::1: closed
    host-address: closed
    host-address-v6: closed
    lan: closed
    cloud-metadata: closed
    other-machines: closed
    dns: crosses, as stated
    guest-ports: closed
    host-key: closed
    ssh-options: closed
    x11: closed
    terminal: crosses, as stated
    host-files: closed
    hypervisor: crosses, as stated
    editors: not probed
    ");
    let mut names: Vec<&str> = lines.iter().map(|line| line.channel).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), lines.len(), "a name means one channel");
}

#[test]
fn what_was_not_seen_is_never_called_closed() {
    let nothing = Observed {
        stated: Stated { forward_agent: true, ..Stated::default() },
        os: HostOs::Linux,
        settings: Settings { config: serde_json::Value::Null, foreign: None },
        engine: None,
        ssh_options: Vec::new(),
        modes: Vec::new(),
        cidata: None,
        private: Vec::new(),
        secrets: None,
        trust: TrustSeen::Unknown(String::new()),
        lima_master: MasterSeen::Absent,
        key: KeyPin { right: false, wrong: false },
        stands: Vec::new(),
        heard: [].into(),
        router: None,
        metadata: false,
        neighbours: Vec::new(),
        guest_ports: GuestPorts { heard: false, appeared: Vec::new() },
        agent: AgentSeen::default(),
        guest: Probed::default(),
        cleaned: String::new(),
    };
    for line in assess(&nothing) {
        assert_eq!(line.judgement.verdict, Verdict::NotProbed, "{}: {}", line.channel, line.judgement.detail);
    }
}

#[test]
fn whoever_was_heard_on_the_host_came_through() {
    for (way, channel) in
        WAYS.into_iter().zip(["host-127.0.0.1", "host-::1", "host-address", "host-address-v6"])
    {
        let with = |who, own_network| {
            let mut observed = sound();
            observed.heard.insert((way, who));
            observed.engine.as_mut().expect("an engine").own_network = own_network;
            verdict(&observed, channel)
        };
        assert_eq!(with(Who::User, Some(true)), "FAILED");
        assert_eq!(with(Who::User, Some(false)), "FAILED");
        assert_eq!(with(Who::Root, Some(true)), "FAILED");
        assert_eq!(
            with(Who::Root, Some(false)),
            "crosses, as stated",
            "rules inside the guest bind its user only"
        );
        assert_eq!(with(Who::Root, None), "crosses, as stated");
        let mut deaf = sound();
        deaf.heard.remove(&(way, Who::Host));
        assert_eq!(verdict(&deaf, channel), "not probed", "a listener that hears nobody proves nothing");
    }
}

#[test]
fn a_guest_that_reaches_nothing_proves_nothing() {
    for broken in ["DNS", "control"] {
        let mut observed = sound();
        observed.guest.tried.insert(broken.into(), Tried::Silent);
        for channel in
            ["host-127.0.0.1", "host-::1", "host-address", "lan", "cloud-metadata", "other-machines"]
        {
            assert_eq!(verdict(&observed, channel), "not probed", "{channel}");
        }
    }
    for (name, channel) in
        PLACES.iter().zip(["host-127.0.0.1", "host-::1", "host-address", "host-address-v6", "lan"])
    {
        let mut observed = sound();
        observed.guest.tried.remove(*name);
        assert_eq!(verdict(&observed, channel), "not probed", "what was not tried");
        observed.guest.tried.insert((*name).into(), Tried::Silent);
        assert_eq!(verdict(&observed, channel), "closed", "{channel}");
    }
    let mut observed = sound();
    observed.guest.tried.insert("loopback4".into(), Tried::Open);
    assert_eq!(verdict(&observed, "host-127.0.0.1"), "not probed", "it was not our listener");
    let mut observed = sound();
    observed.guest.past.clear();
    let lines = assess(&observed);
    let line = lines.iter().find(|line| line.channel == "host-127.0.0.1").expect("a channel");
    assert_eq!(line.judgement.verdict, Verdict::Closed);
    assert!(line.judgement.detail.ends_with("was not tried"), "{}", line.judgement.detail);
}

#[test]
fn what_a_key_opens_is_named_with_its_file() {
    let reached = |channel: &str, way: Option<Way>, name: &str, openings: Openings| {
        let mut observed = sound();
        observed.stated.openings = openings;
        observed.heard.extend(way.map(|way| (way, Who::User)));
        observed.guest.tried.insert(name.into(), Tried::Open);
        verdict(&observed, channel)
    };
    let open = |key: &str| format!("open by `{key}` in `/c/projects.toml`");
    let host = Openings { host: true, ..Openings::default() };
    let lan = Openings { lan: true, ..Openings::default() };
    let door = |network: &str, port| Openings {
        doors: vec![Opening { network: network.parse().expect("a network"), port }],
        ..Openings::default()
    };
    let loopback = |openings| reached("host-127.0.0.1", Some(Way::Loopback4), "loopback4", openings);
    assert_eq!(loopback(host.clone()), open("host_access"));
    assert_eq!(loopback(door("192.168.5.2", Some(1))), open("allow"));
    assert_eq!(loopback(door("192.168.5.2", Some(5432))), "FAILED");
    assert_eq!(loopback(lan.clone()), "FAILED");
    assert_eq!(reached("lan", None, "router", lan.clone()), open("lan_access"));
    assert_eq!(reached("lan", None, "router", host.clone()), "FAILED");
    assert_eq!(reached("cloud-metadata", None, "metadata", lan), "FAILED");
    assert_eq!(reached("cloud-metadata", None, "metadata", door("169.254.169.254", Some(80))), open("allow"));
    assert_eq!(reached("other-machines", None, "machine-shop", host.clone()), open("host_access"));
    assert_eq!(
        reached("host-::1", Some(Way::Loopback6), "loopback6", host.clone()),
        "FAILED",
        "no key is for it"
    );
    // An address of the computer that is a public one is closed by no rule of the guest, and opened by no key.
    let mut observed = sound();
    observed.stated.openings = host;
    observed.stands[2].address = Ipv4Addr::new(192, 0, 2, 2).into();
    observed.heard.insert((Way::Address4, Who::User));
    assert_eq!(verdict(&observed, "host-address"), "FAILED");
}

#[test]
fn places_without_a_listener_of_ours_are_as_the_guest_says() {
    for (name, channel) in
        [("router", "lan"), ("metadata", "cloud-metadata"), ("machine-shop", "other-machines")]
    {
        let mut observed = sound();
        observed.guest.tried.insert(name.into(), Tried::Open);
        assert_eq!(verdict(&observed, channel), "FAILED");
        let mut observed = sound();
        observed.guest.past.insert(name.into(), Tried::Open);
        assert_eq!(verdict(&observed, channel), "FAILED");
        observed.engine = None;
        assert_eq!(verdict(&observed, channel), "crosses, as stated");
    }
    becomes(&[
        ("lan", "not probed", |o| o.router = None),
        ("cloud-metadata", "not probed", |o| o.metadata = false),
        ("cloud-metadata", "FAILED", |o| {
            o.metadata = false;
            o.guest.tried.insert("metadata".into(), Tried::Open);
        }),
        ("other-machines", "not probed", |o| o.neighbours.clear()),
        ("dns", "FAILED", |o| o.settings.config = json!({"plain": true, "hostResolver": {"enabled": true}})),
    ]);
}

#[test]
fn what_the_guest_has_of_its_host_is_found() {
    becomes(&[
        ("files", "FAILED", |o| o.settings.config = json!({"plain": true, "mounts": [{"location": "~"}]})),
        ("files", "FAILED", |o| o.guest.mounts.push(("virtiofs".into(), "/mnt/host".into()))),
        ("files", "not probed", |o| o.guest.mounts.clear()),
        ("identity", "FAILED", |o| o.guest.account = "dev:x:1000:1000:Jane Doe:/home/dev:/bin/bash".into()),
        ("identity", "not probed", |o| o.guest.account.clear()),
        ("environment", "FAILED", |o| o.guest.variables.push_str("OLDPWD=/home/me/code")),
        ("environment", "crosses, as stated", |o| {
            o.guest.variables.push_str("https_proxy=http://10.0.0.1:3128");
        }),
        ("environment", "crosses, as stated", |o| {
            o.stated.doors.push("proxy.corp:3128".into());
            o.guest.variables.push_str("NO_PROXY=localhost\nhttps_proxy=http://proxy.corp:3128\n");
            let told = super::guest::environment(o).detail;
            assert!(told.contains("the proxy of your config.toml"), "{told}");
        }),
        ("environment", "not probed", |o| o.guest.variables.clear()),
        ("x11", "FAILED", |o| o.guest.variables.push_str("DISPLAY=localhost:10.0")),
        ("x11", "FAILED", |o| o.settings.config = json!({"plain": true, "ssh": {"forwardX11": true}})),
        ("x11", "FAILED", |o| o.ssh_options.last_mut().expect("forwardx11").1 = "yes".into()),
        ("terminal", "FAILED", |o| o.cleaned = o.guest.escape.clone()),
        ("terminal", "not probed", |o| o.guest.escape = "]52;c;eA==".into()),
    ]);
}

#[test]
fn what_the_host_shows_is_judged() {
    becomes(&[
        ("lima-settings", "FAILED", |o| o.settings.foreign = Some("`ssh.forwardAgent` is true".into())),
        ("lima-settings", "not probed", |o| o.settings.config = json!({})),
        ("lima-data", "FAILED", |o| o.cidata.as_mut().expect("read").leaks.push("your home folder".into())),
        ("lima-data", "not probed", |o| o.cidata.as_mut().expect("read").readable = false),
        ("lima-connection", "FAILED", |o| o.lima_master = MasterSeen::Agent),
        ("lima-connection", "not probed", |o| o.agent.host_keys = None),
        ("guest-ports", "FAILED", |o| o.guest_ports.appeared.push(SocketAddr::from(([127, 0, 0, 1], 5432)))),
        ("guest-ports", "not probed", |o| o.guest_ports.heard = false),
        ("host-key", "FAILED", |o| o.key.wrong = true),
        ("host-key", "not probed", |o| o.key.right = false),
        ("ssh-options", "FAILED", |o| o.ssh_options[1].1 = "ask".into()),
        ("ssh-options", "not probed", |o| o.ssh_options[0].1 = "machine-blog".into()),
        ("ssh-options", "open by `Host *` in `~/.ssh/config, /etc/ssh/ssh_config`", |o| {
            o.ssh_options.push(("sendenv".into(), "LANG".into()));
        }),
        ("host-files", "FAILED", |o| o.modes[0].bits = 0o750),
        ("host-files", "FAILED", |o| o.modes[0].own = false),
        ("hypervisor", "FAILED", |o| o.engine.as_mut().expect("an engine").capabilities = 1),
        ("hypervisor", "FAILED", |o| o.engine.as_mut().expect("an engine").uid = 0),
        ("hypervisor", "FAILED", |o| o.engine.as_mut().expect("an engine").args.push("-virtfs".into())),
        ("hypervisor", "not probed", |o| o.os = HostOs::MacOs),
    ]);
}

#[test]
fn the_agent_is_judged_in_a_session_and_without_one() {
    becomes(&[
        ("agent-in-a-session", "closed", |o| {
            o.stated = Stated { forward_agent: false, file: PathBuf::new(), ..Stated::default() };
            o.agent.session_keys = None;
        }),
        ("agent-in-a-session", "FAILED", |o| o.stated.forward_agent = false),
        ("agent-in-a-session", "FAILED", |o| o.agent.signed_anything = true),
        ("agent-in-a-session", "not probed", |o| o.agent.session_keys = None),
        ("agent-in-a-session", "not probed", |o| o.agent.host_keys = None),
        ("agent-at-rest", "FAILED", |o| o.guest.agents_answering = 1),
        ("agent-at-rest", "not probed", |o| {
            o.guest.agents_answering = 1;
            o.agent.other_sessions = 2;
        }),
        ("agent-at-rest", "crosses, as stated", |o| (o.guest.agents_answering, o.agent.is_held) = (1, true)),
        ("agent-at-rest", "FAILED", |o| {
            (o.guest.agents_answering, o.agent.is_held, o.stated.forward_agent) = (1, true, false);
        }),
        ("agent-at-rest", "not probed", |o| o.agent.host_keys = None),
        ("agent-at-rest", "not probed", |o| o.agent.session_keys = None),
    ]);
}

#[test]
fn secrets_are_in_memory_and_nobody_elses() {
    let good = "nosuid,nodev,noexec";
    for place in [
        vault("ext4", good, "700 dev", None, false),
        vault("tmpfs", good, "755 dev", None, false),
        vault("tmpfs", good, "700 dev", Some(true), false),
        vault("tmpfs", "nosuid", "700 dev", None, false),
        vault("tmpfs", good, "700 dev", None, true),
    ] {
        let guest = Probed { secrets: Some(place.clone()), ..sound().guest };
        assert_eq!(verdict(&Observed { guest, ..sound() }, "secrets"), "FAILED", "{place:?}");
    }
    becomes(&[
        ("secrets", "closed", |o| (o.secrets, o.guest.secrets) = (Some(Vec::new()), Some(Place::Empty))),
        ("secrets", "not probed", |o| o.guest.secrets = Some(Place::Empty)),
        ("secrets", "FAILED", |o| o.guest.variables.push_str("TOKEN=x\n")),
        ("secrets", "crosses, as stated", |o| o.guest.variables.push_str("SHOWN=x\nTOKENS=x\n")),
    ]);
}
