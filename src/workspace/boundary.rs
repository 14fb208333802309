//! Gathers what is seen of one machine for `boundary`: from the host, from the guest, and between them.
//!
//! Enters: a project's name. Leaves: observations. Starts a stopped machine as `ssh` does; changes nothing else, and what
//! listens here or there for it ends with it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::lend::{agent_of, computer};
use super::secrets::secrets_of;
use super::select::{find_record, site};
use super::session::{Entered, enter};
use super::trust::look_at_trust;
use crate::boundary::{
    AgentSeen, Canaries, GuestPorts, KeyPin, METADATA_SERVICE, MasterSeen, Neighbour, Observed, Private,
    Settings, Stated, Words, default_router, first_open_port, is_open, look_at_cidata, look_at_modes,
    look_at_ports, own_addresses, read_ssh_options, targets,
};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::guest::{Probed, Question, probe_script};
use crate::lima::Instance;
use crate::model::{Access, Door, HostOs, Openings, Proxy};
use crate::plan::{Site, random_hex};
use crate::process::{Cmd, Finished, Standing, standing};
use crate::record::{MachineRecord, held_until, open_sessions};
use crate::ssh::Road;
use crate::ui;

/// The longest a single look may take; the guest's own one has more.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest the guest may take for all it is asked.
const GUEST_LIMIT: Duration = Duration::from_secs(120);
/// Signs with the first key for a purpose that is not git's.
const SIGN_ANYTHING: &str = "key=$(ssh-add -L | head -n 1) && echo x | ssh-keygen -q -Y sign -n file -f <(echo \"$key\") >/dev/null 2>&1\n";
/// Ports at which a router may answer.
const ROUTER_PORTS: [u16; 4] = [53, 80, 443, 22];

/// Looks at everything.
///
/// # Errors
/// When there is no such machine, or it does not answer.
pub fn observe_boundary(context: &Context, name: Option<&str>) -> Result<Observed> {
    let record = find_record(context, name)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &computer(context)?, &say);
    let Entered { record, session, .. } = enter(context, &site, record, "boundary")?;
    let phase = context.ui.phase("boundary");
    phase.now("looking at the host");
    let instance = site
        .driver()
        .find(&record.name)?
        .ok_or_else(|| Failure::operation(format!("the machine `{}` is gone from Lima", record.name)))?;
    let look = Look { context, site: &site, road: site.road(&record), record, instance };
    let observed = look.at_everything(&|doing| phase.now(doing));
    drop(session);
    observed
}

struct Look<'a> {
    context: &'a Context,
    site: &'a Site<'a>,
    road: Road,
    record: MachineRecord,
    instance: Instance,
}

/// What was seen while our listeners stood.
struct Between {
    stands: Vec<crate::boundary::Stand>,
    heard: crate::boundary::Heard,
    guest: Probed,
    ports: GuestPorts,
    router: Option<SocketAddr>,
    metadata: bool,
    neighbours: Vec<Neighbour>,
}

impl Look<'_> {
    fn at_everything(&self, now: &dyn Fn(&str)) -> Result<Observed> {
        let (layout, record) = (self.site.layout, &self.record);
        let private = self.private();
        now("lending the agent to a session");
        let agent = self.agent()?;
        now("asking the guest what it can reach");
        let between = self.between()?;
        now("connecting with other keys");
        Ok(Observed {
            stated: Stated {
                name: record.name.clone(),
                file: record.config_file.clone(),
                forward_agent: record.forward_agent,
                isolation: record.isolation,
                openings: self.openings(),
                doors: self.access().allow.iter().map(ToString::to_string).collect(),
            },
            os: self.site.host.os,
            settings: self.settings()?,
            engine: self.engine(),
            ssh_options: self.ssh_options(),
            modes: look_at_modes(layout, &record.name, record.id()),
            cidata: look_at_cidata(&self.instance.folder.join("cidata.iso"), &private),
            private,
            secrets: self.secrets(),
            trust: look_at_trust(self.context, record),
            lima_master: self.lima_master(),
            key: self.key()?,
            stands: between.stands,
            heard: between.heard,
            router: between.router,
            metadata: between.metadata,
            neighbours: between.neighbours,
            guest_ports: between.ports,
            agent,
            cleaned: ui::sanitize(&between.guest.escape),
            guest: between.guest,
        })
    }

    /// Runs a command whose failure is an observation too.
    fn try_run(&self, cmd: Cmd) -> Option<Finished> {
        self.context.runner.read_any_status(&cmd.time_limit(LIMIT)).ok()
    }

    /// Texts of this computer that nobody has put into the guest on purpose.
    fn private(&self) -> Vec<Private> {
        let context = self.context;
        let socket =
            context.agent.iter().map(|path| ("the path of your ssh-agent", path.display().to_string()));
        let proxies = context.proxies.iter().map(|(_, value)| ("your proxy's address", value.clone()));
        let all = std::iter::once(("your home folder", context.layout.home.display().to_string()))
            .chain(socket)
            .chain(proxies);
        let own: Vec<&String> = self.record.built.iter().flat_map(|built| built.env.values()).collect();
        // The guest's user has a home folder as well, and a project may name anything in its `env`.
        // A proxy whose door is open is one that config.toml names.
        let doors = self.access().allow;
        let is_told = |text: &String| {
            "/home/dev".contains(text.as_str())
                || own.iter().any(|value| value.contains(text))
                || text.parse().is_ok_and(|proxy: Proxy| doors.contains(&proxy.door()))
        };
        all.filter(|(_, text)| text.len() > 3 && !is_told(text))
            .map(|(what, text)| Private { what: what.into(), text })
            .collect()
    }

    /// What is open, as the last `up` left it: an edited file counts from the next one on.
    fn openings(&self) -> Openings {
        super::doors::open(&self.access(), &self.record.addresses)
    }

    fn access(&self) -> Access {
        let words = self.record.built.iter().flat_map(|built| built.access.split(", "));
        let mut access = Access::default();
        for word in words {
            match word {
                "host_access" => access.host = true,
                "lan_access" => access.lan = true,
                door => access.allow.extend(door.parse::<Door>()),
            }
        }
        access
    }

    /// The secrets that the configuration gives, but those whose name is a variable of the project's own anyway.
    fn secrets(&self) -> Option<Vec<(String, bool)>> {
        let wanted = secrets_of(self.context, &self.record).ok()?.wanted;
        let is_own = |name: &str| self.record.built.iter().any(|built| built.env.contains_key(name));
        let all = wanted.into_iter().map(|(name, secret)| (name.to_string(), secret.export));
        Some(all.filter(|(name, _)| !is_own(name)).collect())
    }

    fn settings(&self) -> Result<Settings> {
        let config = self.instance.config.clone();
        let foreign =
            self.site.verify(&self.record, &config).err().map(|failure| format!("{:#}", failure.error));
        self.context.runner.check_interrupt()?;
        Ok(Settings { config, foreign })
    }

    /// The process that runs the machine, if it is proven to be that one.
    fn engine(&self) -> Option<Standing> {
        let pidfile = self.instance.folder.join("qemu.pid");
        let found = standing(self.instance.driver_pid?)?;
        found.args.iter().any(|arg| *arg == pidfile.to_string_lossy()).then_some(found)
    }

    fn ssh_options(&self) -> Vec<(String, String)> {
        let cmd = Cmd::new("ssh").arg("-G").arg(format!("machine-{}", self.record.name));
        let output = self.try_run(cmd).filter(|finished| finished.status.success());
        output.map(|finished| read_ssh_options(&finished.text())).unwrap_or_default()
    }

    /// Asks for the agent over Lima's own connection, which is never ours to use.
    fn lima_master(&self) -> MasterSeen {
        let mut path = std::ffi::OsString::from("ControlPath=");
        path.push(self.instance.folder.join("ssh.sock"));
        let mut cmd = Cmd::new("ssh").args([
            "-F",
            "/dev/null",
            "-A",
            "-T",
            "-o",
            "ControlMaster=no",
            "-o",
            "BatchMode=yes",
        ]);
        // Without the connection that is there, none is made.
        cmd = cmd.args(["-o", "ProxyCommand=false", "-o"]).arg(path).args([
            "guest",
            "--",
            "printenv SSH_AUTH_SOCK",
        ]);
        if let Some(socket) = &self.context.agent {
            cmd = cmd.env("SSH_AUTH_SOCK", socket);
        }
        match self.try_run(cmd).map(|finished| finished.code()) {
            Some(0) => MasterSeen::Agent,
            Some(1) => MasterSeen::NoAgent,
            _ => MasterSeen::Absent,
        }
    }

    fn key(&self) -> Result<KeyPin> {
        let other = other_key(&self.record.host_key).unwrap_or_default();
        let file = tempfile::NamedTempFile::new()
            .and_then(|mut file| {
                use std::io::Write;
                writeln!(file, "{} {other}", self.road.alias)?;
                Ok(file)
            })
            .map_err(|cause| Failure::operation(format!("failed to make a temporary file: {cause}")))?;
        let connects = |known: &std::path::Path| {
            let finished = self.try_run(self.road.apart(known));
            finished.is_some_and(|finished| finished.status.success())
        };
        Ok(KeyPin { right: connects(&self.road.known_hosts()), wrong: connects(file.path()) })
    }

    fn agent(&self) -> Result<AgentSeen> {
        let other_sessions = open_sessions(self.site.layout, &self.record.name).len().saturating_sub(1);
        let is_held = held_until(self.site.layout, &self.record.name).is_some();
        let upstream = agent_of(self.context, &self.record)?;
        let on_host = upstream.map(|socket| Cmd::new("ssh-add").arg("-L").env("SSH_AUTH_SOCK", socket));
        let lent = self.record.forward_agent;
        let server = lent.then(|| self.site.serve_agent(&self.record, GUEST_LIMIT)).transpose()?;
        let session = |line: &str| self.road.session(line, false, lent);
        let session_keys = self.try_run(session("ssh-add -L")).and_then(|finished| read_keys(&finished));
        let may_sign = session_keys.as_ref().is_some_and(|keys| !keys.is_empty());
        let signed = may_sign.then(|| self.try_run(session("bash -s").input(SIGN_ANYTHING))).flatten();
        drop(server);
        let host_keys = on_host.and_then(|cmd| self.try_run(cmd)).and_then(|finished| read_keys(&finished));
        let signed_anything = signed.is_some_and(|finished| finished.status.success());
        Ok(AgentSeen { host_keys, session_keys, signed_anything, other_sessions, is_held })
    }

    /// All that needs our listeners and the guest at one time.
    fn between(&self) -> Result<Between> {
        let words = Words { host: random_hex(), user: random_hex(), root: random_hex() };
        let own = own_addresses();
        let addresses: Vec<IpAddr> = own.iter().map(|(_, address)| *address).collect();
        let router = default_router().and_then(|router| first_open_port(router.into(), &ROUTER_PORTS));
        let neighbours = self.neighbours();
        let canaries = Canaries::open(&own, words.clone());
        canaries.visit();
        let asked = targets(&canaries.stands, router, &neighbours);
        let dns = match self.site.host.os {
            HostOs::Linux => Ipv4Addr::new(192, 168, 5, 3),
            HostOs::MacOs => Ipv4Addr::new(192, 168, 5, 2),
        };
        let mark = random_hex();
        let question = Question {
            mark: &mark,
            user_word: &words.user,
            root_word: &words.root,
            dns: dns.into(),
            targets: &asked,
        };
        let answer =
            self.road.read(&self.context.runner, "bash -s", &probe_script(&question), GUEST_LIMIT)?;
        let guest = Probed::parse(&answer.text(), &mark)
            .ok_or_else(|| Failure::operation("the guest's answer was incomplete"))?;
        let appeared = look_at_ports(&addresses, &guest.listening, &words.user);
        let ports = GuestPorts { heard: self.is_heard(&guest, &words.user), appeared };
        let stands = canaries.stands.clone();
        Ok(Between {
            stands,
            heard: canaries.close(),
            guest,
            ports,
            router,
            metadata: is_open(METADATA_SERVICE),
            neighbours,
        })
    }

    /// Whether the guest's listener on 127.0.0.1 is there, asked through our own connection.
    fn is_heard(&self, guest: &Probed, word: &str) -> bool {
        let answer = guest.listening.get(1).and_then(|port| self.try_run(self.road.tunnel(*port)));
        answer.is_some_and(|finished| finished.text().trim_end() == word)
    }

    fn neighbours(&self) -> Vec<Neighbour> {
        let others = MachineRecord::load_all(self.site.layout).into_iter();
        let running = others.filter(|other| {
            other.name != self.record.name && is_open(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), other.port))
        });
        running.map(|other| Neighbour { name: other.name, port: other.port }).collect()
    }
}

/// The keys that `ssh-add -L` lists, without their comments; `None` when there is no agent.
fn read_keys(finished: &Finished) -> Option<Vec<String>> {
    let key = |line: &str| {
        Some(line.split(' ').take(2).collect::<Vec<_>>().join(" ")).filter(|key| key.contains(' '))
    };
    match finished.code() {
        0 => Some(finished.text().lines().filter_map(key).collect()),
        // An agent without a key.
        1 => Some(Vec::new()),
        _ => None,
    }
}

/// A key of the same form as a pinned one, and another.
fn other_key(pinned: &str) -> Option<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let (kind, text) = pinned.split_once(' ')?;
    let mut bytes = STANDARD.decode(text.split(' ').next()?).ok()?;
    *bytes.last_mut()? ^= 1;
    Some(format!("{kind} {}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_has_the_same_form() {
        let pinned = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJeYI9VuZ3dUcPmnmyIZAEcYQ2HnEmYK1qJoLjkhgCmn";
        let other = other_key(pinned).expect("a key");
        assert!(other.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI") && other != pinned);
        assert_eq!(other.len(), pinned.len());
        assert_eq!(other_key("ssh-ed25519"), None);
    }
}
