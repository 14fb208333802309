//! Who watches over a machine that is to rest when it is idle, and since when it is: one file, locked by the watcher.
//!
//! Enters: a boot, a span of time. Leaves: a guard, or what others see. The file's time of change is the last moment at
//! which somebody or something was seen at work; it stays when the watcher is gone.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{HostAgent, MachineRecord, last_used};
use crate::disk::Lock;
use crate::failure::Result;
use crate::layout::Layout;

/// How long the watcher of an earlier boot may take to end.
const TURNS: u32 = 100;
const TURN: Duration = Duration::from_millis(50);
/// Smaller differences are not worth a write.
const FINE: Duration = Duration::from_secs(1);

/// The right to watch; gone when dropped.
#[derive(Debug)]
pub struct Watch {
    lock: Lock,
}

fn path(layout: &Layout, machine: &str) -> PathBuf {
    layout.machine(machine).join("watch")
}

fn label(boot: &HostAgent) -> String {
    format!("{} {}", boot.pid, boot.since)
}

impl Watch {
    /// Takes the right to watch over a boot; `None` when somebody does already, or one of an earlier boot does not end.
    pub fn take(layout: &Layout, machine: &str, boot: &HostAgent) -> Result<Option<Self>> {
        for _ in 0..TURNS {
            // Somebody who looks holds the lock for a moment, under no name.
            match Lock::try_exclusive(&path(layout, machine), &label(boot))? {
                Ok(lock) => return Ok(Some(Self { lock })),
                Err(_) if is_watched(layout, machine, boot) => return Ok(None),
                Err(_) => std::thread::sleep(TURN),
            }
        }
        Ok(None)
    }

    /// Notes for how long the machine has been idle. Time in which the computer slept is not part of that, so the moment
    /// moves with it.
    pub fn note(&self, idle: Duration) {
        let since = SystemTime::now() - idle;
        let noted = std::fs::metadata(self.lock.path()).and_then(|metadata| metadata.modified());
        let apart = |noted: SystemTime| since.duration_since(noted).unwrap_or_else(|cause| cause.duration());
        if noted.is_ok_and(|noted| apart(noted) > FINE) {
            // It is only shown.
            let _ = self.lock.set_time(since);
        }
    }
}

/// Whether somebody watches over this boot of a machine.
pub fn is_watched(layout: &Layout, machine: &str, boot: &HostAgent) -> bool {
    let held = Lock::try_shared(&path(layout, machine)).ok().and_then(Result::err);
    held.is_some_and(|held| held.holder == label(boot))
}

/// When somebody or something was last seen at work in a machine, in seconds since 1970.
pub fn last_active(layout: &Layout, record: &MachineRecord) -> u64 {
    let noted = std::fs::metadata(path(layout, &record.name)).and_then(|metadata| metadata.modified());
    let noted = noted.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    last_used(layout, record).max(noted.unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;

    #[test]
    fn one_watches_over_a_boot_and_notes_since_when_it_is_idle() {
        let home = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(home.path(), |_| None);
        disk::ensure_private_folder(&layout.machine("blog")).expect("a folder");
        let boot = HostAgent { pid: 7, since: 1 };
        assert!(!is_watched(&layout, "blog", &boot));
        let watch = Watch::take(&layout, "blog", &boot).expect("looked").expect("free");
        assert!(is_watched(&layout, "blog", &boot));
        assert!(!is_watched(&layout, "blog", &HostAgent { pid: 7, since: 2 }));
        assert!(Watch::take(&layout, "blog", &boot).expect("looked").is_none());
        let record = MachineRecord::blank("blog");
        let now = last_active(&layout, &record);
        watch.note(Duration::from_secs(600));
        let idle = now - last_active(&layout, &record);
        assert!((599..=601).contains(&idle), "{idle}");
        watch.note(Duration::ZERO);
        assert!(last_active(&layout, &record) >= now);
        drop(watch);
        assert!(!is_watched(&layout, "blog", &boot));
        assert!(Watch::take(&layout, "blog", &HostAgent { pid: 8, since: 3 }).expect("looked").is_some());
    }
}
