//! `machine` under the name of QEMU: Lima runs it instead, it runs the real one with what Lima has no key for.
//!
//! Enters: Lima's command line. Leaves: never; it ends by becoming QEMU, so that pid, signals and QMP stay Lima's.
//! Reads its settings from files beside the instance and the link, never from the environment.

mod accelerator;
mod arguments;
mod shape;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use accelerator::{Choice, Engine, KvmNode, Verdict, choose, kvm_node};
use arguments::{Call, rewrite};
pub use shape::shape_of;

use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::model::Arch;

/// Settings of one machine's boot, in its instance folder.
const LAUNCH_FILE: &str = "launch.json";
/// Settings of the link itself, beside its folder.
const LINK_FILE: &str = "launcher.json";

/// What the launcher is told for one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The accelerator that `up` chose.
    pub engine: Engine,
    /// The shape of the command line whose memory is to be given back; `None` for a cold boot.
    #[serde(default)]
    pub wakes: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Link {
    qemu: PathBuf,
}

/// The name under which Lima runs QEMU on `arch`.
pub fn program_name(arch: Arch) -> String {
    format!("qemu-system-{}", arch.lima())
}

/// Whether a process was started as the launcher, judging by its `argv[0]`.
pub fn is_launcher(argv0: &Path) -> bool {
    argv0.file_name().is_some_and(|name| name.to_string_lossy().starts_with("qemu-system-"))
}

/// Puts the link to `binary` in place, with the real QEMU's firmware where Lima looks for it.
///
/// # Errors
/// When the folder cannot be written; Lima then still has no launcher and the start is refused.
pub fn install(folder: &Path, arch: Arch, binary: &Path, qemu: &Path) -> Result<PathBuf> {
    let link = folder.join("bin").join(program_name(arch));
    disk::ensure_private_folder(&folder.join("bin"))?;
    disk::ensure_private_folder(&folder.join("share"))?;
    point(&link, binary)?;
    // Lima looks for firmware relative to the program it was given (qemu.go, `getFirmware`).
    let firmware = qemu.parent().and_then(Path::parent).map(|prefix| prefix.join("share/qemu"));
    if let Some(firmware) = firmware.filter(|path| path.is_dir()) {
        point(&folder.join("share/qemu"), &firmware)?;
    }
    let text = to_json(&Link { qemu: qemu.to_owned() })?;
    disk::write_atomic(&folder.join(LINK_FILE), &text, 0o600)?;
    Ok(link)
}

/// Tells the launcher how to start one instance.
pub fn write_launch(instance: &Path, launch: &Launch) -> Result<()> {
    disk::write_atomic(&instance.join(LAUNCH_FILE), &to_json(launch)?, 0o600)
}

/// The accelerator of an instance's last start.
pub fn read_engine(instance: &Path) -> Result<Engine> {
    read_json(&instance.join(LAUNCH_FILE)).map(|launch: Launch| launch.engine)
}

/// Becomes QEMU. Returns only when that failed.
pub fn launch(argv0: &Path, args: &[OsString]) -> Failure {
    match prepare(argv0, args) {
        Ok((qemu, args)) => crate::process::replace(&qemu, &args),
        Err(failure) => failure,
    }
}

fn prepare(argv0: &Path, args: &[OsString]) -> Result<(PathBuf, Vec<OsString>)> {
    let folder = argv0.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let link: Link = read_json(&folder.join(LINK_FILE))?;
    let args = match Call::of(args)? {
        Call::Probe => args.to_vec(),
        Call::Boot { instance } => {
            let launch: Launch = read_json(&instance.join(LAUNCH_FILE))?;
            wait_for_memory(rewrite(args, launch.engine), launch.wakes.as_deref())?
        }
    };
    Ok((link.qemu, args))
}

/// Lets QEMU wait for the memory of a machine that slept, if its command line is the one that memory was made with.
fn wait_for_memory(mut args: Vec<OsString>, wakes: Option<&str>) -> Result<Vec<OsString>> {
    let Some(shape) = wakes else { return Ok(args) };
    if shape_of(&args) != shape {
        return Err(Failure::operation("the machine fell asleep with another command line of QEMU"));
    }
    args.extend(shape::WAIT.map(OsString::from));
    Ok(args)
}

fn point(link: &Path, target: &Path) -> Result<()> {
    if std::fs::read_link(link).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let fresh = link.with_extension("new");
    disk::remove_file(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh)
        .and_then(|()| std::fs::rename(&fresh, link))
        .because(|| format!("failed to link `{}`", link.display()))
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value)
        .map_err(|cause| Failure::operation(format!("failed to write JSON: {cause}")))
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let bytes = disk::read_if_there(path)?.unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|cause| {
        Failure::operation(format!("the launcher cannot read `{}`: {cause}", path.display()))
            .hint("start the machine with `machine up`, which writes that file")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_reads_both_files_and_a_probe_only_the_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let instance = folder.path().join("lima/blog");
        std::fs::create_dir_all(&instance).expect("an instance");
        let qemu = Path::new("/opt/q/bin/qemu-system-x86_64");
        let launcher = folder.path().join("launcher");
        let link = install(&launcher, Arch::Amd64, Path::new("/usr/bin/machine"), qemu).expect("installed");
        assert!(is_launcher(&link) && !is_launcher(Path::new("/usr/bin/machine")));
        assert_eq!(std::fs::read_link(&link).expect("a link"), Path::new("/usr/bin/machine"));

        let probe: Vec<OsString> = ["-M", "none", "-accel", "help"].map(OsString::from).to_vec();
        assert_eq!(prepare(&link, &probe).expect("passed on"), (qemu.to_owned(), probe.clone()));

        let pidfile = instance.join("qemu.pid").into_os_string();
        let netdev = OsString::from("user,id=net0,hostfwd=tcp:127.0.0.1:20000-:22");
        let boot = vec!["-netdev".into(), netdev, "-pidfile".into(), pidfile];
        let failure = prepare(&link, &boot).expect_err("no launch.json yet");
        assert!(failure.error.to_string().contains("launch.json"), "{failure:?}");
        let launch =
            |wakes| write_launch(&instance, &Launch { engine: Engine::Tcg, wakes }).expect("written");
        launch(None);
        let (_, args) = prepare(&link, &boot).expect("a boot");
        assert!(args.iter().any(|arg| arg.to_string_lossy().contains("free-page-reporting")));
        launch(Some(shape_of(&args)));
        let (_, waiting) = prepare(&link, &boot).expect("a boot");
        assert_eq!(waiting, [&args[..], &shape::WAIT.map(OsString::from)].concat());
        launch(Some(shape_of(&waiting[1..])));
        prepare(&link, &boot).expect_err("another machine's memory");
    }
}
