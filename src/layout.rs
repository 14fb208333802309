//! Where every file of ours lies; README.md has the same table.
//!
//! Enters: the home folder and the XDG variables. Leaves: paths. Touches no disk.

use std::path::{Path, PathBuf};

/// The folders of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The user's home folder.
    pub home: PathBuf,
    /// `$XDG_DATA_HOME/machine`: machines, sockets, the launcher.
    pub data: PathBuf,
    /// `$XDG_STATE_HOME/machine`: records, journals, logs.
    pub state: PathBuf,
    /// `$XDG_CACHE_HOME/machine`: downloaded images; may be deleted at any time.
    pub cache: PathBuf,
    /// `$XDG_RUNTIME_DIR/machine`, which ends with the boot or the log-in: keys. Not every system has it.
    pub runtime: Option<PathBuf>,
}

impl Layout {
    /// Works the folders out; `variable` looks an XDG variable up, relative values are ignored as the standard asks.
    pub fn new(home: &Path, variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let folder = |name: &str, default: &str| {
            variable(name)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| home.join(default))
                .join("machine")
        };
        Self {
            home: home.to_owned(),
            data: folder("XDG_DATA_HOME", ".local/share"),
            state: folder("XDG_STATE_HOME", ".local/state"),
            cache: folder("XDG_CACHE_HOME", ".cache"),
            runtime: variable("XDG_RUNTIME_DIR")
                .filter(|path| path.is_absolute())
                .map(|path| path.join("machine")),
        }
    }

    /// Lima's home, private to us.
    pub fn lima_home(&self) -> PathBuf {
        self.data.join("lima")
    }

    /// Lima's folder of one instance.
    pub fn instance(&self, name: &str) -> PathBuf {
        self.lima_home().join(name)
    }

    /// The private key that Lima makes for all its instances; it never leaves the host.
    pub fn lima_key(&self) -> PathBuf {
        self.lima_home().join("_config/user")
    }

    /// The folder of a machine's sockets, short because a socket's path may have 103 bytes only.
    pub fn sockets(&self, id: &str) -> PathBuf {
        self.data.join("s").join(id)
    }

    /// The folder of the QEMU launcher's link.
    pub fn launcher(&self) -> PathBuf {
        self.data.join("launcher")
    }

    /// The folder of one machine's state.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.machines().join(name)
    }

    /// The key by which this computer is root in a strict machine.
    pub fn root_key(&self, name: &str) -> PathBuf {
        self.machine(name).join("root_key")
    }

    /// What a machine has asked of the agent.
    pub fn agent_log(&self, name: &str) -> PathBuf {
        self.machine(name).join("agent.log")
    }

    /// The folder of all machines' state.
    pub fn machines(&self) -> PathBuf {
        self.state.join("machines")
    }

    /// The file with the `Host machine-…` blocks.
    pub fn ssh_hosts(&self) -> PathBuf {
        self.home.join(".ssh/config.d/machine")
    }

    /// The user's own ssh configuration, in which we own one `Include` line.
    pub fn ssh_config(&self) -> PathBuf {
        self.home.join(".ssh/config")
    }

    /// Downloaded disk images.
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// Which `limactl` was accepted: its path, size and time, then what it printed.
    pub fn lima_version(&self) -> PathBuf {
        self.state.join("lima-version")
    }

    /// What the user has allowed repositories' files.
    pub fn trust(&self) -> PathBuf {
        self.state.join("trust.json")
    }

    /// The lock around changes of the user's own configuration.
    pub fn edits_lock(&self) -> PathBuf {
        self.state.join("edits.lock")
    }

    /// The lock around files that all machines share.
    pub fn global_lock(&self) -> PathBuf {
        self.state.join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_xdg_variables_and_ignores_relative_ones() {
        let plain = Layout::new(Path::new("/home/u"), |_| None);
        assert_eq!(plain.lima_home(), Path::new("/home/u/.local/share/machine/lima"));
        assert_eq!(plain.machine("blog"), Path::new("/home/u/.local/state/machine/machines/blog"));
        let moved = Layout::new(Path::new("/home/u"), |name| match name {
            "XDG_DATA_HOME" => Some("/d".into()),
            "XDG_STATE_HOME" => Some("relative".into()),
            _ => None,
        });
        assert_eq!(moved.data, Path::new("/d/machine"));
        assert_eq!(moved.state, plain.state);
    }
}
