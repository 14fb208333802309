//! `memory_budget`: how much memory the machines of this computer may take together, and who makes room.
//!
//! Enters: what runs, what is to start. Leaves: the idlest machines put to sleep, each told, or the refusal to start. The
//! choice is pure; a machine that is in use is never chosen.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Idleness, Look, Site};
use crate::failure::{Failure, Result};
use crate::lima::{Pulse, Status};
use crate::model::ByteSize;
use crate::process::has_connection;
use crate::record::{MachineRecord, ProjectLock, Waiting, held_until, last_active, open_sessions};

/// How long machines are watched before one is put to sleep: long enough for an agent that is told something.
const WATCHED: Duration = Duration::from_secs(3);

/// A machine that takes memory, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Occupant {
    name: String,
    bytes: u64,
    /// Seconds since anybody was seen at work in it; `None` when it is in use, or is to stay awake.
    idle: Option<u64>,
    /// What runs it.
    pulse: Option<Pulse>,
}

/// Chooses who has to sleep so that `wanted` bytes fit, the idlest first; what would still be missing is the error.
fn choose(budget: u64, wanted: u64, mut occupants: Vec<Occupant>) -> Result<Vec<Occupant>, u64> {
    let taken: u64 = occupants.iter().map(|occupant| occupant.bytes).sum();
    let mut missing = (taken + wanted).saturating_sub(budget);
    occupants.retain(|occupant| occupant.idle.is_some());
    occupants.sort_by_key(|occupant| std::cmp::Reverse(occupant.idle));
    let mut chosen = Vec::new();
    for occupant in occupants {
        if missing == 0 {
            break;
        }
        missing = missing.saturating_sub(occupant.bytes);
        chosen.push(occupant);
    }
    if missing == 0 { Ok(chosen) } else { Err(missing) }
}

impl Site<'_> {
    /// Makes sure that a machine with this configuration may start: puts others to sleep where the budget asks for it.
    ///
    /// # Errors
    /// When the budget is too small, or nobody can sleep who would have to. Who was put to sleep before that stays so.
    pub(super) fn make_room(&self, name: &str, config: &Value) -> Result<()> {
        let Some(budget) = self.memory_budget else { return Ok(()) };
        let wanted = memory_of(config);
        if wanted > budget.bytes() {
            let wanted = ByteSize::from_bytes(wanted).human();
            let budget = budget.human();
            let sentence = format!("`{name}` has {wanted}, more than the `memory_budget` of {budget}");
            return Err(
                Failure::usage(sentence).hint("raise it in config.toml, or give the machine less memory")
            );
        }
        let mut occupants = self.occupants(name)?;
        if occupants.iter().map(|occupant| occupant.bytes).sum::<u64>() + wanted > budget.bytes() {
            self.leave_out_workers(&mut occupants)?;
        }
        let chosen = choose(budget.bytes(), wanted, occupants.clone()).map_err(|missing| {
            let others: Vec<&str> = occupants.iter().map(|occupant| occupant.name.as_str()).collect();
            let missing = ByteSize::from_bytes(missing).human();
            let budget = budget.human();
            let sentence =
                format!("there is no room for `{name}`: {missing} more than the `memory_budget` of {budget}");
            Failure::operation(sentence)
                .hint(format!("in use: {}; stop one with `machine down`", others.join(", ")))
        })?;
        for occupant in chosen {
            self.put_aside(&occupant, name)?;
        }
        Ok(())
    }

    fn occupants(&self, without: &str) -> Result<Vec<Occupant>> {
        let records = MachineRecord::load_all(self.layout);
        let instances = self.driver().list()?;
        let mut occupants = Vec::new();
        for instance in instances.iter().filter(|instance| instance.name != without) {
            let busy = ProjectLock::is_taken(self.layout, &instance.name);
            // One whose lock is taken may be starting just now.
            if instance.status == Status::Stopped && !busy {
                continue;
            }
            let record = records.iter().find(|record| record.name == instance.name);
            let idle = record
                .filter(|record| !record.keep_awake && !record.isolation.is_strict())
                .map(|record| now().saturating_sub(last_active(self.layout, record)));
            let in_use = busy || record.is_some_and(|record| self.is_in_use(record));
            let pulse = record
                .and_then(|record| Pulse::find(&instance.folder, record.port, self.host.os, self.runner));
            occupants.push(Occupant {
                name: instance.name.clone(),
                bytes: memory_of(&instance.config),
                idle: idle.filter(|_| !in_use && instance.status == Status::Running),
                pulse,
            });
        }
        Ok(occupants)
    }

    /// Whether somebody uses a machine now: by a session, by keys that are held, or by a connection on one of its ports.
    fn is_in_use(&self, record: &MachineRecord) -> bool {
        let ports: Vec<u16> = record.ports.iter().chain(&record.opened).map(|port| port.host).collect();
        !open_sessions(self.layout, &record.name).is_empty()
            || held_until(self.layout, &record.name).is_some()
            || has_connection(&ports, self.host.os, self.runner)
    }

    /// A build or an agent may be at work without a session: who takes as much of the processors or the network as keeps
    /// `machine watch` from a rest is not idle, and neither is who cannot be seen.
    fn leave_out_workers(&self, occupants: &mut [Occupant]) -> Result<()> {
        let look = |occupant: &Occupant| {
            let taken = occupant.pulse.and_then(|pulse| pulse.read(self.runner));
            Look { at: Instant::now(), in_use: false, taken }
        };
        let before: Vec<Look> = occupants.iter().map(look).collect();
        std::thread::sleep(WATCHED);
        self.runner.check_interrupt()?;
        for (occupant, before) in occupants.iter_mut().zip(before) {
            if is_at_work(before, look(occupant)) {
                occupant.idle = None;
            }
        }
        Ok(())
    }

    fn put_aside(&self, occupant: &Occupant, for_whom: &str) -> Result<()> {
        let name = &occupant.name;
        let no_room = |failure: Failure| failure.because(format!("there is no room for `{for_whom}`"));
        let waiting = Waiting { no_wait: true, say: self.say, interrupt: self.runner.interrupt() };
        let _lock = ProjectLock::exclusive(self.layout, name, "sleep", &waiting).map_err(no_room)?;
        let found = self.driver().find(name)?.filter(|instance| instance.status == Status::Running);
        let (Some(instance), Some(record)) = (found, MachineRecord::load(self.layout, name)?) else {
            return Ok(());
        };
        // Who has just arrived wins.
        if self.is_in_use(&record) {
            let failure = Failure::operation(format!("`{name}` is in use again"));
            return Err(no_room(failure.hint("try again: another machine may make room by then")));
        }
        self.sleep(&record, &instance).map_err(no_room)?;
        let idle = in_words(occupant.idle.unwrap_or_default());
        (self.say)(&format!("`{name}`, idle for {idle}, was put to sleep to make room for `{for_whom}`"));
        Ok(())
    }
}

/// Whether a machine was at work from one look to the other.
fn is_at_work(before: Look, after: Look) -> bool {
    let mut idleness = Idleness::new(before.at);
    idleness.note(before);
    idleness.note(after).is_zero()
}

/// What an instance's guest may use, as Lima has it.
fn memory_of(config: &Value) -> u64 {
    config["memory"].as_str().and_then(|text| text.parse::<ByteSize>().ok()).map_or(0, ByteSize::bytes)
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Seconds for people.
fn in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lima::Taken;

    fn chosen(budget: u64, wanted: u64, occupants: &[(&str, u64, Option<u64>)]) -> Result<String, u64> {
        let of = |(name, bytes, idle): &(&str, u64, Option<u64>)| Occupant {
            name: (*name).into(),
            bytes: *bytes,
            idle: *idle,
            pulse: None,
        };
        let chosen = choose(budget, wanted, occupants.iter().map(of).collect())?;
        Ok(chosen.into_iter().map(|one| one.name).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_idlest_makes_room_and_no_more_than_needed_do() {
        let two = [("a", 2, Some(60)), ("b", 2, Some(600))];
        assert_eq!(chosen(4, 2, &two), Ok("b".into()));
        assert_eq!(chosen(6, 2, &two), Ok(String::new()));
        assert_eq!(chosen(4, 4, &two), Ok("b a".into()));
        assert_eq!(chosen(3, 2, &two), Ok("b a".into()));
    }

    #[test]
    fn who_is_in_use_is_never_chosen() {
        let one = [("a", 2, None), ("b", 2, Some(5))];
        assert_eq!(chosen(4, 2, &one), Ok("b".into()));
        assert_eq!(chosen(4, 3, &one), Err(1));
        assert_eq!(chosen(4, 2, &[("a", 4, None)]), Err(2));
    }

    #[test]
    fn a_process_that_takes_or_moves_something_is_at_work() {
        let now = Instant::now();
        let look = |at, milliseconds, bytes| {
            let network = [("uplink".to_string(), bytes)].into();
            let taken = Some(Taken { processor: Duration::from_millis(milliseconds), network });
            Look { at, in_use: false, taken }
        };
        let at_work = |milliseconds: u64, bytes: u64| {
            is_at_work(look(now, 70, 500), look(now + WATCHED, 70 + milliseconds, 500 + bytes))
        };
        assert!(!at_work(200, 300));
        assert!(at_work(800, 0), "a build");
        assert!(at_work(60, 2000), "an agent that is told something");
        let unseen = Look { taken: None, ..look(now, 0, 0) };
        assert!(is_at_work(unseen.clone(), unseen), "what cannot be seen");
    }
}
