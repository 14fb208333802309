//! Sleeping and waking as a machine's own business: what its guest has to do around it, and what is remembered.
//!
//! Enters: a record, an instance. Leaves: a machine that sleeps, or answers again. A sleep that cannot be waked from is a
//! cold boot, and is said.

use std::time::{Duration, SystemTime};

use super::Site;
use crate::failure::{Context, Failure, Result};
use crate::guest::{AFTER_WAKE, BEFORE_SLEEP, BEFORE_SLEEP_LINE, after_wake_line};
use crate::lima::{Image, Instance, Note, Started, Woken};
use crate::record::{Filled, HostAgent, MachineRecord};
use crate::ssh::{Attempt, Road};

/// How long the guest may take to write out what it has not written yet.
const SYNC: Duration = Duration::from_secs(60);
const WAKE: Duration = Duration::from_secs(60);

impl Site<'_> {
    /// Writes a running machine's memory to the disk and stops it; the image's size in bytes.
    ///
    /// # Errors
    /// When it may not sleep, or the guest or QEMU cannot: it goes on running then.
    pub fn sleep(&self, record: &MachineRecord, instance: &Instance) -> Result<u64> {
        self.driver().check_sleep(&record.name, record.isolation)?;
        if record.clears_freed && record.kernel.is_none() {
            return Err(Failure::operation(format!(
                "`{}` has secrets, and its kernel cannot be told to clear memory that is freed: it is booted by its own firmware",
                record.name
            ))
            .hint(format!("`machine down {}` gives the memory back as well; the next start is a cold one", record.name)));
        }
        let road = self.road(record);
        road.prepare()?;
        if let Attempt::NotYet(words) = road.open(self.runner)? {
            let failure = Failure::operation(words);
            return Err(
                failure.because(format!("`{}` does not answer, so it cannot fall asleep", record.name))
            );
        }
        // Whatever it comes to, the next session looks whether its secrets are still there.
        let had_secrets = Filled::doubt(self.layout, &record.name)?;
        self.fall_asleep(record, instance, &road, had_secrets).inspect_err(|_| self.bring_back(record, &road))
    }

    fn fall_asleep(
        &self,
        record: &MachineRecord,
        instance: &Instance,
        road: &Road,
        had_secrets: bool,
    ) -> Result<u64> {
        let prepare = road.exec_root(BEFORE_SLEEP_LINE).input(BEFORE_SLEEP).time_limit(SYNC);
        let prepared = self.runner.read(&prepare);
        prepared.because(|| format!("the guest of `{}` could not prepare for sleep", record.name))?;
        road.close(self.runner);
        self.driver().suspend(instance, record, is_ready(record, instance)).map_err(|failure| {
            if !had_secrets {
                return failure;
            }
            let name = &record.name;
            failure.hint(format!(
                "its secrets were removed for that: the next `ssh` or `run` fills them, or `machine secrets {name}`"
            ))
        })
    }

    /// Leads the ports of a machine that goes on running into it again: Lima's connection, which held them, was ended for
    /// the sleep. The next session tries again where that fails.
    fn bring_back(&self, record: &MachineRecord, road: &Road) {
        if (record.ports.is_empty() && record.opened.is_empty())
            || !matches!(road.open(self.runner), Ok(Attempt::Connected))
        {
            return;
        }
        for failure in self.revive_ports(record) {
            (self.say)(&format!("a port of `{}` is lost: {:#}", record.name, failure.error));
        }
    }

    /// The commands that [`Self::sleep`] runs, a line each.
    pub fn sleep_commands(&self, record: &MachineRecord) -> String {
        let road = self.road(record);
        let image = Image::of(&self.layout.instance(&record.name));
        [
            road.open_command().to_string(),
            road.exec_root(BEFORE_SLEEP_LINE).to_string(),
            format!(
                "# QEMU writes its memory into `{}`, packed and encrypted, and ends",
                image.memory().display()
            ),
        ]
        .join("\n")
    }

    /// Wakes a stopped machine that sleeps; `None` when it does not, or has to boot cold, which is said.
    pub(super) fn wake(&self, record: &mut MachineRecord, road: &Road) -> Result<Option<Started>> {
        let image = Image::of(&self.layout.instance(&record.name));
        let name = record.name.clone();
        let cold = |why: &str| (self.say)(&format!("`{name}` boots cold: {why}"));
        let Some(note) = image.read_note() else {
            if image.is_left() {
                cold("its sleep was cut off");
                image.discard(self.layout, &record.uuid)?;
            }
            return Ok(None);
        };
        let as_it_slept = record.clone();
        match self.driver().wake(record, &note, road, &self.acceleration(&as_it_slept))? {
            Woken::Up(started) => {
                self.after_wake(record, road, &note);
                Ok(Some(started))
            }
            Woken::Cold(why) => {
                cold(&why);
                Ok(None)
            }
        }
    }

    fn after_wake(&self, record: &mut MachineRecord, road: &Road, note: &Note) {
        self.tell_time(record, road);
        // Nothing in it was stopped, so what was finished is finished still.
        let agent = HostAgent::named(&self.layout.instance(&record.name)).filter(|_| note.was_ready);
        if let (Some(ready), Some(agent)) = (&mut record.ready, agent) {
            ready.host_agent = agent;
        }
    }

    /// Tells a guest that stood still what has changed outside.
    pub(super) fn tell_time(&self, record: &MachineRecord, road: &Road) {
        let line = after_wake_line(SystemTime::now());
        if let Err(failure) = self.runner.read(&road.exec_root(&line).input(AFTER_WAKE).time_limit(WAKE)) {
            (self.say)(&format!("the clock of `{}` could not be set: {:#}", record.name, failure.error));
        }
    }
}

/// Whether everything was finished for the boot that runs.
fn is_ready(record: &MachineRecord, instance: &Instance) -> bool {
    let runs = instance.host_agent_pid.and_then(|pid| HostAgent::read(&instance.folder, pid));
    record.ready.as_ref().is_some_and(|ready| Some(&ready.host_agent) == runs.as_ref())
}
