//! The place where plans are carried out: this host, its Lima, its folders, and the roads to its machines.
//!
//! Enters: values the context has gathered. Leaves: what every verb needs to reach a machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{self, Lock};
use crate::failure::{Failure, Result};
use crate::layout::Layout;
use crate::lima::launcher::{Choice, Engine};
use crate::lima::{Acceleration, Begin, Driver, Limactl, Started, Status};
use crate::model::{ByteSize, Host, HostOs, ProjectName};
use crate::process::Runner;
use crate::record::{HostAgent, MachineRecord};
use crate::ssh::{AgentServer, Attempt, HostBlock, Lend, Road, Service, render_hosts};

/// What every effect needs.
pub struct Site<'a> {
    /// What runs programs.
    pub runner: &'a Runner,
    /// Where our files are.
    pub layout: &'a Layout,
    /// What differs between hosts.
    pub host: &'a Host,
    /// This program's stable path.
    pub binary: &'a Path,
    /// The `accelerator` setting.
    pub choice: Choice,
    /// The `memory_budget` setting.
    pub memory_budget: Option<ByteSize>,
    /// The `warm_boxes` setting, where this host can have them.
    pub warm_boxes: bool,
    /// Whether a Lima without a version is accepted.
    pub accept_unknown_lima: bool,
    /// What a machine is lent of the host's agent.
    pub lend: Lend,
    /// Proxy variables, for downloads on the host.
    pub proxies: Vec<(String, String)>,
    /// Variables that `connect` needs to find our folders, when they are not the default ones.
    pub folder_variables: Vec<(String, PathBuf)>,
    /// `--no-wait`: fail where another process is at work.
    pub no_wait: bool,
    /// `--dry-run`: nothing may be written, not even what was learnt.
    pub dry_run: bool,
    /// Says something once.
    pub say: &'a dyn Fn(&str),
}

/// How a machine came to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It ran already.
    WasRunning,
    /// It was started.
    Started(Started),
}

impl Connection {
    /// What is said of it.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::WasRunning => "was running",
            Self::Started(Started { begin: Begin::Woke, .. }) => "awake, where it fell asleep",
            Self::Started(Started { begin: Begin::Warm, .. }) => "ssh ready, from the warm box",
            Self::Started(Started { engine: Some(Engine::Tcg), .. }) => "ssh ready, software emulation",
            Self::Started(_) => "ssh ready",
        }
    }
}

impl Site<'_> {
    /// Lima, in our private home.
    pub fn driver(&self) -> Driver<'_> {
        let launcher = (self.host.os == HostOs::Linux)
            .then(|| crate::lima::launcher::link(&self.layout.launcher(), self.host.arch));
        let limactl = Limactl::new(&self.layout.lima_home(), launcher.as_deref(), self.host);
        Driver {
            limactl,
            runner: self.runner,
            layout: self.layout,
            host: self.host,
            remembers: !self.dry_run,
        }
    }

    /// The road to a machine.
    pub fn road(&self, record: &MachineRecord) -> Road {
        Road {
            port: record.port,
            alias: format!("machine-{}", record.name),
            host_key: record.host_key.clone(),
            identity: self.layout.lima_key(),
            root_identity: record.isolation.is_strict().then(|| self.layout.root_key(&record.name)),
            folder: self.layout.sockets(record.id()),
        }
    }

    /// Serves the agent to a machine until dropped; after `settled`, also under the name that stays the same in the guest.
    pub fn serve_agent(&self, record: &MachineRecord, settled: Duration) -> Result<AgentServer> {
        let road = self.road(record);
        AgentServer::start(Service {
            socket: road.agent(),
            anchor: road.anchor(),
            settled,
            machine: record.name.clone(),
            log: self.layout.agent_log(&record.name),
            lend: Lend::clone(&self.lend),
            runner: self.runner.clone(),
        })
    }

    /// How QEMU is to be started for a machine.
    pub(super) fn acceleration<'a>(&'a self, record: &'a MachineRecord) -> Acceleration<'a> {
        let (openings, clears_freed) = (&record.openings, record.clears_freed);
        Acceleration { choice: self.choice, binary: self.binary, openings, clears_freed, say: self.say }
    }

    /// Makes a known machine answer: over the master that is up, a new one, or after starting it. Never provisions.
    ///
    /// # Errors
    /// When it is gone or does not come up. A machine that was started and did not answer is stopped again.
    pub fn reach(&self, record: &mut MachineRecord, may_start: bool) -> Result<Connection> {
        let road = self.road(record);
        road.prepare()?;
        if road.is_open() {
            return Ok(Connection::WasRunning);
        }
        let driver = self.driver();
        driver.check_version(self.accept_unknown_lima)?;
        let name = record.name.clone();
        let gone = || {
            Failure::operation(format!("the machine `{name}` is gone from Lima"))
                .hint(format!("make it anew: `machine up {name}`"))
        };
        let mut found = driver.find(&name)?.ok_or_else(gone)?;
        let settled = driver.settle(&found, &record.uuid)?;
        if settled {
            (self.say)(&format!("`{name}` was cut off while it fell asleep or woke: it goes on"));
            found = driver.find(&name)?.ok_or_else(gone)?;
        }
        if found.status == Status::Running {
            let connection = self.connect_to_running(record, &road)?;
            if settled {
                self.tell_time(record, &road);
            }
            return Ok(connection);
        }
        if !may_start {
            let how = if record.held_idle { "as it was idle" } else { "by hand" };
            return Err(Failure::operation(format!("`{name}` was put down {how}"))
                .hint(format!("start it: `machine up {name}`")));
        }
        if found.status != Status::Stopped {
            driver.stop_forcibly(&found)?;
        }
        self.start(record, &found.config).map(Connection::Started)
    }

    /// A machine that Lima calls running; one that does not answer may be booting still.
    fn connect_to_running(&self, record: &mut MachineRecord, road: &Road) -> Result<Connection> {
        if let Attempt::NotYet(_) = road.open(self.runner)? {
            let driver = self.driver();
            if driver.keep_network(&record.name, road)? {
                (self.say)(&format!("the helper of `{}` had ended: another one connects it", record.name));
            }
            driver.wait(&record.name, road)?;
        }
        record.answered = true;
        record.save(self.layout)?;
        Ok(Connection::WasRunning)
    }

    /// Starts a stopped machine: port, comparison with what was rendered, boot. `config` is Lima's effective one.
    pub fn start(&self, record: &mut MachineRecord, config: &serde_json::Value) -> Result<Started> {
        let road = self.prepare_start(record, config)?;
        let started = match self.wake(record, &road)? {
            Some(started) => started,
            None => self.boot(record, &road)?,
        };
        self.note_answer(record)?;
        Ok(started)
    }

    /// Starts a machine whose start is prepared. Between our look at its port and QEMU's own somebody may take that, such
    /// as the `machine` of another user: then it moves to another one.
    fn boot(&self, record: &mut MachineRecord, road: &Road) -> Result<Started> {
        record.generation += 1;
        record.save(self.layout)?;
        let driver = self.driver();
        let failure = match driver.start(&record.name, road, &self.acceleration(record)) {
            Err(failure) if !crate::lima::is_free(record.port) => failure,
            outcome => return outcome,
        };
        let Some(found) = driver.find(&record.name)? else { return Err(failure) };
        let road = self.prepare_start(record, &found.config)?;
        driver.start(&record.name, &road, &self.acceleration(record))
    }

    /// What comes before every start: room, a free port, the comparison with what was rendered.
    ///
    /// # Errors
    /// As [`Self::start`]. Nothing has been started.
    pub(super) fn prepare_start(
        &self,
        record: &mut MachineRecord,
        config: &serde_json::Value,
    ) -> Result<Road> {
        self.make_room(&record.name, config)?;
        let driver = self.driver();
        let yaml = disk::read_text_if_there(&driver.yaml_path(&record.name))?.unwrap_or_default();
        let mut config = config.clone();
        let mut yaml_now = yaml.clone();
        if let Some(moved) = self.move_port_if_taken(record, &yaml)? {
            driver.rewrite(&record.name, &moved)?;
            yaml_now = moved;
            config = driver.find(&record.name)?.map(|instance| instance.config).unwrap_or_default();
        }
        self.verify_against(record, &config, &yaml_now)?;
        let road = self.road(record);
        road.prepare()?;
        record.answered = false;
        record.opened.clear();
        record.save(self.layout)?;
        Ok(road)
    }

    /// Writes down that a machine that was started answers.
    pub(super) fn note_answer(&self, record: &mut MachineRecord) -> Result<()> {
        record.answered = true;
        record.held = false;
        record.save(self.layout)
    }

    /// Refuses settings that Lima would use and we did not write; `config` is Lima's effective one.
    ///
    /// # Errors
    /// As [`Driver::verify`].
    pub fn verify(&self, record: &MachineRecord, config: &serde_json::Value) -> Result<()> {
        let yaml = disk::read_text_if_there(&self.driver().yaml_path(&record.name))?.unwrap_or_default();
        self.verify_against(record, config, &yaml)
    }

    fn verify_against(&self, record: &MachineRecord, config: &serde_json::Value, yaml: &str) -> Result<()> {
        self.driver().verify(&record.name, config, &self.expected_yaml(record, yaml)?)
    }

    /// The file as we rendered it last; kept beside the record, since the instance's copy is what is judged.
    fn expected_yaml(&self, record: &MachineRecord, on_disk: &str) -> Result<String> {
        let kept = disk::read_text_if_there(&self.rendered_path(&record.name))?;
        Ok(kept.unwrap_or_else(|| on_disk.to_string()))
    }

    /// Where the rendered file is kept for comparison.
    pub fn rendered_path(&self, name: &str) -> PathBuf {
        self.layout.machine(name).join("rendered.yaml")
    }

    /// Keeps what was rendered.
    pub fn keep_rendered(&self, name: &str, yaml: &str) -> Result<()> {
        disk::write_atomic(&self.rendered_path(name), yaml.as_bytes(), 0o600)
    }

    fn move_port_if_taken(&self, record: &mut MachineRecord, yaml: &str) -> Result<Option<String>> {
        if crate::lima::is_free(record.port) {
            return Ok(None);
        }
        let old = record.port;
        self.reserve_port(record)?;
        let new = record.port;
        let moved = yaml.replacen(&format!("localPort: {old}\n"), &format!("localPort: {new}\n"), 1);
        (self.say)(&format!("port {old} is taken by another program: `{}` moves to port {new}", record.name));
        self.keep_rendered(&record.name, &moved)?;
        write_ssh_hosts(self)?;
        Ok(Some(moved))
    }

    /// Gives the machine a port that no other one has, stopped ones included, and writes that down at once: another
    /// machine may be created at the same time.
    pub fn reserve_port(&self, record: &mut MachineRecord) -> Result<()> {
        disk::ensure_private_folder(&self.layout.state)?;
        let _turn = Lock::wait_exclusive(&self.layout.global_lock())?;
        let others = MachineRecord::load_all(self.layout);
        let others = others.iter().filter(|other| other.name != record.name);
        record.port = crate::lima::choose_port(&others.map(|other| other.port).collect::<Vec<_>>())?;
        record.save(self.layout)
    }

    /// The host agent that runs a machine now, as `list` reports it.
    pub fn host_agent(&self, name: &str, pid: Option<i32>) -> Option<HostAgent> {
        HostAgent::read(&self.layout.instance(name), pid?)
    }
}

/// Writes `~/.ssh/config.d/machine` anew from all records.
pub fn write_ssh_hosts(site: &Site) -> Result<()> {
    disk::ensure_private_folder(&site.layout.state)?;
    let _turn = Lock::wait_exclusive(&site.layout.global_lock())?;
    let path = site.layout.ssh_hosts();
    let records =
        MachineRecord::load_all(site.layout).into_iter().filter(|record| !ProjectName::is_bake(&record.name));
    let blocks: Vec<HostBlock> = records.map(|record| host_block(site, &record)).collect();
    let text = render_hosts(&blocks);
    if disk::read_text_if_there(&path)?.as_deref() == Some(&text) {
        return Ok(());
    }
    for folder in [path.parent().and_then(Path::parent), path.parent()].into_iter().flatten() {
        disk::ensure_private_folder(folder)?;
    }
    disk::write_atomic(&path, text.as_bytes(), 0o600)
}

fn host_block(site: &Site, record: &MachineRecord) -> HostBlock {
    let road = site.road(record);
    HostBlock {
        name: record.name.clone(),
        port: record.port,
        proxy_command: proxy_command(site, &record.name),
        identity: road.identity.clone(),
        known_hosts: road.known_hosts(),
        agent: record.forward_agent.then(|| road.agent()),
    }
}

/// A shell line for ssh, which expands `%` in it.
fn proxy_command(site: &Site, name: &str) -> String {
    let quote =
        |text: &str| shlex::try_quote(text).map_or_else(|_| text.to_string(), std::borrow::Cow::into_owned);
    let mut words = Vec::new();
    if !site.folder_variables.is_empty() {
        words.push("env".to_string());
        let variables = site.folder_variables.iter();
        words.extend(variables.map(|(name, path)| format!("{name}={}", quote(&path.to_string_lossy()))));
    }
    words.extend([quote(&site.binary.to_string_lossy()), "connect".into(), name.into()]);
    words.join(" ").replace('%', "%%")
}
