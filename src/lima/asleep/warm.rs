//! The memory of a machine that nobody has used, from which others go on instead of booting.
//!
//! Enters: a running instance; or a stopped one on the same disk. Leaves: a stopped one with its memory in a file; or one
//! that runs, of this computer's making. Such a memory is used many times, so it holds nothing of anybody, is not
//! encrypted, and every guest that goes on from it is changed before it is used. Its digest is compared before a first step.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::note::{digest, print_of, processor};
use super::qmp::Qmp;
use super::suspend::go_on;
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::lima::driver::Driver;
use crate::lima::launcher::{self, Engine};
use crate::lima::list::Instance;
use crate::lima::starting::{Acceleration, end_start};
use crate::model::hex;

/// The drive that Lima attaches its own disk to (qemu.go, `Cmdline`).
const CIDATA_DRIVE: &str = "cdrom0";

/// A memory in a file, packed by `zstd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The file's length.
    pub bytes: u64,
    /// Its SHA-256.
    digest: String,
    /// The command line of QEMU, as a digest.
    shape: String,
    engine: Engine,
    /// QEMU's path, size and time.
    qemu: String,
    /// The host's processor, as a digest.
    processor: String,
}

impl Driver<'_> {
    /// Writes the memory of a running machine to `to` and ends the machine; its disk is as that memory knows it.
    ///
    /// # Errors
    /// When that fails. The machine may run on then, and what is at `to` is of no use.
    pub fn freeze(&self, instance: &Instance, to: &Path) -> Result<Memory> {
        // It would report the end of QEMU as a failure.
        end_start(self.layout, self.runner, &instance.name);
        let mut qemu = self.qemu_of(instance)?;
        let mut file = disk::create_private(to)?;
        let (bytes, digest) =
            self.pour(to, &mut qemu.monitor, move |packed| copy_and_digest(packed, &mut file))?;
        let memory = Memory {
            bytes,
            digest,
            shape: qemu.shape.clone(),
            engine: launcher::read_engine(&instance.folder)?,
            qemu: print_of(&qemu.binary, false)?,
            processor: this_processor()?,
        };
        // Its answer may be lost in its end, which is looked at next.
        let _ = qemu.monitor.ask("quit");
        self.wait_until_gone(instance, super::suspend::GRACE).or_else(|_| self.stop_forcibly(instance))?;
        Ok(memory)
    }

    /// Starts a stopped instance with a memory that was kept, on the disk that belongs to it, and gives it all of that
    /// disk's room: `disk_bytes`.
    ///
    /// # Errors
    /// When the memory was made with another accelerator, is damaged, or QEMU does not take it. The instance is stopped then; its disk may have
    /// been written to, and belongs to no memory any more.
    pub fn thaw(
        &self,
        name: &str,
        memory: &Memory,
        from: &Path,
        disk_bytes: u64,
        acceleration: &Acceleration,
    ) -> Result<Engine> {
        end_start(self.layout, self.runner, name);
        let engine = self.prepare_launcher(name, acceleration, Some(memory.shape.clone()))?;
        let engine = engine.ok_or_else(|| Failure::operation("this host does not run QEMU"))?;
        if memory.engine != engine {
            return Err(Failure::operation("the warm box was made with another accelerator"));
        }
        let instance = self.layout.instance(name);
        let mut child = self.spawn_start(name)?;
        let mut monitor = self.connect_to_start(&instance, &mut child)?;
        let (expected, mut file) = (memory.digest.clone(), open(from)?);
        self.feed(&mut monitor, move |into| match copy_and_digest(&mut file, into)? {
            (_, found) if found == expected => Ok(()),
            _ => Err(io::Error::new(ErrorKind::InvalidData, "its bytes are not those that were written")),
        })?;
        let trouble = || "QEMU does not go on";
        change_disk_of_lima(&mut monitor, &instance).because(trouble)?;
        go_on(&mut monitor).because(trouble)?;
        grow(&mut monitor, &instance, disk_bytes).because(trouble)?;
        self.change_launch(name, |launch| launch.wakes = None)?;
        Ok(engine)
    }

    /// Refuses a memory that was made with what this computer does not have any more.
    pub fn check_memory(&self, memory: &Memory) -> Result<()> {
        let qemu = self.runner.find(launcher::program_name(self.host.arch)).unwrap_or_default();
        memory.check(&print_of(&qemu, false)?, &this_processor()?)
    }

    /// Ends and removes an instance that is to be made anew.
    pub fn abandon(&self, name: &str) -> Result<()> {
        end_start(self.layout, self.runner, name);
        self.stop_left_over(name)?;
        self.remove_half_made(name)
    }
}

impl Memory {
    /// The shape is for the launcher to compare, the accelerator for whoever chooses one.
    fn check(&self, qemu: &str, processor: &str) -> Result<()> {
        let checks = [
            (self.qemu != qemu, "the warm box was made with another QEMU"),
            (self.processor != processor, "the warm box was made with another processor"),
        ];
        let misfit = checks.iter().find(|(differs, _)| *differs);
        misfit.map_or(Ok(()), |(_, why)| Err(Failure::operation(*why)))
    }
}

/// The guest had another one in its drive, perhaps a smaller one.
fn change_disk_of_lima(monitor: &mut Qmp, instance: &Path) -> io::Result<()> {
    let file = instance.join("cidata.iso");
    let medium =
        json!({"device": CIDATA_DRIVE, "filename": file.to_string_lossy(), "format": "raw", "force": true});
    monitor.execute("blockdev-change-medium", &medium).map(drop)
}

/// Also tells the guest how large its disk is.
fn grow(monitor: &mut Qmp, instance: &Path, bytes: u64) -> io::Result<()> {
    let file = instance.join("disk");
    let drives = monitor.ask("query-block")?;
    let drives = drives.as_array().map(Vec::as_slice).unwrap_or_default();
    let drive = drives.iter().find(|drive| drive["inserted"]["file"] == file.to_string_lossy().as_ref());
    let device = drive.map(|drive| drive["device"].clone());
    let device = device.ok_or_else(|| io::Error::other("it has no drive with the machine's disk"))?;
    monitor.execute("block_resize", &json!({"device": device, "size": bytes})).map(drop)
}

fn this_processor() -> Result<String> {
    let cpuinfo = disk::read_text_if_there(Path::new("/proc/cpuinfo"))?.unwrap_or_default();
    Ok(digest(&processor(&cpuinfo)))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).because(|| format!("failed to read `{}`", path.display()))
}

/// Copies everything; how much it was, and its SHA-256.
fn copy_and_digest(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut buffer, mut hasher, mut bytes) = (vec![0u8; 256 * 1024], Sha256::new(), 0);
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        };
        hasher.update(&buffer[..length]);
        to.write_all(&buffer[..length])?;
        bytes += length as u64;
    }
    to.flush()?;
    Ok((bytes, hex(&hasher.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_fits_the_computer_that_made_it() {
        let memory = Memory {
            bytes: 1,
            digest: String::new(),
            shape: String::new(),
            engine: Engine::Tcg,
            qemu: "q 1".into(),
            processor: "p".into(),
        };
        memory.check("q 1", "p").expect("fits");
        memory.check("q 2", "p").expect_err("another QEMU");
        memory.check("q 1", "other").expect_err("another processor");
    }

    #[test]
    fn a_copy_knows_its_digest() {
        let mut to = Vec::new();
        let (bytes, digest) = copy_and_digest(&mut &b"abc"[..], &mut to).expect("copied");
        assert_eq!((bytes, to.as_slice()), (3, &b"abc"[..]));
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
