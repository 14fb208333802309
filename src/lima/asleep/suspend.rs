//! Falling asleep: QEMU writes the guest's memory into a pipe of ours, and ends once all of it is on the disk.
//!
//! Enters: a running instance whose guest is prepared. Leaves: a stopped one with an image; or the failure, and then the
//! machine goes on running and nothing of an image is left. QEMU itself takes a migration back when its pipe breaks, so
//! that also our own sudden end leaves a machine that runs.

use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orion::hazardous::aead::streaming::SecretKey;
use serde_json::json;

use super::Image;
use super::filter::packer;
use super::key;
use super::note::{Belonging, Look, Note};
use super::qmp::{Migration, Qmp, is_busy};
use super::stream::Sealer;
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::lima::driver::Driver;
use crate::lima::launcher::{self, shape_of};
use crate::lima::list::Instance;
use crate::lima::starting::end_start;
use crate::lima::stopping::belongs_to;
use crate::model::{HostOs, Isolation};
use crate::process::arguments_in_proc;
use crate::record::MachineRecord;

/// How long writing a memory may take: that of a large machine, on a slow disk.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long QEMU may take to go on after a failure, and to end after a success.
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// How often QEMU is asked how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes a second; QEMU's own limit is 128 MiB.
const BANDWIDTH: u64 = 1 << 40;
/// Milliseconds in which the last part must fit while the guest stands still: QEMU's largest, since it sleeps anyway.
const DOWNTIME: u64 = 2_000_000;

/// The QEMU that runs an instance.
pub(super) struct Qemu {
    pub(super) shape: String,
    pub(super) binary: PathBuf,
    pub(super) monitor: Qmp,
}

impl Driver<'_> {
    /// Refuses where sleeping is impossible, or not wanted, before anything is done for it.
    pub fn check_sleep(&self, name: &str, isolation: Isolation) -> Result<()> {
        if isolation.is_strict() {
            return Err(Failure::operation(format!(
                "`{name}` does not sleep: it has `isolation = \"strict\"`, and what is in its memory goes to no disk"
            ))
            .hint(format!("`machine down {name}` gives the memory back as well; the next start is a cold one")));
        }
        if self.host.os != HostOs::Linux {
            return Err(Failure::operation(
                "sleeping needs QEMU, which runs machines on Linux only: `vz` has no such thing",
            )
            .hint("`machine down` gives the memory back as well; the next start is a cold one"));
        }
        self.check_packer()?;
        key::check(self.layout)
    }

    /// Refuses where there is no program that packs a memory and unpacks it.
    pub(super) fn check_packer(&self) -> Result<()> {
        if self.runner.find("zstd").is_some() {
            return Ok(());
        }
        Err(Failure::operation("the program `zstd` is not installed, or not on PATH: it packs a memory")
            .hint("install it: `apt install zstd`, or your system's own package"))
    }

    /// Writes the memory of a running machine to the disk and ends its processes; the image's size in bytes.
    ///
    /// # Errors
    /// When that fails: the machine goes on running then, unless its QEMU has died, and no image is left.
    pub fn suspend(&self, instance: &Instance, record: &MachineRecord, was_ready: bool) -> Result<u64> {
        let image = Image::of(&instance.folder);
        image.discard(self.layout, &record.uuid)?;
        // It would report the end of QEMU as a failure.
        end_start(self.layout, self.runner, &instance.name);
        let mut qemu = self.qemu_of(instance)?;
        let written = self.write_memory(&image, &mut qemu, record, was_ready);
        let bytes = match written {
            Ok(bytes) => bytes,
            Err(failure) => {
                let name = &instance.name;
                image.cut_off(self.layout, &record.uuid)?;
                let sentence = match go_on(&mut qemu.monitor) {
                    Ok(()) => {
                        image.discard(self.layout, &record.uuid)?;
                        format!("`{name}` did not fall asleep, and goes on running")
                    }
                    Err(cause) => {
                        format!("`{name}` did not fall asleep, and its QEMU does not answer: {cause}")
                    }
                };
                return Err(failure.because(sentence));
            }
        };
        // Its answer may be lost in its end, which is looked at next.
        let _ = qemu.monitor.ask("quit");
        self.wait_until_gone(instance, GRACE).or_else(|_| self.stop_forcibly(instance))?;
        Ok(bytes)
    }

    pub(super) fn qemu_of(&self, instance: &Instance) -> Result<Qemu> {
        let args = instance.driver_pid.and_then(arguments_in_proc).unwrap_or_default();
        let line = args.join(&OsString::from(" "));
        if !belongs_to(&line.to_string_lossy(), instance) {
            return Err(Failure::operation(format!("the QEMU of `{}` was not found", instance.name)));
        }
        let program = launcher::program_name(self.host.arch);
        let binary = self.runner.find(&program).unwrap_or_default();
        let monitor = Qmp::connect(&instance.folder)
            .because(|| format!("the QEMU of `{}` does not answer", instance.name))?;
        Ok(Qemu { shape: shape_of(&args[1..]), binary, monitor })
    }

    fn write_memory(
        &self,
        image: &Image,
        qemu: &mut Qemu,
        record: &MachineRecord,
        was_ready: bool,
    ) -> Result<u64> {
        let key = key::create(self.layout, &record.uuid)?;
        let image_bytes = self.fill(&image.part(), &key, &mut qemu.monitor)?;
        let engine = launcher::read_engine(&image.folder)?;
        let instance = &image.folder;
        let (uuid, generation) = (record.uuid.as_str(), record.generation);
        // QEMU has let go of the disk by now, so this is its last state.
        let belongs_to = Belonging::look(&Look { uuid, generation, engine, qemu: &qemu.binary, instance })?;
        let version = qemu.monitor.ask("query-version").because(|| "QEMU does not say its version")?;
        let part = |name: &str| version["qemu"][name].as_u64().unwrap_or_default();
        let version = format!("{}.{}.{}", part("major"), part("minor"), part("micro"));
        let note = Note::new(qemu.shape.clone(), version, belongs_to, image_bytes, was_ready);
        let text = serde_json::to_vec_pretty(&note)
            .map_err(|cause| Failure::operation(format!("failed to write a note: {cause}")))?;
        std::fs::rename(image.part(), image.memory()).because(|| "failed to rename the image")?;
        disk::write_atomic(&image.note(), &text, 0o600)?;
        Ok(image_bytes)
    }

    /// Has QEMU write the memory into `part`, packed and sealed.
    fn fill(&self, part: &Path, key: &SecretKey, monitor: &mut Qmp) -> Result<u64> {
        let nonce = key::random()?;
        let file = disk::create_private(part)?;
        let mut sealer = Sealer::new(key, &nonce, file).map_err(|cause| no_room(part, &cause))?;
        let sealer = self.pour(part, monitor, move |packed| sealer.copy(packed).map(|()| sealer))?;
        // Not forced to the disk: what would take it from the page cache takes the key as well.
        sealer.finish().map_err(|cause| no_room(part, &cause))
    }

    /// Has QEMU write the memory, packed, to `write`, which writes it on into `part`.
    pub(super) fn pour<T: Send + 'static>(
        &self,
        part: &Path,
        monitor: &mut Qmp,
        write: impl FnOnce(&mut PipeReader) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (zstd, into, mut packed) = packer(self.runner)?;
        migrate(monitor, into).because(|| "QEMU does not write its memory")?;
        let writer = std::thread::spawn(move || write(&mut packed));
        if let Err(failure) = self.wait_for_migration(monitor, &writer) {
            // It would wait for more, and the writer for it.
            drop(zstd);
            // A broken pipe is what QEMU notices of a full disk; the writer knows better.
            join(writer).map_err(|cause| no_room(part, &cause))?;
            return Err(failure);
        }
        let written = join(writer).map_err(|cause| no_room(part, &cause))?;
        zstd.finish()?;
        Ok(written)
    }

    fn wait_for_migration<T>(&self, monitor: &mut Qmp, writer: &JoinHandle<T>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.runner.check_interrupt()?;
            // Looked at first: at the end of a good migration the writer is done as well, a moment after QEMU says so.
            let gave_up = writer.is_finished();
            match monitor.migration().because(|| "QEMU ended while it wrote its memory")? {
                Migration::Completed => return Ok(()),
                Migration::Failed => return Err(Failure::operation("QEMU could not write its memory")),
                Migration::Active | Migration::None => {}
            }
            if gave_up {
                return Err(Failure::operation("the memory could not be written"));
            }
            if Instant::now() > deadline {
                let limit = PATIENCE.as_secs();
                return Err(Failure::operation(format!("the memory was not written within {limit} s")));
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Tells QEMU to write its memory into `into`.
fn migrate(monitor: &mut Qmp, into: io::PipeWriter) -> io::Result<()> {
    // Not `stop` before it: should we end suddenly, QEMU shall go on by itself.
    let parameters = json!({"max-bandwidth": BANDWIDTH, "downtime-limit": DOWNTIME});
    monitor.execute("migrate-set-parameters", &parameters)?;
    let uri = monitor.hand_over(into)?;
    monitor.execute("migrate", &json!({"uri": uri})).map(drop)
}

/// Lets a guest go on after a migration that came to nothing.
pub(super) fn go_on(monitor: &mut Qmp) -> io::Result<()> {
    let deadline = Instant::now() + GRACE;
    loop {
        match step_on(monitor) {
            Ok(true) => return Ok(()),
            Err(cause) if !is_busy(&cause) => return Err(cause),
            _ if Instant::now() > deadline => return Err(ErrorKind::TimedOut.into()),
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// One step towards a guest that runs and writes nothing; whether it is there.
fn step_on(monitor: &mut Qmp) -> io::Result<bool> {
    let command = match monitor.status()?.as_str() {
        // It may be at it still.
        "running" if monitor.migration()? != Migration::Active => return Ok(true),
        // `io-error`: its disk had no room for a write, which it tries again.
        "postmigrate" | "paused" | "prelaunch" | "io-error" => "cont",
        _ => "migrate_cancel",
    };
    monitor.ask(command).map(|_| false)
}

fn join<T>(writer: JoinHandle<io::Result<T>>) -> io::Result<T> {
    writer.join().unwrap_or_else(|_panicked| Err(io::Error::other("the writer panicked")))
}

/// A failed write, with the numbers that explain it.
fn no_room(part: &Path, cause: &io::Error) -> Failure {
    let written = disk::file_allocated_bytes(part) >> 20;
    let folder = part.parent().unwrap_or(part);
    let free = rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail * stat.f_frsize) >> 20;
    let failure = Failure::operation(format!("{cause} ({written} MiB written, {free} MiB free)"))
        .because(format!("failed to write its memory into `{}`", folder.display()));
    if cause.kind() == ErrorKind::StorageFull {
        return failure.hint("make room there, or use `machine down`");
    }
    failure
}
