//! Puts a machine that was started only to look into it back to the rest it had.
//!
//! Enters: how it was, and how it came up. Leaves: one that sleeps or is down again, which is said; or one that stays up,
//! watched, with the reason.

use super::rest::shut_down;
use super::watch::ensure_watch;
use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::lima::{Begin, Status};
use crate::plan::{Connection, Site};
use crate::record::{MachineRecord, ProjectLock, Waiting, held_until, open_sessions};
use crate::ui;

/// How a machine was at rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtRest {
    /// `connect` was not to start it.
    held: bool,
    /// That was since it was idle.
    held_idle: bool,
    /// It slept, and woke with its memory.
    slept: bool,
}

impl AtRest {
    /// That of a machine with the record `before`, where it was started and did not run already.
    pub(super) fn of(before: &MachineRecord, connection: Connection) -> Option<Self> {
        let Connection::Started(started) = connection else { return None };
        let slept = started.begin == Begin::Woke;
        Some(Self { held: before.held, held_idle: before.held_idle, slept })
    }
}

/// Puts it back. What goes wrong is a warning: whoever called has a reason of their own to fail.
pub(super) fn put_back(context: &Context, site: &Site, record: &MachineRecord, at_rest: AtRest) {
    let name = &record.name;
    let phase = context.ui.phase("rest");
    phase.now("as it was before the look");
    match try_put_back(site, record, at_rest) {
        Ok(()) => {
            phase.done(&format!("{name} {} again", if at_rest.slept { "asleep" } else { "down" }));
        }
        Err(failure) => {
            drop(phase);
            ui::warn(&format!("`{name}` was started to look into it, and stays up: {:#}", failure.error));
            ensure_watch(context, record);
        }
    }
}

fn try_put_back(site: &Site, record: &MachineRecord, at_rest: AtRest) -> Result<()> {
    let name = &record.name;
    let waiting = Waiting { no_wait: true, say: site.say, interrupt: site.runner.interrupt() };
    let _lock = ProjectLock::exclusive(site.layout, name, "rest", &waiting)?;
    // No lock was held across the question: `up` or a session may have come since.
    let now = MachineRecord::load(site.layout, name)?;
    let is_used = !open_sessions(site.layout, name).is_empty() || held_until(site.layout, name).is_some();
    let Some(mut record) = now.filter(|now| now == record && !is_used) else {
        return Err(Failure::new(Kind::Busy, "it was used since"));
    };
    let found = site.driver().find(name)?.filter(|instance| instance.status == Status::Running);
    record.held_idle = at_rest.held_idle;
    match found {
        Some(instance) if at_rest.slept => {
            site.sleep(&record, &instance)?;
            record.held = at_rest.held;
            record.save(site.layout)
        }
        found => shut_down(site, &mut record, found, at_rest.held),
    }
}
