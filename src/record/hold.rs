//! A machine for which the agent is held without a session: a file, locked by the process that holds it.
//!
//! Enters: until when. Leaves: a guard, or what others see of it. A file nobody locks holds nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::disk::{self, Lock};
use crate::failure::{Failure, Result};
use crate::layout::Layout;

/// How long a process that holds may take to let go: it looks twice a second.
const LETTING_GO: Duration = Duration::from_secs(5);

/// How often the lock is tried for: somebody who looks holds it for a moment.
const TRIES: u32 = 20;

/// The right to hold; gone when dropped.
#[derive(Debug)]
pub struct Hold {
    lock: Lock,
    layout: Layout,
    machine: String,
}

fn path(layout: &Layout, machine: &str) -> PathBuf {
    layout.machine(machine).join("hold")
}

fn wish(layout: &Layout, machine: &str) -> PathBuf {
    layout.machine(machine).join("hold.release")
}

impl Hold {
    /// Holds until `until`, in seconds since 1970; `None` when somebody else does.
    pub fn take(layout: &Layout, machine: &str, until: u64) -> Result<Option<Self>> {
        disk::remove_file(&wish(layout, machine))?;
        for _ in 0..TRIES {
            if let Ok(lock) = Lock::try_exclusive(&path(layout, machine), &until.to_string())? {
                return Ok(Some(Self { lock, layout: layout.clone(), machine: machine.into() }));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }

    /// Whether somebody wishes it to end, or its machine is gone.
    pub fn is_over(&self) -> bool {
        wish(&self.layout, &self.machine).exists() || !self.lock.path().exists()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // What stays is found unlocked, and means nothing.
        let _ = disk::remove_file(self.lock.path());
        let _ = disk::remove_file(&wish(&self.layout, &self.machine));
    }
}

/// Until when the agent is held for a machine, in seconds since 1970.
pub fn held_until(layout: &Layout, machine: &str) -> Option<u64> {
    let path = path(layout, machine);
    if !path.exists() {
        return None;
    }
    Lock::try_shared(&path).ok()?.err()?.holder.parse().ok()
}

/// Ends a hold; `false` when there was none.
///
/// # Errors
/// When the process that holds does not let go.
pub fn release(layout: &Layout, machine: &str) -> Result<bool> {
    if held_until(layout, machine).is_none() {
        return Ok(false);
    }
    disk::write_atomic(&wish(layout, machine), b"", 0o600)?;
    let deadline = Instant::now() + LETTING_GO;
    while held_until(layout, machine).is_some() {
        if Instant::now() > deadline {
            return Err(Failure::operation(format!(
                "the process that holds the keys of `{machine}` does not let go"
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_seen_and_ends_on_a_wish() {
        let home = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(home.path(), |_| None);
        assert!(!release(&layout, "blog").expect("nothing held"));
        disk::ensure_private_folder(&layout.machine("blog")).expect("a folder");
        let hold = Hold::take(&layout, "blog", 77).expect("taken").expect("free");
        assert_eq!(held_until(&layout, "blog"), Some(77));
        assert!(Hold::take(&layout, "blog", 78).expect("looked").is_none());
        assert!(!hold.is_over());
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(release(&layout, "blog").expect("released")));
            while !hold.is_over() {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(hold);
        });
        assert_eq!(held_until(&layout, "blog"), None);
        disk::write_atomic(&path(&layout, "blog"), b"99", 0o600).expect("left behind");
        assert_eq!(held_until(&layout, "blog"), None);
    }
}
