//! Which sessions are open on a machine: a file each, locked for as long as its process lives.
//!
//! Enters: a verb. Leaves: a guard, or the list of the others. A file nobody locks belongs to nobody and is removed.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::MachineRecord;
use crate::disk::{self, Lock};
use crate::failure::Result;
use crate::layout::Layout;

/// This process's own session; gone when dropped.
#[derive(Debug)]
pub struct Session {
    lock: Lock,
}

/// Somebody's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Such as `machine ssh (process 4711)`.
    pub label: String,
    /// Whether it is a connection by which nothing but signs of life have come for a while.
    pub is_quiet: bool,
}

/// The verb whose sessions note when they carry something.
pub const CONNECT: &str = "connect";
/// After how long without that such a session is quiet.
const QUIET: Duration = Duration::from_secs(60);

fn folder(layout: &Layout, machine: &str) -> PathBuf {
    layout.machine(machine).join("sessions")
}

impl Session {
    /// Registers a session of `verb`.
    pub fn open(layout: &Layout, machine: &str, verb: &str) -> Result<Self> {
        let folder = folder(layout, machine);
        disk::ensure_private_folder(&folder)?;
        let pid = std::process::id();
        let path = folder.join(pid.to_string());
        let label = format!("machine {verb} {machine} (process {pid})");
        loop {
            // Somebody who lists sessions may hold the lock for a moment.
            if let Ok(lock) = Lock::try_exclusive(&path, &label)? {
                return Ok(Self { lock });
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Notes that it carries something just now.
    pub fn note_use(&self) {
        // Without the note it looks quiet sooner than it is, where that matters at all.
        let _ = self.lock.set_time(SystemTime::now());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A file that stays is found unlocked, and removed by whoever lists next.
        let _ = disk::remove_file(self.lock.path());
    }
}

/// When a machine was used last, in seconds since 1970: by a command, or by a session as it began or ended, which is when
/// its file came and went.
pub fn last_used(layout: &Layout, record: &MachineRecord) -> u64 {
    let changed = std::fs::metadata(folder(layout, &record.name)).and_then(|metadata| metadata.modified());
    let changed = changed.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    record.last_used.max(changed.unwrap_or_default().as_secs())
}

/// Lists the sessions that are open.
pub fn open_sessions(layout: &Layout, machine: &str) -> Vec<OpenSession> {
    let folder = folder(layout, machine);
    let mut open = Vec::new();
    for name in disk::names_in(&folder) {
        let path = folder.join(name);
        match Lock::try_shared(&path) {
            Ok(Ok(_unused)) => drop(disk::remove_file(&path)),
            Ok(Err(held)) => {
                let is_quiet = held.holder.starts_with(&format!("machine {CONNECT} ")) && is_quiet(&path);
                open.push(OpenSession { label: held.holder, is_quiet });
            }
            Err(_) => {}
        }
    }
    open
}

fn is_quiet(session: &Path) -> bool {
    let noted = std::fs::metadata(session).and_then(|metadata| metadata.modified());
    noted.is_ok_and(|time| time.elapsed().is_ok_and(|passed| passed > QUIET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_carries_nothing_is_quiet() {
        let home = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(home.path(), |_| None);
        let is_quiet = || open_sessions(&layout, "blog").iter().map(|one| one.is_quiet).collect::<Vec<_>>();
        let long_ago = SystemTime::now() - 2 * QUIET;
        let ssh = Session::open(&layout, "blog", "ssh").expect("opened");
        ssh.lock.set_time(long_ago).expect("set");
        assert_eq!(is_quiet(), [false]);
        drop(ssh);
        let connect = Session::open(&layout, "blog", CONNECT).expect("opened");
        assert_eq!(is_quiet(), [false]);
        connect.lock.set_time(long_ago).expect("set");
        assert_eq!(is_quiet(), [true]);
        connect.note_use();
        assert_eq!(is_quiet(), [false]);
    }

    #[test]
    fn open_ones_are_listed_and_left_ones_removed() {
        let home = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(home.path(), |_| None);
        assert!(open_sessions(&layout, "blog").is_empty());
        let session = Session::open(&layout, "blog", "ssh").expect("opened");
        let stale = folder(&layout, "blog").join("1");
        disk::write_atomic(&stale, b"machine run blog (process 1)", 0o600).expect("written");
        let open = open_sessions(&layout, "blog");
        assert_eq!(open.len(), 1);
        assert!(open[0].label.starts_with("machine ssh blog (process "));
        assert!(!stale.exists());
        let record = MachineRecord::blank("blog");
        let opened = last_used(&layout, &record);
        assert!(opened > 0 && opened >= record.last_used);
        assert_eq!(last_used(&layout, &MachineRecord { last_used: opened + 9, ..record }), opened + 9);
        drop(session);
        assert!(open_sessions(&layout, "blog").is_empty());
        assert!(disk::names_in(&folder(&layout, "blog")).is_empty());
    }
}
