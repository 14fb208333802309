//! The host computer as a value: what differs between systems is data, so that each is tested on the other.
//!
//! Enters: facts about the running system. Leaves: the answers that depend on them. Runs nothing.

/// The operating system of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostOs {
    /// Lima's `qemu` driver.
    Linux,
    /// Lima's `vz` driver.
    MacOs,
}

/// The processor architecture of host and guest; Lima emulates no foreign one for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// Lima's `x86_64`, Debian's `amd64`.
    Amd64,
    /// Lima's `aarch64`, Debian's `arm64`.
    Arm64,
}

impl Arch {
    /// The name Lima and QEMU use.
    pub const fn lima(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The name Debian, and so the configuration, uses.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// The computer `machine` runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its operating system.
    pub os: HostOs,
    /// Its architecture.
    pub arch: Arch,
    /// Processors available, at least 1.
    pub cpus: u32,
    /// Physical memory in bytes; `None` where it could not be read.
    pub memory_bytes: Option<u64>,
}

impl Host {
    /// The `vmType` that Lima uses here.
    pub const fn vm_type(&self) -> &'static str {
        match self.os {
            HostOs::Linux => "qemu",
            HostOs::MacOs => "vz",
        }
    }

    /// Whether a guest's own kernel can be booted without its firmware and boot loader. Tried on this kind of host only.
    pub const fn boots_kernels(&self) -> bool {
        matches!((self.os, self.arch), (HostOs::Linux, Arch::Amd64))
    }

    /// Whether machines can sleep: QEMU writes a memory to the disk, and `vz` does not let Lima do so.
    pub const fn can_sleep(&self) -> bool {
        matches!(self.os, HostOs::Linux)
    }

    /// The longest path a Unix socket may have, without the final NUL (`sun_path`).
    pub const fn socket_path_limit(&self) -> usize {
        match self.os {
            HostOs::Linux => 107,
            HostOs::MacOs => 103,
        }
    }
}
