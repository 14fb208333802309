//! Every `limactl` command line we run, as a value; the same values are shown by `--dry-run`.
//!
//! Enters: an instance's name. Leaves: `Cmd`s with their time limits. Runs nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::Host;
use crate::process::Cmd;

/// A `limactl` that works in our private home.
#[derive(Clone, Debug)]
pub struct Limactl {
    program: OsString,
    home: PathBuf,
    launcher: Option<(String, String)>,
}

impl Limactl {
    /// `launcher` is the program Lima shall run as QEMU; `None` on hosts without QEMU.
    pub fn new(home: &Path, launcher: Option<&Path>, host: &Host) -> Self {
        let launcher = launcher.map(|path| {
            // Lima splits the value into shell words (qemu.go, `Exe`).
            let path = path.to_string_lossy();
            let quoted =
                shlex::try_quote(&path).map_or_else(|_| path.to_string(), std::borrow::Cow::into_owned);
            (format!("QEMU_SYSTEM_{}", host.arch.lima().to_uppercase()), quoted)
        });
        Self { program: "limactl".into(), home: home.to_owned(), launcher }
    }

    /// `LIMA_HOME`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Any call: our home, our launcher, no questions.
    pub fn call(&self) -> Cmd {
        let cmd = Cmd::new(&self.program).env("LIMA_HOME", &self.home);
        match &self.launcher {
            Some((name, value)) => cmd.env(name, value),
            None => cmd,
        }
    }

    /// Prints the version; needs no home.
    pub fn version(&self) -> Cmd {
        Cmd::new(&self.program).arg("--version").time_limit(Duration::from_secs(20))
    }

    /// Lists all instances, one JSON object a line. `--json` would go through a reader with a limit of 64 KiB a line.
    pub fn list(&self) -> Cmd {
        self.call().args(["list", "--format", "{{json .}}"]).time_limit(Duration::from_secs(60))
    }

    /// Creates an instance from a file; copies the image, so the limit is a generous one.
    pub fn create(&self, name: &str, file: &Path) -> Cmd {
        let flags = ["--tty=false", "--log-format=json", "create", "--name", name];
        self.call().args(flags).arg(file).time_limit(Duration::from_secs(1200))
    }

    /// Starts an instance. Never with `--progress`, which waits for ever in plain mode.
    pub fn start(&self, name: &str) -> Cmd {
        self.call().args(["--tty=false", "--log-format=json", "start", "--timeout=30m", name])
    }

    /// Stops an instance through ACPI; Lima itself gives up after three minutes.
    pub fn stop(&self, name: &str) -> Cmd {
        self.call()
            .args(["--tty=false", "--log-format=json", "stop", name])
            .time_limit(Duration::from_secs(100))
    }

    /// Stops an instance by SIGKILL. Only after the pids in its folder have been identified.
    pub fn stop_forcibly(&self, name: &str) -> Cmd {
        self.call()
            .args(["--tty=false", "--log-format=json", "stop", "-f", name])
            .time_limit(Duration::from_secs(60))
    }

    /// Deletes an instance, running or not. Only after the pids in its folder have been identified.
    pub fn delete(&self, name: &str) -> Cmd {
        self.call()
            .args(["--tty=false", "--log-format=json", "delete", "-f", name])
            .time_limit(Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::Limactl;
    use crate::model::{Arch, Host, HostOs};
    use std::path::Path;

    #[test]
    fn the_launchers_path_is_quoted_for_limas_shell_words() {
        let host = Host { os: HostOs::Linux, arch: Arch::Arm64, cpus: 1, memory_bytes: None };
        let limactl = Limactl::new(Path::new("/l"), Some(Path::new("/a b/qemu-system-aarch64")), &host);
        let shown = limactl.start("blog").to_string();
        assert!(shown.starts_with("LIMA_HOME=/l QEMU_SYSTEM_AARCH64="), "{shown}");
        assert!(shown.contains("'/a b/qemu-system-aarch64'"), "{shown}");
        assert!(shown.ends_with("limactl --tty=false --log-format=json start --timeout=30m blog"), "{shown}");
    }
}
