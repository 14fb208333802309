//! Stopping an instance without ever killing a process that is not its own.
//!
//! Enters: an instance as listed. Leaves: one that does not run. Lima's `stop -f` and `delete -f` send SIGKILL to
//! whatever owns the pids in the folder by now, so those are looked at first.

use std::path::Path;
use std::time::{Duration, Instant};

use super::driver::{Driver, explain};
use super::list::{Instance, Status};
use super::starting;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::process::{Identity, has_ended_within};

/// How long a guest may take to shut down. One that has not answered yet may not listen to the power button.
const PATIENCE: Duration = Duration::from_secs(90);
const PATIENCE_UNANSWERED: Duration = Duration::from_secs(15);
/// How long processes may take to end that were told to.
const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked whether the user interrupts.
const LOOK: Duration = Duration::from_millis(100);

impl Driver<'_> {
    /// Shuts the guest down and waits for its processes to end; by force when it does not listen.
    pub fn stop(&self, instance: &Instance, has_answered: bool) -> Result<()> {
        starting::end_start(self.layout, self.runner, &instance.name);
        let patience = if has_answered { PATIENCE } else { PATIENCE_UNANSWERED };
        if instance.status == Status::Stopped {
            return Ok(());
        }
        if instance.status == Status::Running
            && self.runner.run(&self.limactl.stop(&instance.name).time_limit(patience)).is_ok()
        {
            return Ok(());
        }
        self.runner.check_interrupt()?;
        self.stop_forcibly(instance)
    }

    /// Shuts the guest down, and takes nothing but that: a disk that was not unmounted is none to copy.
    ///
    /// # Errors
    /// When it does not shut down within `limit`; it may run on then.
    pub fn stop_cleanly(&self, name: &str, limit: Duration) -> Result<()> {
        starting::end_start(self.layout, self.runner, name);
        self.runner.run(&self.limactl.stop(name).time_limit(limit)).map_err(explain)
    }

    /// Ends what is left of an instance: only processes that are provably its own.
    pub fn stop_forcibly(&self, instance: &Instance) -> Result<()> {
        starting::end_start(self.layout, self.runner, &instance.name);
        for file in ["ha.pid", "qemu.pid", "vz.pid"] {
            self.drop_stale_pid(&instance.folder.join(file), instance)?;
        }
        self.runner.run(&self.limactl.stop_forcibly(&instance.name)).map_err(explain)?;
        self.wait_until_gone(instance, GRACE)
    }

    /// Removes a pid file whose process is somebody else's.
    fn drop_stale_pid(&self, file: &Path, instance: &Instance) -> Result<()> {
        let text = disk::read_text_if_there(file)?.unwrap_or_default();
        let Ok(pid) = text.trim().parse::<i32>() else { return Ok(()) };
        match Identity::of(pid, self.runner) {
            Some(identity) if belongs_to(&identity.command, instance) => Ok(()),
            _ => disk::remove_file(file),
        }
    }

    pub(super) fn wait_until_gone(&self, instance: &Instance, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let pids = [instance.host_agent_pid, instance.driver_pid];
        pids.into_iter().flatten().try_for_each(|pid| self.wait_for_end(pid, instance, deadline))
    }

    fn wait_for_end(&self, pid: i32, instance: &Instance, deadline: Instant) -> Result<()> {
        let lives = |identity: Identity| belongs_to(&identity.command, instance);
        while Identity::of(pid, self.runner).is_some_and(lives) {
            if Instant::now() > deadline {
                let name = &instance.name;
                return Err(Failure::operation(format!("process {pid} of `{name}` does not end")));
            }
            self.runner.check_interrupt()?;
            has_ended_within(pid, LOOK);
        }
        Ok(())
    }
}

/// Whether a command line is that of this instance's host agent or driver: both name its folder.
pub(super) fn belongs_to(command: &str, instance: &Instance) -> bool {
    names_instance(command, &instance.folder)
}

/// As [`belongs_to`], by the instance's folder.
pub(super) fn names_instance(command: &str, folder: &Path) -> bool {
    folder.is_absolute() && command.contains(&format!("{}/", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_somebody_elses() {
        let instance = Instance {
            name: "blog".into(),
            status: Status::Broken,
            folder: "/l/blog".into(),
            host_agent_pid: Some(1),
            driver_pid: None,
            errors: Vec::new(),
            config: serde_json::Value::Null,
        };
        assert!(belongs_to(
            "/usr/bin/limactl hostagent --pidfile /l/blog/ha.pid --socket /l/blog/ha.sock blog",
            &instance
        ));
        assert!(belongs_to("qemu-system-x86_64 -m 4096 -pidfile /l/blog/qemu.pid", &instance));
        assert!(!belongs_to("vim /l/blog2/notes", &instance));
        assert!(!belongs_to("/usr/sbin/sshd -D", &instance));
    }
}
