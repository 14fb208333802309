//! What the process was given: home, folder, environment, terminal. The only reader of `std::env`.
//!
//! Enters: the environment, once. Leaves: values that every verb works with. Children get an allow-list of it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::failure::{Context as _, Failure, Result};
use crate::layout::Layout;
use crate::model::{Arch, Host, HostOs};
use crate::process::{Interrupt, Runner};
use crate::ui::{Loudness, Ui, log_command};

/// Variables that children see as they are. Nothing else of ours steers `limactl`, `ssh`, `git` or QEMU.
const PASSED_ON: [&str; 10] = [
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TERM",
    "COLORTERM",
    "XDG_RUNTIME_DIR",
];
/// Folders where package managers put programs, for editors that start us without a shell's PATH.
const PROGRAM_FOLDERS: [&str; 5] =
    ["/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin", "/usr/local/bin", "/usr/bin", "/bin"];
/// Proxy settings, for downloads on the host only.
const PROXIES: [&str; 6] = ["https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY", "no_proxy"];

/// What programs that hold secrets need of the environment: where their stores, agents and windows are. 1Password's
/// include how it logs in.
const FOR_SOURCES: [&str; 21] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "GNUPGHOME",
    "GPG_TTY",
    "OP_ACCOUNT",
    "OP_BIOMETRIC_UNLOCK_ENABLED",
    "OP_CACHE",
    "OP_CONFIG_DIR",
    "OP_CONNECT_HOST",
    "OP_CONNECT_TOKEN",
    "OP_SERVICE_ACCOUNT_TOKEN",
    "PASSWORD_STORE_DIR",
    "PASSWORD_STORE_GPG_OPTS",
    "SOPS_AGE_KEY_FILE",
    "SSH_AUTH_SOCK",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_CONFIG_HOME",
    "XDG_CURRENT_DESKTOP",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
];
/// Where a program of the desktop shows its window.
const DISPLAYS: [&str; 4] = ["DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS"];

/// How the user can be asked beside the terminal.
#[derive(Clone, Debug, Default)]
pub struct Askpass {
    /// `SSH_ASKPASS`.
    pub program: Option<PathBuf>,
    /// The variables of [`DISPLAYS`] that are set.
    pub display: Vec<(String, OsString)>,
}

/// The options that every verb takes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--config DIR` or `MACHINE_CONFIG_DIR`.
    pub config_dir: Option<PathBuf>,
    /// `-v`, `-q`.
    pub loudness: Loudness,
    /// `--json`.
    pub json: bool,
    /// `--yes`.
    pub yes: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `--no-wait`.
    pub no_wait: bool,
}

/// The process's surroundings.
pub struct Context {
    /// What was asked for.
    pub options: Options,
    /// The folder we were started in.
    pub cwd: PathBuf,
    /// Where our files are.
    pub layout: Layout,
    /// The computer.
    pub host: Host,
    /// The terminal.
    pub ui: Ui,
    /// Whether it is one that knows no modes, by `TERM`.
    pub dumb_terminal: bool,
    /// What starts programs.
    pub runner: Runner,
    /// This program, by a path that an upgrade keeps.
    pub binary: PathBuf,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// The socket of the host's agent, `SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
    /// `SSH_ASKPASS`, and what such a program needs to show itself.
    pub askpass: Askpass,
    /// Proxy variables.
    pub proxies: Vec<(String, String)>,
    /// Which of our folders are not at their default place.
    pub folder_variables: Vec<(String, PathBuf)>,
    /// Variables that name a key to sign with, in the order in which they count.
    pub signing_variables: Vec<(String, String)>,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text_variable(name: &str) -> Option<String> {
    variable(name)?.into_string().ok()
}

fn path_variable(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn variables_like(start: &str) -> Vec<(String, OsString)> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named.filter(|(name, _)| name.starts_with(start)).collect()
}

/// Variables for the program of a secret's source. A session of 1Password has the account in its variable's name.
pub fn source_variables(program: &str) -> Vec<(String, OsString)> {
    let is_op = program == "op";
    let known = FOR_SOURCES.iter().filter(|name| is_op || !name.starts_with("OP_"));
    let known = known.filter_map(|name| Some(((*name).to_string(), variable(name)?)));
    known.chain(if is_op { variables_like("OP_SESSION_") } else { Vec::new() }).collect()
}

/// The path in a variable that the user's own settings name; `None` when it is not set, or empty.
pub fn path_named(name: &str) -> Option<PathBuf> {
    path_variable(name)
}

/// The bytes of a variable that is a secret; `None` when it is not set, or empty.
pub fn secret_variable(name: &str) -> Option<Vec<u8>> {
    variable(name).map(OsString::into_vec)
}

impl Context {
    /// Gathers everything.
    ///
    /// # Errors
    /// When run as root, which Lima refuses, or without a home folder.
    pub fn gather(mut options: Options) -> Result<Self> {
        refuse_root()?;
        options.config_dir = options.config_dir.or_else(|| path_variable("MACHINE_CONFIG_DIR"));
        let home = home_folder()?;
        let interrupt = Interrupt::install().because(|| "failed to watch for signals")?;
        let log = (options.loudness == Loudness::Verbose).then_some(log_command as fn(&str));
        let layout = Layout::new(&home, path_variable);
        let environment = child_environment(&home, remembered_folder(&layout));
        let runner = Runner::new(environment, interrupt.clone(), log);
        let cwd = std::env::current_dir().because(|| "failed to find the current folder: was it removed?")?;
        let names = ["XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"];
        let moved = names.iter().filter_map(|name| Some(((*name).to_string(), path_variable(name)?)));
        crate::ssh::check_path(&layout.data)?;
        crate::ssh::check_path(&layout.state)?;
        Ok(Self {
            cwd,
            host: host()?,
            ui: Ui::new(options.loudness, options.yes, interrupt.flag()),
            dumb_terminal: text_variable("TERM").is_none_or(|term| term == "dumb"),
            binary: stable_binary(&runner)?,
            runner,
            xdg_config_home: path_variable("XDG_CONFIG_HOME"),
            agent: path_variable("SSH_AUTH_SOCK"),
            askpass: Askpass {
                program: path_variable("SSH_ASKPASS"),
                display: DISPLAYS
                    .iter()
                    .filter_map(|name| Some(((*name).to_string(), variable(name)?)))
                    .collect(),
            },
            proxies: PROXIES
                .iter()
                .filter_map(|name| Some(((*name).to_string(), text_variable(name)?)))
                .collect(),
            folder_variables: moved.filter(|(_, path)| path.is_absolute()).collect(),
            signing_variables: ["GIT_SIGNING_KEY", "OP_SIGNING_KEY_REF", "GIT_SIGNING_PUBKEY_FILE"]
                .iter()
                .filter_map(|name| Some(((*name).to_string(), text_variable(name)?)))
                .collect(),
            layout,
            options,
        })
    }
}

/// The configuration folder as completion sees it, without anything that could fail or take time.
pub fn completion_surroundings() -> Option<(PathBuf, PathBuf, Option<PathBuf>, Option<PathBuf>)> {
    let cwd = std::env::current_dir().ok()?;
    Some((cwd, home_folder().ok()?, path_variable("XDG_CONFIG_HOME"), path_variable("MACHINE_CONFIG_DIR")))
}

/// Where our state is, for completion.
pub fn completion_layout() -> Option<Layout> {
    Some(Layout::new(&home_folder().ok()?, path_variable))
}

fn refuse_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Err(Failure::usage(
            "`machine` does not run as root: Lima refuses it, and your keys are not root's",
        )
        .hint("run it as the user whose projects these are"));
    }
    Ok(())
}

fn home_folder() -> Result<PathBuf> {
    dirs::home_dir().filter(|home| home.is_absolute()).ok_or_else(|| {
        Failure::usage("there is no home folder: HOME is not set, or not an absolute path").hint("set HOME")
    })
}

/// Where `limactl` was the last time: an editor that starts `connect` may not have that folder in its PATH.
fn remembered_folder(layout: &Layout) -> Option<PathBuf> {
    let remembered = crate::disk::read_text_if_there(&layout.lima_version()).ok()??;
    let program = remembered.lines().next()?.rsplitn(3, ' ').nth(2)?;
    Path::new(program).parent().filter(|folder| folder.is_absolute()).map(Path::to_owned)
}

/// What children see: an allow-list, and a PATH that also works below an editor.
fn child_environment(home: &Path, remembered: Option<PathBuf>) -> Vec<(OsString, OsString)> {
    let passed = PASSED_ON.iter().filter_map(|name| Some((OsString::from(name), variable(name)?)));
    let mut environment: Vec<(OsString, OsString)> = passed.filter(|(name, _)| name != "HOME").collect();
    environment.push(("HOME".into(), home.into()));
    let given = variable("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&given).filter(|folder| folder.is_absolute()).collect();
    for folder in remembered.into_iter().chain(PROGRAM_FOLDERS.map(PathBuf::from)) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    environment.push(("PATH".into(), std::env::join_paths(folders).unwrap_or(given)));
    environment
}

fn host() -> Result<Host> {
    let os = if cfg!(target_os = "macos") { HostOs::MacOs } else { HostOs::Linux };
    let arch = match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "aarch64" => Arch::Arm64,
        other => {
            return Err(Failure::usage(format!("no guest image is known for this architecture, `{other}`")));
        }
    };
    let cpus =
        std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    Ok(Host { os, arch, cpus, memory_bytes: crate::process::physical_memory_bytes() })
}

/// The path that editors and the launcher's link can rely on: a package manager's link on PATH that leads to this very
/// program outlives an upgrade, the program's own versioned folder does not.
fn stable_binary(runner: &Runner) -> Result<PathBuf> {
    let own = std::env::current_exe().because(|| "failed to find this program's own path")?;
    let own_real = std::fs::canonicalize(&own).unwrap_or_else(|_| own.clone());
    let on_path = runner.find("machine");
    let is_own = |path: &PathBuf| std::fs::canonicalize(path).is_ok_and(|real| real == own_real);
    Ok(on_path.filter(is_own).unwrap_or(own))
}
