//! Starting an instance: `limactl start` is left to finish by itself, we go on as soon as our own ssh works.
//!
//! Enters: an instance that is stopped, its road. Leaves: a guest that answers, or the reason with its console's end.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boot::{Boot, Patience, console_lines, wait_for_guest};
use super::driver::{Driver, log_message};
use super::launcher::{self, Choice, Enclosure, Engine, Launch, Verdict};
use super::stopping::names_instance;
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::layout::Layout;
use crate::model::{HostOs, Openings};
use crate::process::{Identity, Runner, terminate_verified};
use crate::ssh::{Attempt, Road};

/// A boot under hardware virtualisation takes seconds, under emulation minutes.
const BOOT_PATIENCE: Duration = Duration::from_secs(240);
const BOOT_PATIENCE_EMULATED: Duration = Duration::from_secs(1200);
/// When a guest is tried that has not said on its console that it listens.
const KNOCK_AFTER: Duration = Duration::from_secs(60);
const KNOCK_AFTER_EMULATED: Duration = Duration::from_secs(300);
/// A kernel that KVM can run prints within a second or two.
const SILENCE: Duration = Duration::from_secs(20);

/// A guest that was started and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// What runs it; `None` on hosts where Lima decides.
    pub engine: Option<Engine>,
    /// Where it began.
    pub begin: Begin,
}

/// Where a guest that was started began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With its kernel.
    Boot,
    /// Where it fell asleep.
    Woke,
    /// Where a warm box was kept.
    Warm,
}

/// How QEMU is to be accelerated, and where to learn what happened before.
pub struct Acceleration<'a> {
    /// The setting.
    pub choice: Choice,
    /// This program, for the launcher's link.
    pub binary: &'a Path,
    /// What of this computer and its networks the guest may reach.
    pub openings: &'a Openings,
    /// Whether the guest's kernel is to clear memory that is freed.
    pub clears_freed: bool,
    /// Told once when it is not the fast way, or cannot be enclosed.
    pub say: &'a dyn Fn(&str),
}

/// The `limactl start` that was left running.
#[derive(Debug, Serialize, Deserialize)]
struct Running {
    pid: i32,
    started: String,
    command: String,
}

impl Driver<'_> {
    /// Starts an instance and waits until `road` is open.
    ///
    /// # Errors
    /// When it does not come up: with the last lines of Lima's log or of the guest's console. It is stopped then.
    pub fn start(&self, name: &str, road: &Road, acceleration: &Acceleration) -> Result<Started> {
        end_start(self.layout, self.runner, name);
        let engine = self.prepare_launcher(name, acceleration, None)?;
        let first = match self.start_once(name, road, engine) {
            Err(trouble) if trouble.panicked => {
                (acceleration.say)("the guest's kernel panicked while booting: starting it once more");
                self.start_once(name, road, engine)
            }
            outcome => outcome,
        };
        match first {
            Err(trouble) if trouble.blames_kvm && acceleration.choice == Choice::Auto => {
                (acceleration.say)(
                    "KVM does not boot this machine here: trying software emulation, many times slower",
                );
                self.remember_hang()?;
                self.change_launch(name, |launch| launch.engine = Engine::Tcg)?;
                self.start_once(name, road, Some(Engine::Tcg)).map_err(|trouble| trouble.failure)
            }
            outcome => outcome.map_err(|trouble| trouble.failure),
        }
    }

    /// Waits until an instance that Lima already runs answers on `road`.
    ///
    /// # Errors
    /// When it does not in time. It goes on running: somebody else may be at work in it.
    pub fn wait(&self, name: &str, road: &Road) -> Result<()> {
        let folder = self.layout.instance(name);
        let patience = Patience { boot: BOOT_PATIENCE, silence: None, knock_after: KNOCK_AFTER / 6 };
        let mut last_words = String::new();
        let mut connect = || match road.open(self.runner)? {
            Attempt::Connected => Ok(true),
            Attempt::NotYet(words) => {
                last_words = words;
                Ok(false)
            }
        };
        let boot = wait_for_guest(&folder, patience, self.runner, &mut || Ok(false), &mut connect)?;
        if boot == Boot::Ready {
            return Ok(());
        }
        let failure = self.describe(name, &folder, &boot, &last_words, patience.boot);
        Err(Failure {
            hints: vec![format!("restart it: `machine down {name} && machine up {name}`")],
            ..failure
        })
    }

    /// Nobody reaches an enclosed guest whose helper was killed: another one takes over. Says whether that was so.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn keep_network(&self, name: &str, road: &Road) -> Result<bool> {
        let folder = self.layout.instance(name);
        let Some(qemu) = self.running_qemu(&folder).filter(|_| self.host.os == HostOs::Linux) else {
            return Ok(false);
        };
        let link = launcher::link(&self.layout.launcher(), self.host.arch);
        launcher::keep_enclosed(&link, &folder, qemu, road.port, self.runner)
    }

    fn running_qemu(&self, folder: &Path) -> Option<i32> {
        let text = disk::read_text_if_there(&folder.join("qemu.pid")).ok()??;
        let identity = Identity::of(text.trim().parse().ok()?, self.runner)?;
        names_instance(&identity.command, folder).then_some(identity.pid)
    }

    fn start_once(&self, name: &str, road: &Road, engine: Option<Engine>) -> Result<Started, Trouble> {
        let folder = self.layout.instance(name);
        for console in ["serial.log", "serialp.log", "serialv.log"] {
            disk::remove_file(&folder.join(console))?;
        }
        let emulated = engine == Some(Engine::Tcg);
        let patience = Patience {
            boot: if emulated { BOOT_PATIENCE_EMULATED } else { BOOT_PATIENCE },
            silence: (engine == Some(Engine::Kvm)).then_some(SILENCE),
            knock_after: if emulated { KNOCK_AFTER_EMULATED } else { KNOCK_AFTER },
        };
        let mut child = self.spawn_start(name)?;
        let mut last_words = String::new();
        let mut start_failed = || failed(&mut child);
        let mut connect = || match road.open(self.runner)? {
            Attempt::Connected => Ok(true),
            Attempt::NotYet(words) => {
                last_words = words;
                self.keep_network(name, road)?;
                Ok(false)
            }
        };
        let waited = wait_for_guest(&folder, patience, self.runner, &mut start_failed, &mut connect);
        let boot = match waited {
            Ok(Boot::Ready) => return Ok(Started { engine, begin: Begin::Boot }),
            Ok(boot) => boot,
            Err(failure) => return Err(failure.into()),
        };
        let blames_kvm = engine == Some(Engine::Kvm) && self.kvm_is_to_blame(name, &folder, &boot);
        let failure = self.describe(name, &folder, &boot, &last_words, patience.boot);
        self.stop_left_over(name)?;
        Err(Trouble { failure, blames_kvm, panicked: boot == Boot::Panicked })
    }

    /// Whether the guest never came to print anything: the processor hangs, or QEMU gave up on it.
    fn kvm_is_to_blame(&self, name: &str, folder: &Path, boot: &Boot) -> bool {
        let died =
            || disk::read_tail(&start_log(self.layout, name), 16_384).contains("Driver stopped due to error");
        console_lines(folder, 1).is_empty() && (*boot == Boot::Silent || died())
    }

    pub(super) fn spawn_start(&self, name: &str) -> Result<Child> {
        let log = start_log(self.layout, name);
        disk::remove_file(&log)?;
        let child = self.runner.detach(&self.limactl.start(name), &disk::open_log(&log)?)?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        if let Some(identity) = Identity::of(pid, self.runner) {
            let running = Running { pid, started: identity.started, command: identity.command };
            let text = serde_json::to_vec(&running).unwrap_or_default();
            disk::write_atomic(&start_file(self.layout, name), &text, 0o600)?;
        }
        Ok(child)
    }

    fn describe(
        &self,
        name: &str,
        folder: &Path,
        boot: &Boot,
        last_words: &str,
        patience: Duration,
    ) -> Failure {
        let log = start_log(self.layout, name);
        if *boot == Boot::StartFailed {
            let words: Vec<String> = disk::read_tail(&log, 16_384).lines().map(log_message).collect();
            let tail = words[words.len().saturating_sub(12)..].join("\n");
            return Failure::operation(tail)
                .because(format!("`{}` failed", self.limactl.start(name)))
                .hint(format!("the whole log: `{}`", log.display()));
        }
        let patience = if *boot == Boot::Silent { SILENCE } else { patience };
        let console = console_lines(folder, 12).join("\n");
        let words = if last_words.is_empty() { String::new() } else { format!("\nssh said: {last_words}") };
        let sentence = match boot {
            Boot::Panicked => format!("the kernel of `{name}` panicked"),
            _ => format!("`{name}` did not answer within {} s of its start", patience.as_secs()),
        };
        Failure::operation(format!("the last lines of its console:\n{console}{words}"))
            .because(sentence)
            .hint(format!("its whole console: `{}`", folder.join("serial.log").display()))
            .hint(format!("it was stopped; try again: `machine up {name}`"))
    }

    pub(super) fn stop_left_over(&self, name: &str) -> Result<()> {
        match self.list()?.iter().find(|instance| instance.name == name) {
            Some(instance) => self.stop_forcibly(instance),
            None => Ok(()),
        }
    }

    /// The program Lima shall run as QEMU, told how to run this instance; `wakes` is the shape of the command line whose
    /// memory it gets back.
    pub(super) fn prepare_launcher(
        &self,
        name: &str,
        acceleration: &Acceleration,
        wakes: Option<String>,
    ) -> Result<Option<Engine>> {
        if self.host.os != HostOs::Linux {
            return Ok(None);
        }
        let program = launcher::program_name(self.host.arch);
        let qemu = self.runner.find(&program).ok_or_else(|| {
            Failure::operation(format!(
                "the program `{program}` is not installed, or not on PATH: Lima needs QEMU here"
            ))
            .hint("install it: `apt install qemu-system-x86 qemu-utils`, or your system's own packages")
        })?;
        launcher::install(&self.layout.launcher(), self.host.arch, acceleration.binary, &qemu)?;
        let hangs = self.read_verdict()?.is_some_and(|verdict| verdict.circumstances == circumstances(&qemu));
        let (engine, told) = launcher::choose(acceleration.choice, launcher::kvm_node(), hangs)?;
        if let Some(sentence) = told {
            (acceleration.say)(sentence);
        }
        let found = launcher::find_enclosure(self.runner, acceleration.binary, acceleration.openings);
        if let Err(lack) = &found {
            (acceleration.say)(&format!(
                "nothing but the guest's own floor keeps it from this computer and its networks: {}; {}",
                lack.reason, lack.remedy
            ));
        }
        launcher::write_launch(
            &self.layout.instance(name),
            &Launch { engine, wakes, enclosure: found.ok(), clears_freed: acceleration.clears_freed },
        )?;
        Ok(Some(engine))
    }

    pub(super) fn change_launch(&self, name: &str, change: impl Fn(&mut Launch)) -> Result<()> {
        let instance = self.layout.instance(name);
        let mut launch = launcher::read_launch(&instance)?;
        change(&mut launch);
        launcher::write_launch(&instance, &launch)
    }

    /// Tells the helper of a machine that runs what is open now; it takes a second or two. Says whether that is all: ports
    /// of this computer's own loopback are closed like the rest, but are opened at the next start.
    pub fn reopen(&self, name: &str, openings: &Openings) -> Result<bool> {
        let Ok(launch) = launcher::read_launch(&self.layout.instance(name)) else { return Ok(true) };
        let Some(enclosure) = launch.enclosure else { return Ok(true) };
        if enclosure.openings == *openings {
            return Ok(true);
        }
        self.change_launch(name, |launch| {
            let change = |enclosure: Enclosure| Enclosure { openings: openings.clone(), ..enclosure };
            launch.enclosure = launch.enclosure.take().map(change);
        })?;
        Ok(opens_nothing_more(enclosure.openings.host_ports(), openings.host_ports()))
    }

    fn read_verdict(&self) -> Result<Option<Verdict>> {
        let bytes = disk::read_if_there(&self.layout.state.join("kvm.json"))?.unwrap_or_default();
        // A damaged memory is none: the worst it costs is another 20 s.
        Ok(serde_json::from_slice(&bytes).ok())
    }

    fn remember_hang(&self) -> Result<()> {
        let qemu = self.runner.find(launcher::program_name(self.host.arch)).unwrap_or_default();
        let verdict = Verdict { circumstances: circumstances(&qemu) };
        let text = serde_json::to_vec(&verdict).unwrap_or_default();
        disk::write_atomic(&self.layout.state.join("kvm.json"), &text, 0o600)
    }
}

/// Whether `after` has no port that `before` has not; `None` is all of them.
fn opens_nothing_more(before: Option<Vec<u16>>, after: Option<Vec<u16>>) -> bool {
    let Some(before) = before else { return true };
    after.is_some_and(|after| after.iter().all(|port| before.contains(port)))
}

/// A start that came to nothing.
struct Trouble {
    failure: Failure,
    blames_kvm: bool,
    panicked: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, blames_kvm: false, panicked: false }
    }
}

/// Whether the child has ended with an error. One that ended well has done its work.
pub(super) fn failed(child: &mut Child) -> Result<bool> {
    let status = child.try_wait().because(|| "failed to look after `limactl start`")?;
    Ok(status.is_some_and(|status| !status.success()))
}

/// QEMU, kernel and boot: a verdict on KVM holds for as long as these are the same.
fn circumstances(qemu: &Path) -> String {
    let read = |path: &str| disk::read_text_if_there(Path::new(path)).ok().flatten().unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id");
    let modified = std::fs::metadata(qemu).and_then(|metadata| metadata.modified()).ok();
    format!("{} {modified:?} {} {}", qemu.display(), read("/proc/sys/kernel/osrelease").trim(), boot.trim())
}

fn start_log(layout: &Layout, name: &str) -> std::path::PathBuf {
    layout.machine(name).join("start.log")
}

fn start_file(layout: &Layout, name: &str) -> std::path::PathBuf {
    layout.machine(name).join("start.json")
}

/// Ends a `limactl start` that an earlier command left running: whatever comes next, it has nothing left to do. The host
/// agent and the guest are processes of their own.
pub(super) fn end_start(layout: &Layout, runner: &Runner, name: &str) {
    let file = start_file(layout, name);
    let bytes = disk::read_if_there(&file).ok().flatten().unwrap_or_default();
    let Ok(running) = serde_json::from_slice::<Running>(&bytes) else { return };
    let expected = Identity { pid: running.pid, started: running.started, command: running.command };
    terminate_verified(&expected, Duration::from_secs(2), runner);
    // Left there it would only be looked at, and found gone, once more.
    let _ = disk::remove_file(&file);
}

/// What the last `limactl start` complained about after we had gone on without it.
pub fn start_problem(layout: &Layout, name: &str) -> Option<String> {
    let text = disk::read_tail(&start_log(layout, name), 16_384);
    text.lines().filter(|line| line.contains("\"level\":\"fatal\"")).map(log_message).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_needs_no_start_and_what_is_opened_does() {
        let all = None::<Vec<u16>>;
        let some = |ports: &[u16]| Some(ports.to_vec());
        assert!(opens_nothing_more(all.clone(), some(&[])) && opens_nothing_more(some(&[1, 2]), some(&[2])));
        assert!(!opens_nothing_more(some(&[1]), some(&[1, 2])) && !opens_nothing_more(some(&[1]), all));
    }
}
