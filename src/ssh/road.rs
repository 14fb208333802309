//! One machine's ssh connection: a configuration file of ours, a master that ends by itself, sessions over it.
//!
//! Enters: port, keys, folder. Leaves: `Cmd`s and the judgement of a connection attempt.
//! `-F` with our own file keeps the user's ssh configuration, and so its surprises, out.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{self, Lock};
use crate::failure::{Context, Failure, Result};
use crate::process::{Cmd, Finished, Runner};

/// The name the configuration file gives the one host in it.
pub(super) const HOST: &str = "guest";

/// Root's first command makes itself the master of those that follow, for a minute after the last one.
const ROOT_MODE: &str = "auto\n  ControlPersist 60";

/// How to reach one machine.
#[derive(Clone, Debug)]
pub struct Road {
    /// The port of 127.0.0.1 that reaches its sshd.
    pub port: u16,
    /// The name its host key is pinned under, `machine-NAME`.
    pub alias: String,
    /// Its public host key, `ssh-ed25519 AAAA…`.
    pub host_key: String,
    /// Lima's private key for the login user.
    pub identity: PathBuf,
    /// The private key of its root, where the login user may not become that; it is nobody's but this machine's.
    pub root_identity: Option<PathBuf>,
    /// The machine's folder of sockets.
    pub folder: PathBuf,
}

/// What came of trying to connect.
#[derive(Debug)]
pub enum Attempt {
    /// The master is up.
    Connected,
    /// Nobody answers yet, or not yet with the pinned key; ssh's last words.
    NotYet(String),
}

impl Road {
    /// The master's socket.
    pub fn master(&self) -> PathBuf {
        self.folder.join("mux")
    }

    /// The socket through which guest sessions reach an agent, while somebody serves it.
    pub fn agent(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// The file with the pinned host key.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    /// The socket of root's own connection, where it has one.
    fn root_master(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// As [`Self::config`], for root's own way in.
    fn root_config(&self) -> PathBuf {
        self.folder.join("root-config")
    }

    /// Writes the configuration and the pinned key, and makes sure the agent's path exists: ssh complains otherwise.
    pub fn prepare(&self) -> Result<()> {
        disk::ensure_private_folder(&self.folder)?;
        let pinned = format!("{} {}\n", self.alias, self.host_key);
        write_if_changed(&self.known_hosts(), &pinned)?;
        write_if_changed(&self.config(), &self.render_config("dev", &self.identity, &self.master(), "no"))?;
        if let Some(identity) = &self.root_identity {
            write_if_changed(
                &self.root_config(),
                &self.render_config("root", identity, &self.root_master(), ROOT_MODE),
            )?;
        }
        if !self.agent().exists() {
            // A socket that nobody listens to: connecting is refused, which is what an ended session means.
            let made = UnixListener::bind(self.agent()).and_then(|_| disk::set_private(&self.agent()));
            made.because(|| format!("failed to make `{}`", self.agent().display()))?;
        }
        Ok(())
    }

    /// `mode` says whether a command makes itself the master where none is up.
    fn render_config(&self, user: &str, identity: &Path, master: &Path, mode: &str) -> String {
        let path = |path: &Path| quote_path(path);
        let lines = [
            format!("Host {HOST}"),
            "HostName 127.0.0.1".into(),
            format!("Port {}", self.port),
            format!("User {user}"),
            format!("HostKeyAlias {}", self.alias),
            format!("UserKnownHostsFile {}", path(&self.known_hosts())),
            "GlobalKnownHostsFile /dev/null".into(),
            "StrictHostKeyChecking yes".into(),
            "UpdateHostKeys no".into(),
            "HostKeyAlgorithms ssh-ed25519".into(),
            format!("IdentityFile {}", path(identity)),
            "IdentitiesOnly yes".into(),
            "IdentityAgent none".into(),
            "BatchMode yes".into(),
            "PreferredAuthentications publickey".into(),
            format!("ControlPath {}", path(master)),
            format!("ControlMaster {mode}"),
            // The master lends this path; a session borrows it only where its command line says so.
            "ForwardX11 no".into(),
            "ConnectTimeout 15".into(),
            // A guest that froze is noticed within a minute.
            "ServerAliveInterval 15".into(),
            "ServerAliveCountMax 4".into(),
            "LogLevel ERROR".into(),
        ];
        format!("# Written by machine; changes are overwritten.\n{}\n", lines.join("\n  "))
    }

    /// Whether a master is up: its socket accepts. Starts no process.
    pub fn is_open(&self) -> bool {
        UnixStream::connect(self.master()).is_ok()
    }

    /// What tells this master from every other one, while one is up.
    pub fn connection(&self) -> Option<String> {
        let found = std::fs::symlink_metadata(self.master()).ok().filter(|_| self.is_open())?;
        Some(format!("{}-{}.{}", found.ino(), found.ctime(), found.ctime_nsec()))
    }

    /// Makes sure a master is up, by one connection at most.
    ///
    /// # Errors
    /// When ssh itself cannot be run, or on an interrupt. A guest that does not answer is no error but an [`Attempt`].
    pub fn open(&self, runner: &Runner) -> Result<Attempt> {
        let _turn = Lock::wait_exclusive(&self.folder.join("lock"))?;
        if self.is_open() {
            return Ok(Attempt::Connected);
        }
        // A socket left by a master that was killed would make ssh do without one.
        disk::remove_file(&self.master())?;
        let finished = runner.read_any_status(&self.open_command())?;
        runner.check_interrupt()?;
        if finished.status.success() {
            return Ok(Attempt::Connected);
        }
        Ok(Attempt::NotYet(finished.tail.join("; ")))
    }

    /// The command that brings the master up and ends when it is.
    pub fn open_command(&self) -> Cmd {
        let mut cmd = Cmd::new("ssh").arg("-F").arg(self.config());
        for option in ["ControlMaster=yes", "ControlPersist=600"] {
            cmd = cmd.arg("-o").arg(option);
        }
        self.lend_agent(cmd).args(["-f", "-N", HOST]).own_group().time_limit(Duration::from_secs(40))
    }

    /// Closes the masters, and with them every session and port they hold.
    pub fn close(&self, runner: &Runner) {
        for master in [self.master(), self.holder(), self.root_master()] {
            if UnixStream::connect(&master).is_ok() {
                let cmd = self.control(&master).args(["-O", "exit", HOST]);
                // It may end between the look and the call.
                let _ = runner.run(&cmd.time_limit(Duration::from_secs(5)));
            }
        }
    }

    /// A command over the master, without a terminal and without the agent. `line` must be safe for any shell.
    pub fn exec(&self, line: &str) -> Cmd {
        let options = ["-T", "-o", "ControlMaster=no", HOST, "--"];
        Cmd::new("ssh").arg("-F").arg(self.config()).args(options).arg(line)
    }

    /// A command of root's, without a terminal and without the agent. `line` must be safe for any shell.
    pub fn exec_root(&self, line: &str) -> Cmd {
        match self.root_identity {
            None => self.exec(&format!("sudo -n {line}")),
            Some(_) => Cmd::new("ssh").arg("-F").arg(self.root_config()).args(["-T", HOST, "--"]).arg(line),
        }
    }

    /// A session for the user: on a terminal where asked, with the agent where lent.
    pub fn session(&self, line: &str, terminal: bool, lend_agent: bool) -> Cmd {
        let mut cmd = Cmd::new("ssh").arg("-F").arg(self.config()).arg(if terminal { "-t" } else { "-T" });
        if lend_agent {
            cmd = self.lend_agent(cmd);
        }
        cmd.args([HOST, "--"]).arg(line)
    }

    /// Connects standard input and output with a port of the guest's 127.0.0.1, over the master.
    pub fn tunnel(&self, port: u16) -> Cmd {
        Cmd::new("ssh").arg("-F").arg(self.config()).arg("-W").arg(format!("127.0.0.1:{port}")).arg(HOST)
    }

    /// A connection apart from the master that accepts what `known_hosts` says, and ends at once.
    pub fn apart(&self, known_hosts: &Path) -> Cmd {
        let known = format!("UserKnownHostsFile={}", quote_path(known_hosts));
        let options = ["-T", "-o", "ControlPath=none", "-o", &known, HOST, "--", "true"];
        Cmd::new("ssh").arg("-F").arg(self.config()).args(options)
    }

    /// A session that does nothing but give the guest a socket for the agent, under the name that stays the same. It
    /// lasts until its input ends. The line is one that every login shell reads alike.
    pub fn anchor(&self) -> Cmd {
        let line = "ln -sfn \"$SSH_AUTH_SOCK\" ~/.ssh/agent.sock; exec cat";
        self.session(line, false, true).open_input().own_group()
    }

    fn lend_agent(&self, cmd: Cmd) -> Cmd {
        let mut option = OsString::from("ForwardAgent=");
        option.push(quote_path(&self.agent()));
        cmd.arg("-o").arg(option)
    }

    /// Reads a short answer of the guest.
    pub fn read(&self, runner: &Runner, line: &str, input: &str, limit: Duration) -> Result<Finished> {
        runner.read(&self.exec(line).input(input).time_limit(limit))
    }
}

/// ssh's configuration wants a path with spaces in double quotes, and reads `%` as the start of a token.
pub(super) fn quote_path(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('%', "%%"))
}

/// Refuses a folder whose path ssh's configuration could not hold.
pub fn check_path(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    if text.contains(['"', '\n', '\\', '\u{fffd}']) || text.contains("${") {
        return Err(Failure::usage(format!(
            "ssh cannot use the folder `{text}`: quotes, backslashes or `${{` in it"
        )));
    }
    Ok(())
}

fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if disk::read_text_if_there(path)?.as_deref() == Some(text) {
        return Ok(());
    }
    disk::write_atomic(path, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn road(folder: &Path) -> Road {
        Road {
            port: 20_001,
            alias: "machine-blog".into(),
            host_key: "ssh-ed25519 AAAA".into(),
            identity: "/d/lima/_config/user".into(),
            root_identity: None,
            folder: folder.to_owned(),
        }
    }

    #[test]
    fn nothing_trusts_on_first_use() {
        let road = road(Path::new("/a b/100%"));
        let text = road.render_config("dev", &road.identity, &road.master(), "no");
        assert!(text.contains("\n  StrictHostKeyChecking yes\n"));
        assert!(text.contains("\n  UserKnownHostsFile \"/a b/100%%/known_hosts\"\n"));
        assert!(!text.contains("StrictHostKeyChecking no") && !text.contains("accept-new"));
    }

    #[test]
    fn only_the_master_and_lent_sessions_name_the_agent() {
        let road = road(Path::new("/s"));
        assert!(!road.render_config("dev", &road.identity, &road.master(), "no").contains("ForwardAgent"));
        assert!(road.open_command().to_string().contains("ForwardAgent"));
        assert!(road.session("x", true, true).to_string().contains("ForwardAgent"));
        assert!(!road.session("x", true, false).to_string().contains("ForwardAgent"));
        assert!(!road.exec("x").to_string().contains("ForwardAgent"));
    }

    #[test]
    fn root_has_a_key_and_a_connection_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let usual = road(&folder.path().join("s"));
        assert!(usual.exec_root("true").to_string().ends_with("guest -- 'sudo -n true'"));
        let strict = Road { root_identity: Some("/s/blog/root_key".into()), ..usual };
        strict.prepare().expect("prepared");
        let text = std::fs::read_to_string(strict.root_config()).expect("written");
        for line in ["User root", "IdentityFile \"/s/blog/root_key\"", "ControlMaster auto"] {
            assert!(text.contains(&format!("\n  {line}\n")), "{line}");
        }
        assert!(text.contains(&strict.root_master().display().to_string()) && !text.contains("/mux"));
        assert!(!strict.exec_root("true").to_string().contains("sudo"));
        assert!(!std::fs::read_to_string(strict.config()).expect("written").contains("root"));
    }

    #[test]
    fn preparing_twice_leaves_a_dead_agent_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let road = road(&folder.path().join("s"));
        road.prepare().expect("first");
        road.prepare().expect("second");
        assert!(UnixStream::connect(road.agent()).is_err());
        assert!(!road.is_open());
    }
}
