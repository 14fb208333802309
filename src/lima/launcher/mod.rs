//! `machine` under the name of QEMU: Lima runs it instead, it runs the real one with what Lima has no key for.
//!
//! Enters: Lima's command line. Leaves: never; it ends by becoming QEMU, so that pid, signals and QMP stay Lima's. On
//! Linux it gives QEMU a network of its own first.
//! Reads its settings from files beside the instance and the link, never from the environment.

mod accelerator;
mod arguments;
mod available;
#[cfg(target_os = "linux")]
mod consoles;
mod filter;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod parts;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod rules;
mod shape;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use accelerator::{Choice, Engine, KvmNode, Verdict, choose, kvm_node};
use arguments::{Call, rewrite};
pub use available::find_enclosure;
pub use shape::shape_of;

use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::model::{Arch, Openings};
use crate::process::{Cmd, Interrupt, Runner};

/// Settings of one machine's boot, in its instance folder.
const LAUNCH_FILE: &str = "launch.json";
/// The first word of our own helpers' command lines.
const PART: &str = "launcher-part";
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
    /// The network of its own that it gets; `None` where this computer cannot give it one.
    #[serde(default)]
    pub enclosure: Option<Enclosure>,
    /// Whether the guest's kernel is told to clear memory that is freed; only where Lima hands it to QEMU.
    #[serde(default)]
    pub clears_freed: bool,
}

/// What a network of its own is made with, and what is open in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// The program that connects it to the computer's.
    pub pasta: PathBuf,
    /// The program that loads its rules.
    pub nft: PathBuf,
    /// What of this computer and its networks may be reached.
    pub openings: Openings,
}

#[derive(Serialize, Deserialize)]
struct Link {
    qemu: PathBuf,
}

/// The name under which Lima runs QEMU on `arch`.
pub fn program_name(arch: Arch) -> String {
    format!("qemu-system-{}", arch.lima())
}

/// Whether a process was started as the launcher, or as a part of it, judging by its command line.
pub fn is_launcher(argv0: &Path, args: &[OsString]) -> bool {
    let is_qemu = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("qemu-system-");
    argv0.file_name().is_some_and(is_qemu) || args.first().is_some_and(|word| word == PART)
}

/// The command of one of our own helpers, run by this program.
fn part(binary: &Path, name: &str) -> Cmd {
    Cmd::new(binary).args([PART, name])
}

/// The path under which Lima runs this program as QEMU, in the launcher's folder.
pub fn link(folder: &Path, arch: Arch) -> PathBuf {
    folder.join("bin").join(program_name(arch))
}

/// Puts the link to `binary` in place, with the real QEMU's firmware where Lima looks for it.
///
/// # Errors
/// When the folder cannot be written; Lima then still has no launcher and the start is refused.
pub fn install(folder: &Path, arch: Arch, binary: &Path, qemu: &Path) -> Result<PathBuf> {
    let link = link(folder, arch);
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

/// What the launcher was last told about an instance.
pub fn read_launch(instance: &Path) -> Result<Launch> {
    read_json(&instance.join(LAUNCH_FILE))
}

/// The accelerator of an instance's last start.
pub fn read_engine(instance: &Path) -> Result<Engine> {
    read_launch(instance).map(|launch| launch.engine)
}

/// Becomes QEMU, or does a helper's work. Returns when that failed, or when it was one that ends.
pub fn launch(argv0: &Path, args: &[OsString]) -> Result<()> {
    if args.first().is_some_and(|word| word == PART) {
        return run_part(argv0, args.get(1..).unwrap_or_default());
    }
    let Start { qemu, args, boot } = prepare(argv0, args)?;
    if let Some((instance, port, enclosure)) = boot {
        enclose(argv0, &instance, port, &enclosure)?;
    }
    Err(crate::process::replace(&qemu, &args))
}

#[cfg(target_os = "linux")]
pub use parts::keep_enclosed;
#[cfg(target_os = "linux")]
use parts::{enclose, run as run_part};

#[cfg(not(target_os = "linux"))]
fn run_part(_: &Path, _: &[OsString]) -> Result<()> {
    Err(Failure::usage("machines are enclosed on Linux only"))
}

/// Has another helper take over where that of a running QEMU was killed.
#[cfg(not(target_os = "linux"))]
pub fn keep_enclosed(_: &Path, _: &Path, _: i32, _: u16, _: &Runner) -> Result<bool> {
    Err(Failure::usage("machines are enclosed on Linux only"))
}

#[cfg(not(target_os = "linux"))]
fn enclose(_: &Path, _: &Path, _: u16, _: &Enclosure) -> Result<()> {
    Err(Failure::usage("machines are enclosed on Linux only"))
}

/// How QEMU is to be started.
#[derive(Debug)]
struct Start {
    qemu: PathBuf,
    args: Vec<OsString>,
    /// The instance, its ssh port and its network, for a boot in one of its own.
    boot: Option<(PathBuf, u16, Enclosure)>,
}

fn prepare(argv0: &Path, args: &[OsString]) -> Result<Start> {
    let folder = argv0.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let link: Link = read_json(&folder.join(LINK_FILE))?;
    Ok(match Call::of(args)? {
        Call::Probe => Start { qemu: link.qemu, args: args.to_vec(), boot: None },
        Call::Boot { instance, port } => {
            let launch = read_launch(&instance)?;
            let mut args = rewrite(args, &launch);
            args.extend(filter::arguments(&link.qemu));
            let args = wait_for_memory(args, launch.wakes.as_deref())?;
            let boot = launch.enclosure.map(|enclosure| (instance, port, enclosure));
            Start { qemu: link.qemu, args, boot }
        }
    })
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

/// What runs the launcher's own helpers.
fn runner() -> Runner {
    Runner::new(vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())], Interrupt::default(), None)
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

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_boot_reads_both_files_and_a_probe_only_the_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let instance = folder.path().join("lima/blog");
        std::fs::create_dir_all(&instance).expect("an instance");
        let qemu = Path::new("/opt/q/bin/qemu-system-x86_64");
        let launcher = folder.path().join("launcher");
        let link = install(&launcher, Arch::Amd64, Path::new("/usr/bin/machine"), qemu).expect("installed");
        assert!(
            is_launcher(&link, &[]) && is_launcher(Path::new("/usr/bin/machine"), &words(&[PART, "try"]))
        );
        assert!(!is_launcher(Path::new("/usr/bin/machine"), &words(&["up", PART])));
        assert_eq!(std::fs::read_link(&link).expect("a link"), Path::new("/usr/bin/machine"));

        let probe = words(&["-M", "none", "-accel", "help"]);
        let start = prepare(&link, &probe).expect("passed on");
        assert_eq!((start.qemu.as_path(), start.args, start.boot), (qemu, probe, None));

        let pidfile = instance.join("qemu.pid").into_os_string();
        let mut boot = words(&["-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:20000-:22", "-pidfile"]);
        boot.push(pidfile);
        let failure = prepare(&link, &boot).expect_err("no launch.json yet");
        assert!(failure.error.to_string().contains("launch.json"), "{failure:?}");
        let launch = |wakes: Option<String>, enclosure: Option<Enclosure>| {
            write_launch(&instance, &Launch { engine: Engine::Tcg, wakes, enclosure, clears_freed: false })
                .expect("written");
            prepare(&link, &boot)
        };
        let args = launch(None, None).expect("a boot").args;
        assert!(args.iter().any(|arg| arg.to_string_lossy().contains("free-page-reporting")));
        let enclosure = Enclosure {
            pasta: "/usr/bin/pasta".into(),
            nft: "/usr/sbin/nft".into(),
            openings: Openings::default(),
        };
        let start = launch(Some(shape_of(&args)), Some(enclosure.clone())).expect("a boot");
        assert_eq!(start.args[args.len()..], shape::WAIT.map(OsString::from));
        assert_eq!(start.boot, Some((instance.clone(), 20_000, enclosure)));
        launch(Some(shape_of(&args[1..])), None).expect_err("another machine's memory");
    }
}
