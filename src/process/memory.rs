//! How much memory this computer has.
//!
//! Enters: nothing. Leaves: bytes, or nothing where the system does not say.

/// Physical memory in bytes.
#[cfg(target_os = "linux")]
pub fn physical_memory_bytes() -> Option<u64> {
    let info = rustix::system::sysinfo();
    info.totalram.checked_mul(u64::from(info.mem_unit))
}

/// Physical memory in bytes. macOS tells it by `sysctl`, which is a program: asked only where it matters, by `doctor`.
#[cfg(not(target_os = "linux"))]
pub fn physical_memory_bytes() -> Option<u64> {
    None
}
