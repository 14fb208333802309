//! Waits for a guest to be there: by listening to its console, not by knocking at its door.
//!
//! Enters: the instance's folder, the child that starts it, a way to try a connection. Leaves: how the wait ended.
//! OpenSSH 9.8 and later punish an address that knocks without a key; QEMU's user network delivers queued knocks all
//! at once. So the guest's ssh unit writes a line to its console, and only then somebody connects.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk;
use crate::failure::Result;
use crate::process::Runner;

/// What the guest's ssh unit prints once it listens; templates/guest/host-key.sh.
const UP: &str = "MACHINE-SSHD-UP";
/// What a box prints when its network is there and sshd comes next; templates/guest/machine-boot.sh.
const NEXT: &str = "MACHINE-SSHD-NEXT";
/// What a kernel prints as its last words (kernel/panic.c).
const PANIC: &str = "Kernel panic - not syncing";
/// Consoles that Lima's drivers log: the serial port, PCI's on ARM, virtio's.
const CONSOLES: [&str; 3] = ["serial.log", "serialp.log", "serialv.log"];
/// How much of a console is read: the marker stands near its end.
const TAIL_BYTES: u64 = 256 * 1024;
/// How often the console is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often a guest is tried that has printed no marker: its console may lead elsewhere.
const KNOCK_EVERY: Duration = Duration::from_secs(5);
/// How often a box is tried whose sshd comes next, and for how long: its kernel answers for it, and nobody is punished.
const EAGER_EVERY: Duration = Duration::from_millis(200);
const EAGER_FOR: Duration = Duration::from_secs(60);

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Boot {
    /// Connected.
    Ready,
    /// `limactl start` ended with an error.
    StartFailed,
    /// The guest's kernel gave up. Software emulation of several processors makes it do so once in some hundred boots.
    Panicked,
    /// Nothing at all on the console for this long.
    Silent,
    /// The deadline passed.
    TimedOut,
}

/// How long to be patient.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the guest must be connected.
    pub boot: Duration,
    /// Until it must have printed anything; `None` where silence means nothing.
    pub silence: Option<Duration>,
    /// Until it is tried although it has printed no marker. A knock that comes too early is delivered late, and held
    /// against whoever knocks next.
    pub knock_after: Duration,
}

/// Waits until `connect` says true. `start_failed` says whether `limactl start` has ended badly.
pub fn wait_for_guest(
    instance: &Path,
    patience: Patience,
    runner: &Runner,
    start_failed: &mut dyn FnMut() -> Result<bool>,
    connect: &mut dyn FnMut() -> Result<bool>,
) -> Result<Boot> {
    let started = Instant::now();
    let (mut seen, mut called, mut last_knock) = (0, started, started);
    loop {
        runner.check_interrupt()?;
        let console = console_tail(instance);
        let markers = console.matches(UP).count() + console.matches(NEXT).count();
        let is_new = markers > seen;
        if is_new {
            (seen, called) = (markers, Instant::now());
        }
        let knock = started.elapsed() > patience.knock_after && last_knock.elapsed() > KNOCK_EVERY;
        let retry = markers > 0 && last_knock.elapsed() > pace(&console, called.elapsed());
        if is_new || retry || knock {
            last_knock = Instant::now();
            if connect()? {
                return Ok(Boot::Ready);
            }
        }
        if start_failed()? {
            return Ok(Boot::StartFailed);
        }
        if console.contains(PANIC) {
            return Ok(Boot::Panicked);
        }
        if patience.silence.is_some_and(|limit| started.elapsed() > limit) && console.trim().is_empty() {
            return Ok(Boot::Silent);
        }
        if started.elapsed() > patience.boot {
            return Ok(Boot::TimedOut);
        }
        std::thread::sleep(LOOK);
    }
}

/// How long to wait between two tries of a guest that has called, so long ago.
fn pace(console: &str, called: Duration) -> Duration {
    if console.rfind(NEXT) > console.rfind(UP) && called < EAGER_FOR {
        return EAGER_EVERY;
    }
    // After this marker a connection succeeds; one that does not is repeated at the pace sshd forgives.
    KNOCK_EVERY / 2
}

/// The end of what the guest printed, on whichever console.
pub fn console_tail(instance: &Path) -> String {
    CONSOLES.map(|name| disk::read_tail(&instance.join(name), TAIL_BYTES)).concat()
}

/// The last lines of the console, for an error message.
pub fn console_lines(instance: &Path, count: usize) -> Vec<String> {
    let tail = console_tail(instance);
    let lines: Vec<&str> = tail.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Interrupt;

    const PATIENCE: Patience =
        Patience { boot: Duration::from_millis(400), silence: None, knock_after: Duration::from_secs(60) };

    fn runner() -> Runner {
        Runner::new(Vec::new(), Interrupt::default(), None)
    }

    #[test]
    fn nobody_knocks_before_the_marker() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut knocks = 0;
        let boot = wait_for_guest(folder.path(), PATIENCE, &runner(), &mut || Ok(false), &mut || {
            knocks += 1;
            Ok(true)
        });
        assert_eq!((boot.expect("waited"), knocks), (Boot::TimedOut, 0));
        disk::write_atomic(&folder.path().join("serialv.log"), b"[ 1.0] MACHINE-SSHD-UP\r\n", 0o600)
            .expect("written");
        let boot = wait_for_guest(folder.path(), PATIENCE, &runner(), &mut || Ok(false), &mut || {
            knocks += 1;
            Ok(true)
        });
        assert_eq!((boot.expect("waited"), knocks), (Boot::Ready, 1));
    }

    #[test]
    fn a_failed_start_a_panic_and_silence_end_the_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let failed = wait_for_guest(folder.path(), PATIENCE, &runner(), &mut || Ok(true), &mut || Ok(false));
        assert_eq!(failed.expect("waited"), Boot::StartFailed);
        let console = folder.path().join("serial.log");
        let last_words = b"[ 2.5] Kernel panic - not syncing: Fatal exception in interrupt\r\n";
        disk::write_atomic(&console, last_words, 0o600).expect("written");
        let over = wait_for_guest(folder.path(), PATIENCE, &runner(), &mut || Ok(false), &mut || Ok(false));
        assert_eq!(over.expect("waited"), Boot::Panicked);
        disk::remove_file(&console).expect("removed");
        let patience = Patience { silence: Some(Duration::from_millis(150)), ..PATIENCE };
        let silent = wait_for_guest(folder.path(), patience, &runner(), &mut || Ok(false), &mut || Ok(false));
        assert_eq!(silent.expect("waited"), Boot::Silent);
    }
}
