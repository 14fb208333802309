//! A project's declared ports: what is behind each, and how they are changed while the machine runs.
//!
//! Enters: a project, its record, the ports wanted. Leaves: one row a port; forwards and the edited projects.toml.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::select::{Workspace, site};
use crate::config::set_ports;
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::lima::{Image, Status};
use crate::model::{PortForward, Project, list_ports};
use crate::plan::{Connection, Holder, Site};
use crate::process::{Listener, parse_listeners};
use crate::record::{MachineRecord, ProjectLock, Waiting, take_turn_to_edit};
use crate::ssh::Attempt;
use crate::ui;

/// The guest's own list of who listens.
const SOCKETS: &str = "cat /proc/net/tcp /proc/net/tcp6";

/// What is behind a port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// It leads nowhere: the machine does not run, or nobody holds the port.
    Declared,
    /// Somebody else has it.
    Taken,
    /// It leads into the guest, where nothing listens.
    Forwarded,
    /// It leads to something that listens in the guest.
    Answering,
}

/// One port of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// The two ports.
    pub port: PortForward,
    /// Whether the configuration has it.
    pub declared: bool,
    /// What is behind it.
    pub state: PortState,
    /// What a person should know of it.
    pub note: Option<String>,
}

impl PortState {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Taken => "taken",
            Self::Forwarded => "forwarded",
            Self::Answering => "answering",
        }
    }
}

/// Looks at every port of a project, from both sides. Starts no machine.
///
/// # Errors
/// When a machine that runs does not answer.
pub fn look_at_ports(context: &Context, workspace: &Workspace, project: &Project) -> Result<Vec<PortRow>> {
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let name = project.name.as_str();
    let record = load_record(&site, name)?;
    let mut ports = project.ports.clone();
    ports.extend(record.ports.iter().filter(|port| !project.ports.contains(port)));
    ports.extend(record.opened.iter().filter(|port| !project.ports.contains(port)));
    ports.dedup();
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let guest = if is_running(&site, &record)? { Some(guest_listeners(&site, &record)?) } else { None };
    let row = |port: PortForward| {
        let declared = project.ports.contains(&port);
        let (state, about) = judge(port, &site.port_holder(&record, port.host), guest.as_deref());
        let why = match declared {
            true => None,
            false if record.opened.contains(&port) => Some("open until the machine stops".to_string()),
            false => Some(format!("not declared any more: `machine up {name}` closes it")),
        };
        let notes: Vec<String> = why.into_iter().chain(about).collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        PortRow { port, declared, state, note }
    };
    Ok(ports.into_iter().map(row).collect())
}

/// What is behind a port, and why not more.
fn judge(port: PortForward, holder: &Holder, guest: Option<&[Listener]>) -> (PortState, Option<String>) {
    let Some(guest) = guest else {
        return match holder {
            Holder::Machine(_) | Holder::Program(_) => (PortState::Taken, Some(format!("by {holder}"))),
            Holder::Nobody | Holder::Own => (PortState::Declared, Some("the machine does not run".into())),
        };
    };
    match holder {
        Holder::Machine(_) | Holder::Program(_) => return (PortState::Taken, Some(format!("by {holder}"))),
        Holder::Nobody => return (PortState::Declared, Some("nobody holds it: `machine up` does".into())),
        Holder::Own => {}
    }
    let mut behind = guest.iter().filter(|one| one.port == port.guest).peekable();
    let nothing = behind.peek().is_none();
    let elsewhere: Vec<String> = behind.clone().map(|one| one.address.to_string()).collect();
    match behind.any(Listener::is_on_loopback) {
        true => (PortState::Answering, None),
        false if nothing => {
            (PortState::Forwarded, Some(format!("nothing listens on port {} in the guest", port.guest)))
        }
        false => {
            let sentence = format!("in the guest it is only listened on at {}", elsewhere.join(", "));
            (PortState::Forwarded, Some(sentence + ", not at 127.0.0.1"))
        }
    }
}

fn guest_listeners(site: &Site, record: &MachineRecord) -> Result<Vec<Listener>> {
    let road = site.road(record);
    road.prepare()?;
    if let Attempt::NotYet(words) = road.open(site.runner)? {
        return Err(Failure::operation(words).because(format!("`{}` does not answer", record.name)));
    }
    Ok(parse_listeners(&road.read(site.runner, SOCKETS, "", Duration::from_secs(20))?.text()))
}

/// The record of a machine; one that says nothing where there is none.
fn load_record(site: &Site, name: &str) -> Result<MachineRecord> {
    Ok(MachineRecord::load(site.layout, name)?.unwrap_or_else(|| MachineRecord::blank(name)))
}

fn is_running(site: &Site, record: &MachineRecord) -> Result<bool> {
    if record.port == 0 {
        return Ok(false);
    }
    let found = || Ok(site.driver().find(&record.name)?.is_some_and(|found| found.status == Status::Running));
    if site.road(record).is_open() { Ok(true) } else { found() }
}

/// Asks before ports lead into a guest that programs of the host take for somebody else's.
///
/// # Errors
/// When the answer is no, or nobody can be asked.
pub fn agree_to_ports(context: &Context, name: &str, ports: &[PortForward]) -> Result<()> {
    for (port, doubt) in ports.iter().filter_map(|port| Some((port, port.doubt()?))) {
        match context.ui.confirm(&format!("{doubt}. Open it?"), true) {
            Some(true) => {}
            Some(false) => return Err(Failure::operation("no port was opened")),
            None => {
                let PortForward { host, guest } = port;
                let other = host.checked_add(10_000).filter(|other| *other < 20_000).unwrap_or(host - 1);
                return Err(Failure::usage(doubt).hint(format!(
                    "if that is what you want, add `--yes`; or take another port: `machine ports {name} add {other}:{guest}`"
                )));
            }
        }
    }
    Ok(())
}

/// Changes the declared ports of a project: at once in a machine that runs, and in its projects.toml. `change` makes the new
/// ones of those that it has at that moment, when nobody else changes them.
///
/// # Errors
/// When one of them is taken, or the file cannot be written. The ports are as before then.
pub fn declare_ports(
    context: &Context,
    name: &str,
    change: &dyn Fn(&Project) -> Result<Vec<PortForward>>,
) -> Result<()> {
    let say = |text: &str| context.ui.say(text);
    let is_dry = context.options.dry_run;
    let _lock = if is_dry { None } else { Some(lock(context, name, &say)?) };
    let _turn = if is_dry { None } else { Some(take_turn_to_edit(&context.layout)?) };
    let workspace = Workspace::load(context)?;
    let project = workspace.choose_own(context, Some(name))?;
    let wanted = change(&project)?;
    if wanted == project.ports {
        return Ok(());
    }
    let site = site(context, &workspace.computer, &say);
    let edit = Edit::new(&workspace, &project, &wanted)?;
    if is_dry {
        ui::answer(&dry_run(&site, &project, &wanted, &edit)?);
        return Ok(());
    }
    let Some(mut record) = MachineRecord::load(&context.layout, name)? else { return edit.write() };
    let before = record.ports.clone();
    if !is_running(&site, &record)? {
        edit.write()?;
        // The memory of one that sleeps fits the file that it was started from: `up` opens them once it is awake.
        if Image::of(&context.layout.instance(name)).read_note().is_none() {
            site.keep_ports(&mut record, &wanted)?;
        }
        for taken in site.taken_ports(&record, &wanted) {
            ui::warn(&format!("{:#}", taken.error));
        }
        return Ok(());
    }
    site.road(&record).prepare()?;
    let settled = site.settle_ports(&mut record, &wanted).and_then(|()| edit.write());
    if settled.is_err() {
        // What could be had of the new ones is given back; those that were there are there.
        record.ports = wanted;
        let _ = site.settle_ports(&mut record, &before);
    }
    settled
}

/// Leads ports into a running machine until it stops, without declaring them.
///
/// # Errors
/// When the machine does not run, or a port is taken.
pub fn open_ports(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    ports: &[PortForward],
) -> Result<()> {
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let name = project.name.as_str();
    let _lock = lock(context, name, &say)?;
    let mut record = load_record(&site, name)?;
    if !is_running(&site, &record)? {
        return Err(Failure::operation(format!("`{name}` does not run, and a port is opened while it does"))
            .hint(format!("start it: `machine up {name}`; or declare it: `machine ports {name} add PORT`")));
    }
    site.road(&record).prepare()?;
    for port in ports {
        site.lead(&record, *port)?;
        if !record.ports.contains(port) && !record.opened.contains(port) {
            record.opened.push(*port);
        }
        record.save(&context.layout)?;
    }
    Ok(())
}

/// Closes ports that were opened without being declared.
pub fn close_opened(context: &Context, workspace: &Workspace, name: &str, hosts: &[u16]) -> Result<()> {
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let _lock = lock(context, name, &say)?;
    let Some(mut record) = MachineRecord::load(&context.layout, name)? else { return Ok(()) };
    for port in record.opened.iter().filter(|port| hosts.contains(&port.host)) {
        site.close_port(&record, *port);
    }
    record.opened.retain(|port| !hosts.contains(&port.host));
    record.save(&context.layout)
}

/// Ports that were lost lead into the guest again; a session is none the worse for one that does not.
pub(super) fn look_after_ports(site: &Site, record: &MachineRecord, connection: Connection) {
    let problems = match connection {
        Connection::WasRunning => site.revive_ports(record),
        Connection::Started(_) => site.taken_ports(record, &record.ports),
    };
    for problem in problems {
        ui::warn(&format!("{:#}", problem.error));
    }
}

/// Ports that lead into the guest for as long as this lives.
pub(super) struct OpenedPorts<'a> {
    site: &'a Site<'a>,
    record: &'a MachineRecord,
    ports: Vec<PortForward>,
}

impl<'a> OpenedPorts<'a> {
    /// Opens those that do not lead there already.
    pub(super) fn new(site: &'a Site, record: &'a MachineRecord, ports: &[PortForward]) -> Result<Self> {
        let mut opened = Self { site, record, ports: Vec::new() };
        for port in ports {
            if site.port_holder(record, port.host) != Holder::Own {
                site.lead(record, *port)?;
                opened.ports.push(*port);
            }
        }
        Ok(opened)
    }
}

impl Drop for OpenedPorts<'_> {
    fn drop(&mut self) {
        self.ports.iter().for_each(|port| self.site.close_port(self.record, *port));
    }
}

fn lock(context: &Context, name: &str, say: &dyn Fn(&str)) -> Result<ProjectLock> {
    let waiting = Waiting { no_wait: context.options.no_wait, say, interrupt: context.runner.interrupt() };
    ProjectLock::exclusive(&context.layout, name, "ports", &waiting)
}

fn dry_run(site: &Site, project: &Project, wanted: &[PortForward], edit: &Edit) -> Result<String> {
    let mut lines = Vec::new();
    let record = MachineRecord::load(site.layout, project.name.as_str())?;
    if let Some(record) = record.filter(|record| is_running(site, record).unwrap_or(false)) {
        let road = site.road(&record);
        let gone = record.ports.iter().filter(|port| !wanted.contains(port));
        lines.extend(gone.map(|port| road.cancel_command(&road.holder(), *port).to_string()));
        let new = wanted.iter().filter(|port| !record.ports.contains(port));
        lines.extend(new.map(|port| road.forward_command(*port).to_string()));
    }
    lines.push(format!("# write `ports = [{}]` to `{}`", list_ports(wanted), edit.file.display()));
    Ok(lines.join("\n"))
}

/// A projects.toml with other ports in it.
struct Edit {
    file: PathBuf,
    text: String,
}

impl Edit {
    /// The user's own file: what a repository says of ports is laid over there, in a table of the same name.
    fn new(workspace: &Workspace, project: &Project, ports: &[PortForward]) -> Result<Self> {
        let file = if project.repository.is_some() {
            workspace.located.user.projects()
        } else {
            project.file.clone()
        };
        let present = disk::read_text_if_there(&file)?.unwrap_or_default();
        let text = set_ports(&present, &project.name, ports)?;
        Ok(Self { file, text })
    }

    fn write(&self) -> Result<()> {
        if let Some(folder) = self.file.parent().filter(|folder| !folder.exists()) {
            disk::ensure_private_folder(folder)?;
        }
        // A dotfile manager may have put a link there, which stays one.
        let file = std::fs::canonicalize(&self.file).unwrap_or_else(|_| self.file.clone());
        let mode = std::fs::metadata(&file).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
        disk::write_atomic(&file, self.text.as_bytes(), mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_says_why_it_is_not_more() {
        let port: PortForward = "8080:80".parse().expect("a port");
        let guest = |address: &str| {
            let line = format!("0: {address}:0050 0:0 0A 0:0 0:0 0 0 0 7 1");
            parse_listeners(&line)
        };
        let of = |holder: &Holder, guest: Option<&[Listener]>| {
            let (state, note) = judge(port, holder, guest);
            format!("{}: {}", state.word(), note.unwrap_or_default())
        };
        let (own, stranger) = (Holder::Own, Holder::Program("`x` (process 1)".into()));
        assert_eq!(of(&Holder::Nobody, None), "declared: the machine does not run");
        assert_eq!(of(&stranger, None), "taken: by `x` (process 1)");
        assert_eq!(of(&stranger, Some(&[])), "taken: by `x` (process 1)");
        assert_eq!(of(&Holder::Nobody, Some(&[])), "declared: nobody holds it: `machine up` does");
        assert_eq!(of(&own, Some(&[])), "forwarded: nothing listens on port 80 in the guest");
        assert_eq!(of(&own, Some(&guest("0100007F"))), "answering: ");
        assert_eq!(of(&own, Some(&guest("00000000"))), "answering: ");
        assert_eq!(
            of(&own, Some(&guest("00000000000000000000000001000000"))),
            "forwarded: in the guest it is only listened on at ::1, not at 127.0.0.1"
        );
    }
}
