//! `machine watch`: beside a machine that is to rest when it is idle, for as long as it runs. Starts with it, ends with it.
//!
//! Enters: a machine. Leaves: one that sleeps or is down, once nobody and nothing was at work in it for long enough. Looks
//! from outside only. Killed, it is missed by nobody: the next command starts another.

use std::time::{Instant, SystemTime};

use super::rest::shut_down;
use super::select::site;
use crate::context::Context;
use crate::disk;
use crate::failure::{Kind, Result};
use crate::lima::{Pulse, Status};
use crate::model::{ByteSize, Computer, Idle, IdleAction};
use crate::plan::{Idleness, Look, Site, next_look};
use crate::process::{Cmd, has_connection, has_ended_within};
use crate::record::{
    HostAgent, MachineRecord, OpenSession, ProjectLock, Waiting, Watch, held_until, is_watched, last_used,
    open_sessions,
};
use crate::ssh::timestamp;
use crate::ui;

/// A log that is longer is begun anew with the next watcher.
const LOG_LIMIT: u64 = 256 * 1024;

/// Starts a watcher for a machine that runs and is to rest when it is idle, unless there is one.
pub fn ensure_watch(context: &Context, record: &MachineRecord) {
    let name = &record.name;
    let boot = wanted(record).and_then(|_| HostAgent::named(&context.layout.instance(name)));
    let Some(boot) = boot else { return };
    if is_watched(&context.layout, name, &boot) {
        return;
    }
    let log = context.layout.machine(name).join("watch.log");
    if disk::file_allocated_bytes(&log) > LOG_LIMIT {
        // Nothing depends on it.
        let _ = disk::remove_file(&log);
    }
    let started = disk::open_log(&log).and_then(|log| context.runner.detach(&command(context, name), &log));
    if let Err(failure) = started {
        ui::warn(&format!("nobody watches whether `{name}` is idle: {:#}", failure.error));
    }
}

/// What is to become of an idle machine.
fn wanted(record: &MachineRecord) -> Option<Idle> {
    record.idle.filter(|_| !record.keep_awake)
}

/// This program, told to watch, with what of our environment it needs.
fn command(context: &Context, name: &str) -> Cmd {
    let cmd = Cmd::new(&context.binary).args(["watch", name]);
    context.folder_variables.iter().fold(cmd, |cmd, (name, path)| cmd.env(name, path))
}

/// Watches over a machine until its end; what [`ensure_watch`] starts.
///
/// # Errors
/// When its record cannot be read.
pub fn watch(context: &Context, name: &str) -> Result<()> {
    crate::process::leave_terminal();
    let say = |text: &str| context.ui.say(&format!("{} {text}", timestamp(SystemTime::now())));
    let site = site(context, &Computer::default(), &say);
    let Some(boot) = HostAgent::named(&context.layout.instance(name)) else { return Ok(()) };
    let Some(right) = Watch::take(&context.layout, name, &boot)? else { return Ok(()) };
    let watcher = Watcher { site: &site, name, boot };
    let Some(pulse) = watcher.pulse()? else { return Ok(()) };
    let mut idleness = Idleness::new(Instant::now());
    let (mut seen_use, mut is_blind) = (None, false);
    while let Some((record, idle)) = watcher.wanted()? {
        let last = last_used(&context.layout, &record);
        let was_used = seen_use.replace(last) != Some(last);
        let in_use = was_used || watcher.is_in_use(&record, idle);
        let taken = pulse.read(&context.runner);
        if taken.is_none() && !std::mem::replace(&mut is_blind, true) {
            say(&format!(
                "what `{name}` takes of processors and network cannot be seen here: it stays awake"
            ));
        }
        let passed = idleness.note(Look { at: Instant::now(), in_use, taken });
        right.note(passed);
        if passed >= idle.after() {
            let reason = format!("idle for {}: {idleness}", ui::briefly(passed.as_secs()));
            match watcher.put_to_rest(idle, last, &reason) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) => {
                    let hints = failure.hints.join("; ");
                    say(&format!("`{name}` stays awake, {reason}; but {:#}. {hints}", failure.error));
                }
            }
            idleness.restart(Instant::now());
        }
        let ended = has_ended_within(pulse.pid(), next_look(passed, idle.after()));
        if ended || context.runner.interrupt().is_asked() {
            return Ok(());
        }
    }
    Ok(())
}

/// One machine in one of its boots.
struct Watcher<'a> {
    site: &'a Site<'a>,
    name: &'a str,
    boot: HostAgent,
}

impl Watcher<'_> {
    fn pulse(&self) -> Result<Option<Pulse>> {
        let Some(record) = MachineRecord::load(self.site.layout, self.name)? else { return Ok(None) };
        let instance = self.site.layout.instance(self.name);
        Ok(Pulse::find(&instance, record.port, self.site.host.os, self.site.runner))
    }

    /// The machine's record, for as long as this boot goes on and is to be watched.
    fn wanted(&self) -> Result<Option<(MachineRecord, Idle)>> {
        if HostAgent::named(&self.site.layout.instance(self.name)).as_ref() != Some(&self.boot) {
            return Ok(None);
        }
        let record = MachineRecord::load(self.site.layout, self.name)?;
        Ok(record.and_then(|record| wanted(&record).map(|idle| (record, idle))))
    }

    /// Whether somebody uses it now.
    fn is_in_use(&self, record: &MachineRecord, idle: Idle) -> bool {
        let open = open_sessions(self.site.layout, self.name);
        let ports: Vec<u16> = record.ports.iter().chain(&record.opened).map(|port| port.host).collect();
        open.iter().any(|session| counts(session, idle.action))
            || held_until(self.site.layout, self.name).is_some()
            || has_connection(&ports, self.site.host.os, self.site.runner)
    }

    /// Puts it to sleep or down, unless it is wanted after all; whether it rests now. A command at work, or one that used
    /// it since `last_used`, wins: whoever comes later waits for our lock, and wakes it.
    fn put_to_rest(&self, idle: Idle, seen_use: u64, reason: &str) -> Result<bool> {
        let site = self.site;
        let waiting = Waiting { no_wait: true, say: &|_| (), interrupt: site.runner.interrupt() };
        let _lock = match ProjectLock::exclusive(site.layout, self.name, "watch", &waiting) {
            Err(failure) if failure.kind == Kind::Busy => return Ok(false),
            lock => lock?,
        };
        let Some((mut record, still)) = self.wanted()? else { return Ok(false) };
        let is_wanted = self.is_in_use(&record, idle) || last_used(site.layout, &record) != seen_use;
        if is_wanted || still != idle {
            return Ok(false);
        }
        let found = site.driver().find(self.name)?.filter(|instance| instance.status == Status::Running);
        let Some(instance) = found else { return Ok(false) };
        match idle.action {
            IdleAction::Sleep => {
                let bytes = ByteSize::from_bytes(site.sleep(&record, &instance)?).approximate();
                (site.say)(&format!("`{}` fell asleep, {reason}; {bytes} on the disk", self.name));
            }
            IdleAction::Down => {
                // An editor whose connection ends brings it back at once, which is no rest.
                record.held_idle = !open_sessions(site.layout, self.name).is_empty();
                let held = record.held_idle;
                shut_down(site, &mut record, Some(instance), held)?;
                (site.say)(&format!("`{}` was put down, {reason}; its disk is kept", self.name));
            }
            IdleAction::None => return Ok(false),
        }
        Ok(true)
    }
}

/// Whether a session keeps a machine awake. What sleeps is there again when an editor comes back, so there every
/// connection counts; where it is put down instead, one that only shows that it lives does not.
fn counts(session: &OpenSession, action: IdleAction) -> bool {
    action != IdleAction::Down || !session.is_quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_editor_keeps_only_a_machine_awake_that_would_sleep() {
        let session = |is_quiet| OpenSession { label: "machine connect blog (process 7)".into(), is_quiet };
        assert!(counts(&session(false), IdleAction::Down) && counts(&session(false), IdleAction::Sleep));
        assert!(!counts(&session(true), IdleAction::Down) && counts(&session(true), IdleAction::Sleep));
    }

    #[test]
    fn keep_awake_is_stronger_than_idle() {
        let idle = Idle { after_seconds: 60, action: IdleAction::Sleep };
        let record = MachineRecord { idle: Some(idle), ..MachineRecord::blank("blog") };
        assert_eq!(wanted(&record), Some(idle));
        assert_eq!(wanted(&MachineRecord { keep_awake: true, ..record }), None);
    }
}
