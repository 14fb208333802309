//! QEMU's filter of system calls: what a guest that has broken into it may not ask of this computer's kernel.
//!
//! Enters: a QEMU. Leaves: the arguments that turn its filter on; none where it was built without one.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::runner;
use crate::process::Cmd;

/// No obsolete calls, no other identity, no other programs, no priorities. A memory goes through a pipe that is handed over
/// (`fd:`), so nothing needs to be started for it.
const FILTER: [&str; 2] =
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"];
/// The question takes some 20 ms.
const LIMIT: Duration = Duration::from_secs(5);

/// The arguments for this QEMU.
pub(super) fn arguments(qemu: &Path) -> Vec<OsString> {
    // QEMU reads its options in their order: it refuses the first before it answers the second.
    let cmd = Cmd::new(qemu).args(FILTER).args(["-accel", "help"]).time_limit(LIMIT);
    let is_known = runner().read_any_status(&cmd).is_ok_and(|asked| asked.status.success());
    if is_known { FILTER.map(OsString::from).to_vec() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that knows the filter only if `status` is 0.
    fn arguments_of(status: u8) -> Vec<OsString> {
        let folder = tempfile::tempdir().expect("a folder");
        let qemu = folder.path().join("qemu");
        let text = format!("#!/bin/sh\n[ \"$1 $3 $4\" = '-sandbox -accel help' ] || exit 0\nexit {status}\n");
        crate::disk::write_atomic(&qemu, text.as_bytes(), 0o700).expect("written");
        std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o700)).expect("executable");
        arguments(&qemu)
    }

    #[test]
    fn the_filter_is_on_where_qemu_has_one() {
        let on = arguments_of(0);
        assert_eq!(on, FILTER.map(OsString::from));
        for denied in ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"] {
            assert!(
                on[1].to_string_lossy().split(',').any(|word| word == format!("{denied}=deny")),
                "{denied}"
            );
        }
        assert!(arguments_of(1).is_empty());
        assert!(arguments(Path::new("/nowhere/qemu")).is_empty());
    }
}
