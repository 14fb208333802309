//! `machine list`: every project and machine with what it takes, by one `limactl`.
//!
//! Enters: nothing. Leaves: a table, or JSON.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::context::Context;
use crate::disk;
use crate::failure::Result;
use crate::lima::{Image, Instance, Status, resident_bytes, start_problem};
use crate::model::{ByteSize, PortForward, Project, ProjectName, list_ports};
use crate::plan::Site;
use crate::record::{HostAgent, Journal, MachineRecord, held_until, last_used, open_sessions};
use crate::ui;
use crate::ui::{for_as_long, render_table};
use crate::workspace::{Workspace, site};

/// Options of `list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Columns:
  STATE      of a machine that sleeps, with the size of its memory's image on the disk
  MEMORY     what the guest may use
  RESIDENT   memory of this computer that its process takes now (macOS: may lack what was compressed)
  DISK       the size that the guest sees
  ALLOCATED  what the machine's files take on this computer's disk; blocks shared with other files count
  PORTS      what leads into it from 127.0.0.1; `machine ports PROJECT` says more

--json: an array of objects with project, state, cpus, memory_bytes, resident_bytes (null unless it
runs), disk_bytes, disk_used_bytes (what is allocated), image_bytes (null unless it is asleep), last_used
(seconds since 1970), idle_seconds (null unless it runs without a session), sessions, keys_held_until
(seconds since 1970, null unless they are), ports, configured, note")]
pub struct Args {
    /// Print a JSON array; sizes are bytes
    #[arg(long)]
    pub json: bool,
}

/// One line.
struct Row {
    name: String,
    state: &'static str,
    cpus: Option<u64>,
    memory_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    disk_used_bytes: Option<u64>,
    /// Of a machine that sleeps.
    image_bytes: Option<u64>,
    last_used: Option<u64>,
    /// Of a machine that runs, and that nobody uses.
    idle_seconds: Option<u64>,
    sessions: usize,
    keys_held_until: Option<u64>,
    ports: Vec<PortForward>,
    configured: bool,
    note: Option<String>,
}

/// Lists.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let records = MachineRecord::load_all(&context.layout);
    // Without any machine there is nothing that Lima could tell.
    let instances = if context.layout.lima_home().is_dir() { site.driver().list()? } else { Vec::new() };
    let resident = resident_bytes(&instances, context.host.os, &context.runner);
    let instances: BTreeMap<String, Instance> =
        instances.into_iter().map(|instance| (instance.name.clone(), instance)).collect();
    let mut names: Vec<&str> = workspace.catalog.names().map(ProjectName::as_str).collect();
    names.extend(instances.keys().map(String::as_str));
    names.extend(records.iter().map(|record| record.name.as_str()));
    // Machines that build boxes are no projects'; `machine box list` has those that were cut off.
    names.retain(|name| !ProjectName::is_bake(name));
    names.sort_unstable();
    names.dedup();
    let projects: BTreeMap<&str, &Project> =
        workspace.catalog.projects.iter().map(|(name, project)| (name.as_str(), project)).collect();
    let rows: Vec<Row> = names
        .into_iter()
        .map(|name| {
            let record = records.iter().find(|record| record.name == name);
            let row =
                row(context, &workspace, name, projects.get(name).copied(), instances.get(name), record);
            let note = row.note.clone().or_else(|| cold_note(&site, name, record));
            Row { resident_bytes: resident.get(name).copied(), note, ..row }
        })
        .collect();
    if args.json {
        ui::answer_json(&Value::Array(rows.iter().map(to_json).collect()));
    } else if rows.is_empty() {
        context.ui.say("no projects yet; make one: `machine up NAME`");
    } else {
        ui::answer(&table(&rows));
        for (row, until) in rows.iter().filter_map(|row| row.keys_held_until.map(|until| (row, until))) {
            let left = until.saturating_sub(now());
            context.ui.say(&format!("{}: its keys are held {}", row.name, for_as_long(left)));
        }
        rows.iter().filter_map(|row| row.note.as_ref().map(|note| (row, note))).for_each(|(row, note)| {
            context.ui.say(&format!("{}: {note}", row.name));
        });
    }
    Ok(0)
}

fn row(
    context: &Context,
    workspace: &Workspace,
    name: &str,
    project: Option<&Project>,
    instance: Option<&Instance>,
    record: Option<&MachineRecord>,
) -> Row {
    let config = |key: &str| instance.and_then(|instance| instance.config.get(key).cloned());
    let size = |key: &str| {
        config(key).and_then(|value| value.as_str()?.parse::<ByteSize>().ok()).map(ByteSize::bytes)
    };
    let planned = |get: fn(&Project) -> u64| project.map(get);
    let unfinished = Journal::left_behind(&context.layout, name).ok().flatten().is_some();
    // A file that was not read just now, such as one in another repository, may well have it.
    let elsewhere =
        |record: &MachineRecord| !workspace.reads(&record.config_file) && record.config_file.exists();
    let configured = project.is_some() || record.is_some_and(elsewhere);
    let stopped = instance.filter(|instance| instance.status == Status::Stopped);
    let asleep = stopped.and_then(|instance| Image::of(&instance.folder).read_note());
    let used = record.map(|record| last_used(&context.layout, record)).filter(|seconds| *seconds > 0);
    let sessions = open_sessions(&context.layout, name).len();
    let runs = instance.is_some_and(|instance| instance.status == Status::Running);
    Row {
        name: name.to_string(),
        state: if asleep.is_some() { "asleep" } else { state(instance, record, unfinished) },
        image_bytes: asleep.map(|note| note.image_bytes),
        cpus: config("cpus")
            .and_then(|value| value.as_u64())
            .or_else(|| planned(|project| u64::from(project.cpus))),
        memory_bytes: size("memory").or_else(|| planned(|project| project.memory.bytes())),
        resident_bytes: None,
        disk_bytes: size("disk").or_else(|| planned(|project| project.disk.bytes())),
        disk_used_bytes: disk::allocated_bytes(&context.layout.instance(name)),
        last_used: used,
        idle_seconds: used.filter(|_| runs && sessions == 0).map(|then| now().saturating_sub(then)),
        sessions,
        keys_held_until: held_until(&context.layout, name),
        ports: ports(project, record),
        configured,
        note: note(context, name, instance, configured).or_else(|| foreign(project?, record?)),
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

fn state(instance: Option<&Instance>, record: Option<&MachineRecord>, unfinished: bool) -> &'static str {
    match instance.map(|instance| instance.status) {
        None | Some(Status::Running) if unfinished => "unfinished",
        None => "none",
        Some(Status::Running) if is_ready(instance, record) => "ready",
        Some(Status::Running) => "running",
        Some(Status::Stopped) => "stopped",
        Some(Status::Broken | Status::Other) => "broken",
    }
}

/// Whether everything was finished for the boot that runs.
fn is_ready(instance: Option<&Instance>, record: Option<&MachineRecord>) -> bool {
    let ready = record.and_then(|record| record.ready.as_ref());
    let runs = instance.and_then(|instance| HostAgent::read(&instance.folder, instance.host_agent_pid?));
    ready.is_some_and(|ready| Some(&ready.host_agent) == runs.as_ref())
}

fn note(context: &Context, name: &str, instance: Option<&Instance>, configured: bool) -> Option<String> {
    if !configured && instance.is_some() {
        return Some(format!(
            "its project is gone from the configuration; delete it: `machine destroy {name}`"
        ));
    }
    if let Some(problem) = start_problem(&context.layout, name) {
        return Some(format!("the last start ended with: {problem}"));
    }
    let broken = instance.filter(|instance| instance.status == Status::Broken)?;
    Some(format!("{}; `machine up {name}` repairs it", broken.errors.first()?))
}

/// That the machine is not the project's, though it has its name.
fn foreign(project: &Project, record: &MachineRecord) -> Option<String> {
    let (file, repository) = (&project.file, project.repository.as_ref());
    let is_own = record.is_of(file, repository, &project.repos);
    (!is_own).then(|| record.claimed_by(file, repository).error.to_string())
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        [
            "PROJECT",
            "STATE",
            "CPUS",
            "MEMORY",
            "RESIDENT",
            "DISK",
            "ALLOCATED",
            "SESSIONS",
            "LAST USED",
            "PORTS",
        ]
        .map(String::from)
        .to_vec(),
    ];
    let size = |bytes: Option<u64>, show: fn(ByteSize) -> String| {
        bytes.map(ByteSize::from_bytes).map_or_else(|| "-".to_string(), show)
    };
    lines.extend(rows.iter().map(|row| {
        vec![
            row.name.clone(),
            shown_state(row),
            row.cpus.map_or_else(|| "-".to_string(), |cpus| cpus.to_string()),
            size(row.memory_bytes, ByteSize::human),
            size(row.resident_bytes, ByteSize::approximate),
            size(row.disk_bytes, ByteSize::human),
            size(row.disk_used_bytes, ByteSize::approximate),
            row.sessions.to_string(),
            row.last_used.map_or_else(|| "-".to_string(), ago),
            list_ports(&row.ports),
        ]
    }));
    render_table(&lines)
}

/// A machine that sleeps but cannot wake any more.
fn cold_note(site: &Site, name: &str, record: Option<&MachineRecord>) -> Option<String> {
    let note = Image::of(&site.layout.instance(name)).read_note()?;
    let why = site.driver().why_cold(record?, &note)?;
    Some(format!("it will boot cold: {why}"))
}

/// A machine that sleeps takes no memory, but its image some of the disk.
fn shown_state(row: &Row) -> String {
    let image = row.image_bytes.map(|bytes| ByteSize::from_bytes(bytes).approximate());
    image.map_or_else(|| row.state.to_string(), |size| format!("{} ({size})", row.state))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn ago(seconds: u64) -> String {
    let then = UNIX_EPOCH + Duration::from_secs(seconds);
    let passed = SystemTime::now().duration_since(then).unwrap_or_default().as_secs();
    match passed {
        0..=119 => "just now".into(),
        120..=7_199 => format!("{} minutes ago", passed / 60),
        7_200..=172_799 => format!("{} hours ago", passed / 3600),
        _ => format!("{} days ago", passed / 86_400),
    }
}

fn to_json(row: &Row) -> Value {
    json!({
        "project": row.name,
        "state": row.state,
        "cpus": row.cpus,
        "memory_bytes": row.memory_bytes,
        "resident_bytes": row.resident_bytes,
        "disk_bytes": row.disk_bytes,
        "disk_used_bytes": row.disk_used_bytes,
        "image_bytes": row.image_bytes,
        "last_used": row.last_used,
        "idle_seconds": row.idle_seconds,
        "sessions": row.sessions,
        "keys_held_until": row.keys_held_until,
        "ports": row.ports.iter().map(|port| json!({"host": port.host, "guest": port.guest})).collect::<Vec<_>>(),
        "configured": row.configured,
        "note": row.note,
    })
}
