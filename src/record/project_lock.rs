//! One changing verb at a time for each project; the one that waits says for whom.
//!
//! Enters: a project and a verb. Leaves: a lock, or the failure with exit code 4.

use std::path::PathBuf;
use std::time::Duration;

use crate::disk::{self, Held, Lock};
use crate::failure::{Failure, Kind, Result};
use crate::layout::Layout;
use crate::process::Interrupt;

/// What to do when somebody else holds the project.
pub struct Waiting<'a> {
    /// `--no-wait`: fail at once.
    pub no_wait: bool,
    /// Told once, with a sentence that names the holder.
    pub say: &'a dyn Fn(&str),
    /// Ends the wait.
    pub interrupt: &'a Interrupt,
}

/// The lock of one project.
#[derive(Debug)]
pub struct ProjectLock {
    _lock: Lock,
}

impl ProjectLock {
    /// Waits to be the only verb at work on the project.
    pub fn exclusive(layout: &Layout, project: &str, verb: &str, waiting: &Waiting) -> Result<Self> {
        let path = path(layout, project)?;
        let label = format!("machine {verb} {project} (process {})", std::process::id());
        wait(project, waiting, || Lock::try_exclusive(&path, &label))
    }

    /// Whether a verb is changing the project just now.
    pub fn is_taken(layout: &Layout, project: &str) -> bool {
        // A lock that cannot be looked at is nobody's.
        path(layout, project).and_then(|path| Lock::try_shared(&path)).is_ok_and(|taken| taken.is_err())
    }

    /// Waits until no verb is changing the project; others may hold it like this at the same time.
    pub fn shared(layout: &Layout, project: &str, waiting: &Waiting) -> Result<Self> {
        let path = path(layout, project)?;
        wait(project, waiting, || Lock::try_shared(&path))
    }
}

fn path(layout: &Layout, project: &str) -> Result<PathBuf> {
    // Outside the machine's folder, which `destroy` removes while it holds the lock.
    let folder = layout.state.join("locks");
    disk::ensure_private_folder(&folder)?;
    Ok(folder.join(project))
}

fn wait(
    project: &str,
    waiting: &Waiting,
    take: impl Fn() -> Result<Result<Lock, Held>>,
) -> Result<ProjectLock> {
    let mut told = false;
    loop {
        let held = match take()? {
            Ok(lock) => return Ok(ProjectLock { _lock: lock }),
            Err(held) => held,
        };
        if waiting.no_wait {
            return Err(Failure::new(
                Kind::Busy,
                format!("`{project}` is busy: `{}` is at work on it", held.holder),
            )
            .hint("leave `--no-wait` out to wait for it"));
        }
        if !told {
            (waiting.say)(&format!("waiting for `{}`", held.holder));
            told = true;
        }
        if waiting.interrupt.is_asked() {
            return Err(Failure::interrupted());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_second_says_for_whom_it_waits_or_gives_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path(), |_| None);
        let interrupt = Interrupt::default();
        let said = RefCell::new(String::new());
        let say = |text: &str| said.borrow_mut().push_str(text);
        let no_wait = Waiting { no_wait: true, say: &say, interrupt: &interrupt };
        let first = ProjectLock::exclusive(&layout, "blog", "up", &no_wait).expect("free");
        let failure = ProjectLock::shared(&layout, "blog", &no_wait).expect_err("busy");
        assert_eq!(failure.kind, Kind::Busy);
        assert!(failure.error.to_string().contains("machine up blog"), "{failure:?}");
        assert!(ProjectLock::is_taken(&layout, "blog"));
        drop(first);
        assert!(!ProjectLock::is_taken(&layout, "blog"));
        let one = ProjectLock::shared(&layout, "blog", &no_wait).expect("free");
        assert!(ProjectLock::shared(&layout, "blog", &no_wait).is_ok());
        drop(one);
        assert!(ProjectLock::exclusive(&layout, "blog", "down", &no_wait).is_ok());
        assert_eq!(said.into_inner(), "");
    }
}
