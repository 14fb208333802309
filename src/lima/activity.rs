//! What runs a machine, and what it has taken so far: its processor time and the bytes it has moved.
//!
//! Enters: an instance's folder. Leaves: readings, or nothing where they cannot be had; then nobody may call it idle. Lima's
//! and our own ssh connections do not count: in a network of its own they come by its loopback, elsewhere by one port.

use std::path::Path;
use std::time::Duration;

use super::resident::vz_process;
use super::stopping::names_instance;
use crate::disk;
use crate::model::HostOs;
use crate::process::{
    Counters, Identity, Runner, connections_by_nettop, connections_by_ss, interfaces_in_proc,
    processor_time_by_ps, processor_time_in_proc,
};

/// The processes of a machine that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    os: HostOs,
    /// The guest's processors and memory: QEMU, or the system's process for `vz`.
    driver: i32,
    /// Lima's host agent, which is the network of `vz`.
    agent: i32,
    /// The port by which we and Lima come.
    port: u16,
}

/// What a machine has taken since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Processor time, of all processors together.
    pub processor: Duration,
    /// Bytes moved.
    pub network: Counters,
}

impl Pulse {
    /// Finds the processes of an instance that runs.
    pub fn find(instance: &Path, port: u16, os: HostOs, runner: &Runner) -> Option<Self> {
        let own = |file: &str| {
            let text = disk::read_text_if_there(&instance.join(file)).ok()??;
            let pid = text.trim().parse().ok()?;
            Identity::of(pid, runner).filter(|found| names_instance(&found.command, instance)).map(|_| pid)
        };
        let agent = own("ha.pid")?;
        let driver = match os {
            HostOs::Linux => own("qemu.pid")?,
            HostOs::MacOs => vz_process(instance, runner)?,
        };
        Some(Self { os, driver, agent, port })
    }

    /// The process that lives as long as the machine does.
    pub const fn pid(self) -> i32 {
        self.driver
    }

    /// What it has taken so far.
    pub fn read(self, runner: &Runner) -> Option<Taken> {
        let (processor, network) = match self.os {
            HostOs::Linux => {
                let hundredths = processor_time_in_proc(self.driver)?;
                let own = interfaces_in_proc(self.driver);
                let network = own.or_else(|| connections_by_ss(self.driver, self.port, runner));
                (Duration::from_millis(hundredths.saturating_mul(10)), network?)
            }
            HostOs::MacOs => {
                (processor_time_by_ps(self.driver, runner)?, connections_by_nettop(self.agent, runner)?)
            }
        };
        Some(Taken { processor, network })
    }
}
