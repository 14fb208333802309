//! Waking: QEMU is started as it was, reads the memory from a pipe of ours, and goes on when all of it has been proven.
//!
//! Enters: a stopped instance with an image. Leaves: a guest that answers where it was, or the reason why it has to boot
//! cold; then nothing of the image is left. An image is used once: it is put aside before the guest takes its first step.

use std::fs::File;
use std::io::{self, BufReader, PipeWriter};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use orion::hazardous::aead::streaming::SecretKey;
use serde_json::json;

use super::filter::unpacker;
use super::note::{Belonging, Look, Note};
use super::qmp::{Migration, Qmp};
use super::suspend::go_on;
use super::{Image, key, stream};
use crate::failure::{Context, Failure, Kind, Result};
use crate::lima::driver::Driver;
use crate::lima::launcher::{self, Engine};
use crate::lima::list::{Instance, Status};
use crate::lima::starting::{Acceleration, Begin, Started, failed};
use crate::record::MachineRecord;
use crate::ssh::{Attempt, Road};

/// How long QEMU may take to be there, and then to read a memory.
const START: Duration = Duration::from_secs(60);
const READ: Duration = Duration::from_secs(300);
/// How long a guest may take to answer once it goes on.
const ANSWER: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Said only where the folder is there, and no key in it.
const KEY_GONE: &str = "the key of its memory is gone: the runtime folder has been emptied since";

/// What came of waking a machine.
#[derive(Debug)]
pub enum Woken {
    /// It answers, and everything in it is as it was.
    Up(Started),
    /// Its memory could not be used and is gone; the disk is as it was.
    Cold(String),
}

impl Driver<'_> {
    /// Wakes a stopped machine that has an image.
    ///
    /// # Errors
    /// Where a cold boot would fail as well; where this process lacks what it takes to read a memory that is good; or on an
    /// interrupt. The image is left then, unless it was used already.
    pub fn wake(
        &self,
        record: &mut MachineRecord,
        note: &Note,
        road: &Road,
        acceleration: &Acceleration,
    ) -> Result<Woken> {
        let name = record.name.clone();
        self.check_wake(record, note)?;
        let Some(engine) = self.prepare_launcher(&name, acceleration, Some(note.shape.clone()))? else {
            return Ok(Woken::Cold("this host does not run QEMU".into()));
        };
        match self.try_to_wake(record, note, road, engine) {
            Ok(()) => Ok(Woken::Up(Started { engine: Some(engine), begin: Begin::Woke })),
            Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
            Err(failure) => {
                self.stop_left_over(&name)?;
                Image::of(&self.layout.instance(&name)).discard(self.layout, &record.uuid)?;
                Ok(Woken::Cold(format!("{:#}", failure.error)))
            }
        }
    }

    fn try_to_wake(
        &self,
        record: &mut MachineRecord,
        note: &Note,
        road: &Road,
        engine: Engine,
    ) -> Result<()> {
        let instance = self.layout.instance(&record.name);
        let image = Image::of(&instance);
        let key = self.check(&image, record, note, engine)?;
        let mut child = self.spawn_start(&record.name)?;
        let mut monitor = self.connect_to_start(&instance, &mut child)?;
        self.load(&image, &key, &mut monitor)?;
        // From its first step on the guest writes to the disk, and this memory is history.
        std::fs::rename(image.memory(), image.used()).because(|| "failed to put the image aside")?;
        record.generation += 1;
        record.save(self.layout)?;
        go_on(&mut monitor).because(|| "QEMU does not go on")?;
        drop(monitor);
        self.change_launch(&record.name, |launch| launch.wakes = None)?;
        self.wait_for_answer(&record.name, road)?;
        image.discard(self.layout, &record.uuid)
    }

    /// Refuses to wake a machine whose memory fits, but cannot be read from here: from a cron job without a runtime folder,
    /// say. A cold boot would throw that memory away.
    fn check_wake(&self, record: &MachineRecord, note: &Note) -> Result<()> {
        if self.misfit_as_it_slept(record, note).is_some() {
            return Ok(());
        }
        let can = self.check_packer().and_then(|()| key::load(self.layout, &record.uuid).map(drop));
        can.map_err(|failure| {
            let name = &record.name;
            let image = Image::of(&self.layout.instance(name)).memory();
            let hints = if failure.hints.is_empty() {
                vec!["log in so that XDG_RUNTIME_DIR is set, as it was when it fell asleep".to_string()]
            } else {
                failure.hints.clone()
            };
            Failure { hints, ..failure }
                .because(format!("`{name}` cannot wake from here, and its memory is kept"))
                .hint(format!("to do without its memory, remove `{}`: it boots cold then", image.display()))
        })
    }

    /// What a machine that sleeps is going to do instead of waking (`will boot cold: …`), as far as that can be told without
    /// reading its memory.
    pub fn why_cold(&self, record: &MachineRecord, note: &Note) -> Option<String> {
        if let Some(why) = self.misfit_as_it_slept(record, note) {
            return Some(format!("will boot cold: {why}"));
        }
        let can = self.check_packer().and_then(|()| key::load(self.layout, &record.uuid));
        match can {
            Ok(Some(_)) => None,
            Ok(None) => Some(format!("will boot cold: {KEY_GONE}")),
            Err(failure) => Some(format!("cannot wake from here: {}", failure.error.root_cause())),
        }
    }

    /// As [`Self::misfit`], with the accelerator of its last start.
    fn misfit_as_it_slept(&self, record: &MachineRecord, note: &Note) -> Option<String> {
        let instance = self.layout.instance(&record.name);
        let engine = launcher::read_engine(&instance).ok()?;
        self.misfit(&Image::of(&instance), record, note, engine).ok()?
    }

    /// Why an image is not for this machine and computer as they are now, whether there is a key or not.
    fn misfit(
        &self,
        image: &Image,
        record: &MachineRecord,
        note: &Note,
        engine: Engine,
    ) -> Result<Option<String>> {
        let qemu = self.runner.find(launcher::program_name(self.host.arch)).unwrap_or_default();
        let look = Look {
            uuid: &record.uuid,
            generation: record.generation,
            engine,
            qemu: &qemu,
            instance: &image.folder,
        };
        let bytes = std::fs::metadata(image.memory()).map_or(0, |metadata| metadata.len());
        Ok(note.misfit(&Belonging::look(&look)?, bytes))
    }

    /// Whether the image is whole and for this machine as it is now; the key that opens it.
    fn check(&self, image: &Image, record: &MachineRecord, note: &Note, engine: Engine) -> Result<SecretKey> {
        if let Some(why) = self.misfit(image, record, note, engine)? {
            return Err(Failure::operation(why));
        }
        let key = key::load(self.layout, &record.uuid)?.ok_or_else(|| Failure::operation(KEY_GONE))?;
        read(&image.memory(), &key, &mut io::sink()).because(|| "the image of its memory is damaged")?;
        Ok(key)
    }

    pub(super) fn connect_to_start(&self, instance: &Path, child: &mut Child) -> Result<Qmp> {
        let deadline = Instant::now() + START;
        loop {
            self.runner.check_interrupt()?;
            match Qmp::connect(instance) {
                Ok(monitor) => return Ok(monitor),
                Err(cause) if Instant::now() > deadline => {
                    return Err(cause).because(|| "QEMU did not come up in time");
                }
                Err(_) => {}
            }
            if failed(child)? {
                return Err(Failure::operation(
                    "QEMU did not start as it was: Lima, `machine` or a setting has changed its command line",
                ));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn load(&self, image: &Image, key: &SecretKey, monitor: &mut Qmp) -> Result<()> {
        let (memory, key) = (image.memory(), SecretKey::try_from(key.unprotected_as_ref::<[u8]>()));
        let key = key.map_err(|_refused| Failure::operation("a key has another length"))?;
        self.feed(monitor, move |into| read(&memory, &key, into))
    }

    /// Has QEMU, which waits for it, read the packed memory that `read` writes. The guest stands still afterwards.
    pub(super) fn feed(
        &self,
        monitor: &mut Qmp,
        read: impl FnOnce(&mut PipeWriter) -> io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let (zstd, mut into, plain) = unpacker(self.runner)?;
        let uri = monitor.hand_over(plain).because(|| "QEMU takes no pipe")?;
        let incoming = monitor.execute("migrate-incoming", &json!({"uri": uri}));
        incoming.because(|| "QEMU does not read a memory")?;
        let reader = std::thread::spawn(move || read(&mut into));
        let deadline = Instant::now() + READ;
        loop {
            self.runner.check_interrupt()?;
            // QEMU ends by itself when it cannot read what it is given.
            match monitor.migration().because(|| "QEMU did not take its memory back")? {
                Migration::Completed => break,
                Migration::Failed => return Err(Failure::operation("QEMU did not take its memory back")),
                Migration::Active | Migration::None if Instant::now() > deadline => {
                    return Err(Failure::operation("QEMU did not take its memory back in time"));
                }
                Migration::Active | Migration::None => std::thread::sleep(LOOK),
            }
        }
        let whole = reader.join().unwrap_or_else(|_panicked| Err(io::Error::other("the reader panicked")));
        whole.because(|| "the image of its memory is damaged")?;
        zstd.finish()
    }

    pub(crate) fn wait_for_answer(&self, name: &str, road: &Road) -> Result<()> {
        let deadline = Instant::now() + ANSWER;
        loop {
            self.runner.check_interrupt()?;
            match road.open(self.runner)? {
                Attempt::Connected => return Ok(()),
                Attempt::NotYet(words) if Instant::now() > deadline => {
                    let limit = ANSWER.as_secs();
                    return Err(Failure::operation(format!("it did not answer within {limit} s: {words}")));
                }
                Attempt::NotYet(_) => {
                    self.keep_network(name, road)?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Puts right what a sleep or a wake left that was cut off: a guest that stands still goes on. Says whether there was
    /// anything of it.
    pub fn settle(&self, instance: &Instance, uuid: &str) -> Result<bool> {
        let image = Image::of(&instance.folder);
        if instance.status != Status::Running || !image.is_left() {
            return Ok(false);
        }
        // One that does not answer is left alone: it may run all the same.
        let Ok(mut monitor) = Qmp::connect(&instance.folder) else { return Ok(false) };
        let status = monitor.status().unwrap_or_default();
        if status == "inmigrate" {
            // Whoever fed it is gone; the image is still good.
            drop(monitor);
            self.stop_forcibly(instance)?;
            return Ok(true);
        }
        image.cut_off(self.layout, uuid)?;
        go_on(&mut monitor).because(|| format!("the QEMU of `{}` does not go on", instance.name))?;
        image.discard(self.layout, uuid)?;
        Ok(status != "running")
    }
}

fn read(memory: &Path, key: &SecretKey, to: &mut impl io::Write) -> io::Result<()> {
    stream::open(key, &mut BufReader::with_capacity(1 << 20, File::open(memory)?), to)
}
