//! How much memory of the host each running machine takes: that of the process that runs it, and of no other.
//!
//! Enters: instances as listed. Leaves: bytes by name; a machine whose process is not proven to be its own is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::list::Instance;
use super::stopping::belongs_to;
use crate::model::HostOs;
use crate::process::{Resident, Runner, open_files, resident_by_ps, resident_in_proc};

/// The processes that `vz` runs machines in belong to the system, not to Lima; their names are cut at 16 characters.
const VZ_PROCESS: &str = "com.apple.Virtua";

/// The resident memory of each running machine in bytes. On Linux no program is started for it.
pub fn resident_bytes(instances: &[Instance], os: HostOs, runner: &Runner) -> BTreeMap<String, u64> {
    let running = || instances.iter().filter(|instance| instance.driver_pid.is_some());
    match os {
        HostOs::Linux => of_drivers(running(), resident_in_proc),
        HostOs::MacOs if running().next().is_none() => BTreeMap::new(),
        HostOs::MacOs => {
            // Nothing but the open disk says which of those processes runs which machine.
            let owners = owners(running(), &open_files(VZ_PROCESS, runner));
            let pids: Vec<i32> = owners.values().copied().collect();
            let bytes = resident_by_ps(&pids, runner);
            owners.into_iter().filter_map(|(name, pid)| Some((name, *bytes.get(&pid)?))).collect()
        }
    }
}

/// QEMU's memory: Lima keeps its pid, which could be anybody's after a crash.
fn of_drivers<'a>(
    running: impl Iterator<Item = &'a Instance>,
    look_up: impl Fn(i32) -> Option<Resident>,
) -> BTreeMap<String, u64> {
    let own = |instance: &Instance| {
        let resident = look_up(instance.driver_pid?)?;
        belongs_to(&resident.command, instance).then_some((instance.name.clone(), resident.bytes))
    };
    running.filter_map(own).collect()
}

/// Which process has which machine's disk open.
fn owners<'a>(running: impl Iterator<Item = &'a Instance>, open: &[(i32, PathBuf)]) -> BTreeMap<String, i32> {
    let owner = |instance: &Instance| {
        let folder = real(&instance.folder);
        let (pid, _) = open.iter().find(|(_, path)| path.parent() == Some(&folder))?;
        Some((instance.name.clone(), *pid))
    };
    running.filter_map(owner).collect()
}

/// The process that runs one machine by `vz`.
pub(super) fn vz_process(instance: &Path, runner: &Runner) -> Option<i32> {
    let folder = real(instance);
    let open = open_files(VZ_PROCESS, runner);
    open.into_iter().find(|(_, path)| path.parent() == Some(&folder)).map(|(pid, _)| pid)
}

/// A folder as the system names it: a home folder may be reached through a link.
fn real(folder: &Path) -> PathBuf {
    std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lima::Status;

    fn instance(name: &str, driver_pid: i32) -> Instance {
        Instance {
            name: name.into(),
            status: Status::Running,
            folder: Path::new("/l").join(name),
            host_agent_pid: Some(1),
            driver_pid: Some(driver_pid),
            errors: Vec::new(),
            config: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_pid_that_is_somebody_elses_has_no_memory_of_ours() {
        let instances = [instance("blog", 7), instance("shop", 8), instance("gone", 9)];
        let look_up = |pid: i32| match pid {
            7 => Some(Resident { command: "qemu -pidfile /l/blog/qemu.pid".into(), bytes: 70 }),
            8 => Some(Resident { command: "vim /l/blog/qemu.pid".into(), bytes: 80 }),
            _ => None,
        };
        assert_eq!(of_drivers(instances.iter(), look_up), [("blog".to_string(), 70)].into());
    }

    #[test]
    fn a_disk_tells_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let behind_a_link = Instance { folder: folder.path().join("link"), ..instance("shop", 1) };
        std::fs::create_dir(folder.path().join("real")).expect("a folder");
        std::os::unix::fs::symlink(folder.path().join("real"), &behind_a_link.folder).expect("a link");
        let open = [
            (70, PathBuf::from("/l/blog2/disk")),
            (71, PathBuf::from("/l/blog/disk")),
            (71, PathBuf::from("/l/blog/cidata.iso")),
            (72, real(folder.path()).join("real/disk")),
        ];
        let instances = [instance("blog", 1), behind_a_link, instance("idle", 1)];
        let expected = [("blog".to_string(), 71), ("shop".to_string(), 72)];
        assert_eq!(owners(instances.iter(), &open), expected.into());
    }
}
