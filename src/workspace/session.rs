//! What `ssh`, `run` and `connect` share: a machine that answers, a registered session, a served agent.
//!
//! Enters: a project and what to run. Leaves: its exit code. Boots a stopped machine, provisions nothing.

use std::time::{Duration, SystemTime};

use super::lend::computer;
use super::ports::{OpenedPorts, look_after_ports};
use super::secrets::refill_session;
use super::select::{find_record, site};
use super::watch::ensure_watch;
use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::lima::{Begin, Image, Status};
use crate::model::{Computer, PortForward};
use crate::plan::{Connection, Site, write_ssh_hosts};
use crate::record::{CONNECT, MachineRecord, ProjectLock, Session, Waiting};
use crate::ssh::{AgentServer, Remote, refused_since, timestamp};
use crate::ui;

/// After how long a session is one that others may rely on; a short command is over before, and costs the guest nothing.
const SETTLED: Duration = Duration::from_secs(1);
/// How many reasons for a refusal are told at the end of a session; a guest can make up more.
const REFUSALS_TOLD: usize = 3;

/// A machine that answers, for as long as a process of ours uses it.
pub struct Reached {
    /// The machine.
    pub record: MachineRecord,
    /// Serves the agent until dropped.
    pub agent: Option<AgentServer>,
    /// Registered for as long as this lives.
    pub session: Session,
    /// Whether it slept, and was waked or booted for this.
    pub slept: bool,
    begun: String,
}

/// Brings a known machine to answer, registers a session of `verb` on it, and serves the agent.
///
/// # Errors
/// When it is not there, or does not come up.
pub fn reach(context: &Context, record: MachineRecord, verb: &str) -> Result<Reached> {
    let say = |text: &str| context.ui.say(text);
    let begun = timestamp(SystemTime::now());
    let site = site(context, &computer(context)?, &say);
    let Entered { record, session, slept } = enter(context, &site, record, verb)?;
    let agent = record.forward_agent.then(|| site.serve_agent(&record, SETTLED)).transpose()?;
    Ok(Reached { record, agent, session, slept, begun })
}

/// A machine that answers, and its session.
pub(super) struct Entered {
    pub(super) record: MachineRecord,
    pub(super) session: Session,
    slept: bool,
}

/// Brings a known machine to answer and registers a session of `verb` on it, without the agent. An editor's reconnecting
/// starts none that was put down by hand.
///
/// # Errors
/// As [`reach`].
pub(super) fn enter(
    context: &Context,
    site: &Site,
    mut record: MachineRecord,
    verb: &str,
) -> Result<Entered> {
    let waiting =
        Waiting { no_wait: context.options.no_wait, say: site.say, interrupt: context.runner.interrupt() };
    let name = record.name.clone();
    let road = site.road(&record);
    // Starting changes the machine; using one that runs does not.
    let shared =
        if road.is_open() { Some(ProjectLock::shared(&context.layout, &name, &waiting)?) } else { None };
    // The master may have ended while we waited.
    let is_open = shared.is_some() && road.is_open();
    let _lock = match shared.filter(|_| is_open) {
        Some(lock) => lock,
        None => ProjectLock::exclusive(&context.layout, &name, verb, &waiting)?,
    };
    // It may have been changed in that time, and put down or to sleep by hand.
    record = MachineRecord::load(&context.layout, &name)?.unwrap_or(record);
    let may_start = verb != CONNECT || !record.held;
    let slept = !is_open && Image::of(&context.layout.instance(&name)).read_note().is_some();
    let phase = (!is_open).then(|| context.ui.phase("boot"));
    let connection = site.reach(&mut record, may_start)?;
    if let (Some(phase), Connection::Started(started)) = (phase, connection) {
        phase.done(if started.begin == Begin::Woke { connection.describe() } else { "ssh ready" });
        write_ssh_hosts(site)?;
    }
    look_after_ports(site, &record, connection);
    let session = Session::open(&context.layout, &name, verb)?;
    ensure_watch(context, &record);
    Ok(Entered { record, session, slept })
}

/// Does something over the connection to a machine, starting none; `None` when it does not run.
///
/// # Errors
/// When it runs and does not answer, or `act` fails.
pub fn reach_running<T>(
    context: &Context,
    mut record: MachineRecord,
    verb: &str,
    act: &dyn Fn(&Site, &MachineRecord) -> Result<T>,
) -> Result<Option<T>> {
    let say = |text: &str| context.ui.say(text);
    let waiting =
        Waiting { no_wait: context.options.no_wait, say: &say, interrupt: context.runner.interrupt() };
    let site = site(context, &computer(context)?, &say);
    let name = record.name.clone();
    let _lock = if site.road(&record).is_open() {
        ProjectLock::shared(&context.layout, &name, &waiting)?
    } else {
        ProjectLock::exclusive(&context.layout, &name, verb, &waiting)?
    };
    if !site.road(&record).is_open() {
        let driver = site.driver();
        driver.check_version(site.accept_unknown_lima)?;
        if driver.find(&name)?.is_none_or(|found| found.status != Status::Running) {
            return Ok(None);
        }
        site.reach(&mut record, false)?;
    }
    act(&site, &record).map(Some)
}

impl Reached {
    /// Says what the agent refused the machine since this session began; the guest only hears that it did.
    pub fn tell_refused(&self, context: &Context) {
        let log = context.layout.agent_log(&self.record.name);
        let refused = refused_since(&log, &self.begun);
        for (reason, count) in refused.iter().take(REFUSALS_TOLD) {
            let times = if *count == 1 { String::new() } else { format!(" ({count} times)") };
            ui::warn(&format!("the agent refused `{}` a request{times}: {reason}", self.record.name));
        }
        if refused.len() > REFUSALS_TOLD {
            ui::warn(&format!("and for {} more reasons: `{}`", refused.len() - REFUSALS_TOLD, log.display()));
        }
    }
}

/// Runs a session on the machine that `name` means.
///
/// # Errors
/// As exit code 125 when nothing was started in the guest.
pub fn open_session(
    context: &Context,
    name: Option<&str>,
    verb: &str,
    remote: &Remote,
    terminal: bool,
    open: &[PortForward],
) -> Result<u8> {
    let not_started = |failure: Failure| match failure.kind {
        Kind::Operation => failure.of_kind(Kind::NotStarted),
        _ => failure,
    };
    let record = find_record(context, name).map_err(not_started)?;
    let line = remote.command_line(&record.folder)?;
    tell_unfinished(context, &record);
    let reached = reach(context, record, verb).map_err(not_started)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &Computer::default(), &say);
    refill_session(context, &site, &reached.record).map_err(not_started)?;
    let _opened = OpenedPorts::new(&site, &reached.record, open).map_err(not_started)?;
    let road = site.road(&reached.record);
    let cmd = road.session(&line, terminal, reached.agent.is_some()).inherit_input();
    let finished = if terminal {
        let _terminal = ui::TerminalGuard::new(context.dumb_terminal);
        context.runner.interactive(&cmd)?
    } else {
        context.runner.relay(&cmd, ui::terminal_sinks())?
    };
    reached.tell_refused(context);
    if context.runner.interrupt().is_asked() && !terminal {
        return Err(Failure::interrupted());
    }
    if finished.code() == 255 && !road.is_open() {
        ui::warn(&format!("the connection to `{}` was lost", reached.record.name));
    }
    Ok(finished.code())
}

/// A machine whose `up` was never finished works, but may lack what the user expects.
fn tell_unfinished(context: &Context, record: &MachineRecord) {
    let cut_off = crate::record::Journal::left_behind(&context.layout, &record.name).ok().flatten();
    if cut_off.is_some_and(|journal| journal.operation == "up") {
        let name = &record.name;
        context.ui.say(&format!("`{name}` is unfinished: `machine up {name}` goes on where it stopped"));
    }
}
