//! What `list` and `status` tell of machines: their state, what they take, who uses them; by one `limactl`.
//!
//! Enters: the configuration and our records. Leaves: a value for each project and machine. Changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::select::{Workspace, site};
use crate::context::Context;
use crate::disk;
use crate::failure::Result;
use crate::lima::{Image, Instance, Status, resident_bytes, start_problem};
use crate::model::{ByteSize, Isolation, PortForward, Project, ProjectName};
use crate::plan::Site;
use crate::record::{
    HostAgent, Journal, MachineRecord, OpenSession, held_until, last_active, last_used, open_sessions,
};

/// A project, its machine, or both.
pub struct Overview {
    /// The name of both.
    pub name: String,
    /// `none`, `unfinished`, `ready`, `running`, `stopped`, `asleep` or `broken`.
    pub state: &'static str,
    /// For how many seconds it has run.
    pub up_seconds: Option<u64>,
    /// Virtual processors.
    pub cpus: Option<u64>,
    /// What the guest may use.
    pub memory_bytes: Option<u64>,
    /// What of this computer's memory the machine's process takes now.
    pub resident_bytes: Option<u64>,
    /// What the guest sees as its disk.
    pub disk_bytes: Option<u64>,
    /// What the machine's files take of this computer's disk.
    pub disk_used_bytes: Option<u64>,
    /// The image of its memory, of a machine that sleeps.
    pub image_bytes: Option<u64>,
    /// Seconds since 1970 of its last use.
    pub last_used: Option<u64>,
    /// Of a machine that runs, and that nobody uses.
    pub idle_seconds: Option<u64>,
    /// Who uses it.
    pub sessions: Vec<OpenSession>,
    /// Seconds since 1970.
    pub keys_held_until: Option<u64>,
    /// What leads into it from 127.0.0.1: what is declared, and what was opened beside it.
    pub ports: Vec<PortForward>,
    /// Whether a projects.toml has it.
    pub configured: bool,
    /// Whether its login user is root in it.
    pub isolation: Isolation,
    /// What its user should know.
    pub note: Option<String>,
}

/// All that is known of every machine, asked once.
struct Seen<'a> {
    context: &'a Context,
    workspace: &'a Workspace,
    site: Site<'a>,
    records: Vec<MachineRecord>,
    instances: BTreeMap<String, Instance>,
    resident: BTreeMap<String, u64>,
}

/// Every project and machine, by name. Machines that build boxes are no projects'; `machine box list` has those that
/// were cut off.
///
/// # Errors
/// When Lima cannot be asked.
pub fn overviews(context: &Context, workspace: &Workspace) -> Result<Vec<Overview>> {
    let say = |text: &str| context.ui.say(text);
    let seen = Seen::look(context, workspace, site(context, &workspace.computer, &say))?;
    let projects = &workspace.catalog.projects;
    let mut names: Vec<&str> = workspace.catalog.names().map(ProjectName::as_str).collect();
    names.extend(seen.instances.keys().map(String::as_str));
    names.extend(seen.records.iter().map(|record| record.name.as_str()));
    names.retain(|name| !ProjectName::is_bake(name));
    names.sort_unstable();
    names.dedup();
    let project = |name: &str| projects.values().find(|project| project.name.as_str() == name);
    Ok(names.into_iter().map(|name| seen.overview(name, project(name))).collect())
}

/// One project with its machine.
///
/// # Errors
/// As [`overviews`].
pub fn overview_of(
    context: &Context,
    workspace: &Workspace,
    name: &str,
    project: Option<&Project>,
) -> Result<Overview> {
    let say = |text: &str| context.ui.say(text);
    let seen = Seen::look(context, workspace, site(context, &workspace.computer, &say))?;
    Ok(seen.overview(name, project))
}

impl<'a> Seen<'a> {
    fn look(context: &'a Context, workspace: &'a Workspace, site: Site<'a>) -> Result<Self> {
        // Without any machine there is nothing that Lima could tell.
        let instances = if context.layout.lima_home().is_dir() { site.driver().list()? } else { Vec::new() };
        let resident = resident_bytes(&instances, context.host.os, &context.runner);
        let instances = instances.into_iter().map(|instance| (instance.name.clone(), instance)).collect();
        let records = MachineRecord::load_all(&context.layout);
        Ok(Self { context, workspace, site, records, instances, resident })
    }

    fn overview(&self, name: &str, project: Option<&Project>) -> Overview {
        let layout = &self.context.layout;
        let instance = self.instances.get(name);
        let record = self.records.iter().find(|record| record.name == name);
        let config = |key: &str| instance.and_then(|instance| instance.config.get(key).cloned());
        let size = |key: &str| {
            config(key).and_then(|value| value.as_str()?.parse::<ByteSize>().ok()).map(ByteSize::bytes)
        };
        let planned = |get: fn(&Project) -> u64| project.map(get);
        let configured = self.is_configured(project, record);
        let stopped = instance.filter(|instance| instance.status == Status::Stopped);
        let asleep = stopped.and_then(|instance| Image::of(&instance.folder).read_note());
        let used = record.map(|record| last_used(layout, record)).filter(|seconds| *seconds > 0);
        let sessions = open_sessions(layout, name);
        let running = instance.filter(|instance| instance.status == Status::Running);
        let is_idle = running.is_some() && sessions.is_empty();
        Overview {
            name: name.to_string(),
            state: if asleep.is_some() { "asleep" } else { self.state(name, instance, record) },
            up_seconds: running.and_then(host_agent).map(|agent| seconds_since(agent.since / 1_000_000_000)),
            image_bytes: asleep.map(|note| note.image_bytes),
            cpus: config("cpus")
                .and_then(|value| value.as_u64())
                .or_else(|| planned(|project| u64::from(project.cpus))),
            memory_bytes: size("memory").or_else(|| planned(|project| project.memory.bytes())),
            resident_bytes: self.resident.get(name).copied(),
            disk_bytes: size("disk").or_else(|| planned(|project| project.disk.bytes())),
            disk_used_bytes: disk::allocated_bytes(&layout.instance(name)),
            last_used: used,
            idle_seconds: record
                .filter(|_| used.is_some() && is_idle)
                .map(|record| seconds_since(last_active(layout, record))),
            sessions,
            keys_held_until: held_until(layout, name),
            ports: ports(project, record),
            configured,
            isolation: record
                .map(|record| record.isolation)
                .or_else(|| project.map(|project| project.isolation))
                .unwrap_or_default(),
            note: self.note(name, instance, project, record, configured),
        }
    }

    /// A file that was not read just now, such as one in another repository, may well have it.
    fn is_configured(&self, project: Option<&Project>, record: Option<&MachineRecord>) -> bool {
        let elsewhere = |record: &MachineRecord| {
            !self.workspace.reads(&record.config_file) && record.config_file.exists()
        };
        project.is_some() || record.is_some_and(elsewhere)
    }

    fn state(&self, name: &str, instance: Option<&Instance>, record: Option<&MachineRecord>) -> &'static str {
        let unfinished = Journal::left_behind(&self.context.layout, name).ok().flatten().is_some();
        match instance.map(|instance| instance.status) {
            None | Some(Status::Running) if unfinished => "unfinished",
            None => "none",
            Some(Status::Running) if is_ready(instance, record) => "ready",
            Some(Status::Running) => "running",
            Some(Status::Stopped) => "stopped",
            Some(Status::Broken | Status::Other) => "broken",
        }
    }

    fn note(
        &self,
        name: &str,
        instance: Option<&Instance>,
        project: Option<&Project>,
        record: Option<&MachineRecord>,
        configured: bool,
    ) -> Option<String> {
        if !configured && instance.is_some() {
            return Some(format!(
                "its project is gone from the configuration; delete it: `machine destroy {name}`"
            ));
        }
        if let Some(problem) = start_problem(&self.context.layout, name) {
            return Some(format!("the last start ended with: {problem}"));
        }
        let broken = instance.filter(|instance| instance.status == Status::Broken);
        if let Some(instance) = broken {
            let error = instance.errors.first().map_or("Lima calls it broken", String::as_str);
            return Some(format!("{error}; `machine up {name}` repairs it"));
        }
        if let Err(failure) = MachineRecord::load(&self.context.layout, name) {
            return Some(format!("{:#}; {}", failure.error, failure.hints.join("; ")));
        }
        foreign(project, record).or_else(|| self.cold_note(instance?, record?))
    }

    /// A machine that sleeps but cannot wake any more, or would if its sleep had come to its end.
    fn cold_note(&self, instance: &Instance, record: &MachineRecord) -> Option<String> {
        let image = Image::of(&instance.folder);
        let is_cut_off = || instance.status == Status::Stopped && image.is_left();
        match image.read_note() {
            Some(note) => self.site.driver().why_cold(record, &note).map(|why| format!("it {why}")),
            None => is_cut_off().then(|| "it will boot cold: its sleep was cut off".into()),
        }
    }
}

/// What is declared, and what was opened beside it.
fn ports(project: Option<&Project>, record: Option<&MachineRecord>) -> Vec<PortForward> {
    let declared = project.map(|project| &project.ports).or(record.map(|record| &record.ports));
    let opened = record.map(|record| &record.opened);
    let mut ports: Vec<PortForward> = declared.into_iter().chain(opened).flatten().copied().collect();
    ports.dedup();
    ports
}

fn host_agent(instance: &Instance) -> Option<HostAgent> {
    HostAgent::read(&instance.folder, instance.host_agent_pid?)
}

/// Whether everything was finished for the boot that runs.
fn is_ready(instance: Option<&Instance>, record: Option<&MachineRecord>) -> bool {
    let ready = record.and_then(|record| record.ready.as_ref());
    let runs = instance.and_then(host_agent);
    ready.is_some_and(|ready| Some(&ready.host_agent) == runs.as_ref())
}

/// That the machine is not the project's, though it has its name.
fn foreign(project: Option<&Project>, record: Option<&MachineRecord>) -> Option<String> {
    let (project, record) = (project?, record?);
    let (file, repository) = (&project.file, project.repository.as_ref());
    let is_own = record.is_of(file, repository, &project.repos);
    (!is_own).then(|| record.claimed_by(file, repository).error.to_string())
}

/// How long ago a time is, which is in seconds since 1970.
fn seconds_since(then: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(then)).unwrap_or_default().as_secs()
}

impl Overview {
    /// The state as a person reads it: a machine that sleeps takes no memory, but its image some of the disk.
    pub fn shown_state(&self) -> String {
        let image = self.image_bytes.map(|bytes| ByteSize::from_bytes(bytes).approximate());
        image.map_or_else(|| self.state.to_string(), |size| format!("{} ({size})", self.state))
    }

    /// For how many seconds its keys are held yet.
    pub fn keys_held_seconds(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.keys_held_until.map(|until| until.saturating_sub(now))
    }

    /// The object of `--json`.
    pub fn to_json(&self) -> Value {
        json!({
            "project": self.name,
            "state": self.state,
            "cpus": self.cpus,
            "memory_bytes": self.memory_bytes,
            "resident_bytes": self.resident_bytes,
            "disk_bytes": self.disk_bytes,
            "disk_used_bytes": self.disk_used_bytes,
            "image_bytes": self.image_bytes,
            "last_used": self.last_used,
            "idle_seconds": self.idle_seconds,
            "sessions": self.sessions.len(),
            "keys_held_until": self.keys_held_until,
            "ports": self.ports.iter().map(|port| json!({"host": port.host, "guest": port.guest})).collect::<Vec<_>>(),
            "isolation": self.isolation,
            "configured": self.configured,
            "note": self.note,
        })
    }
}
