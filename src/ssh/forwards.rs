//! Ports of the guest on the host's 127.0.0.1 where Lima does not hold them: declared since its start, or lost by it.
//!
//! Enters: ports. Leaves: `Cmd`s for a master of its own, which lends no agent and lives until the machine ends.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::road::{Road, quote_path};
use crate::disk::{self, Lock};
use crate::failure::Result;
use crate::model::PortForward;
use crate::process::{Cmd, Runner};

/// How long a master is given to answer a request.
const REQUEST: Duration = Duration::from_secs(10);

impl Road {
    /// The socket of the master that holds ports.
    pub fn holder(&self) -> PathBuf {
        self.folder.join("fwd")
    }

    /// The command that brings that master up. The one for sessions ends when they are over, and forwards with it.
    pub fn hold_command(&self) -> Cmd {
        let cmd = self.control(&self.holder());
        let options = ["-o", "ControlMaster=yes", "-o", "ControlPersist=yes", "-f", "-N", super::road::HOST];
        cmd.args(options).own_group().time_limit(Duration::from_secs(40))
    }

    /// The request to lead a port of the host's 127.0.0.1 into the guest.
    pub fn forward_command(&self, port: PortForward) -> Cmd {
        self.request(&self.holder(), "forward", port)
    }

    /// The request to stop that. Lima's own master understands it as well.
    pub fn cancel_command(&self, master: &Path, port: PortForward) -> Cmd {
        self.request(master, "cancel", port)
    }

    /// Leads a port of the host's 127.0.0.1 into the guest.
    ///
    /// # Errors
    /// When the guest does not answer, or the port is taken. Whatever was forwarded stays so.
    pub fn forward(&self, runner: &Runner, port: PortForward) -> Result<()> {
        let _turn = Lock::wait_exclusive(&self.folder.join("fwd.lock"))?;
        if UnixStream::connect(self.holder()).is_err() {
            // A socket left by a master that was killed would keep the new one from its place.
            disk::remove_file(&self.holder())?;
            runner.run(&self.hold_command())?;
        }
        runner.run(&self.forward_command(port))
    }

    /// Stops what [`Self::forward`] does, also where Lima did it: at whichever of these masters holds the port.
    pub fn cancel(&self, runner: &Runner, limas: &Path, port: PortForward) {
        for master in [&self.holder(), limas] {
            let request = self.cancel_command(master, port);
            // One that does not have it says so.
            if UnixStream::connect(master).is_ok() && runner.run(&request).is_ok() {
                return;
            }
        }
    }

    /// `ssh` that speaks to one of the masters, whichever socket its file names.
    pub(super) fn control(&self, master: &Path) -> Cmd {
        let mut option = OsString::from("ControlPath=");
        option.push(quote_path(master));
        Cmd::new("ssh").arg("-F").arg(self.config()).arg("-o").arg(option)
    }

    fn request(&self, master: &Path, verb: &str, port: PortForward) -> Cmd {
        let PortForward { host, guest } = port;
        let way = format!("127.0.0.1:{host}:127.0.0.1:{guest}");
        self.control(master).args(["-O", verb, "-L", &way, super::road::HOST]).time_limit(REQUEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_led_from_the_hosts_loopback_to_the_guests() {
        let road = Road {
            port: 20_001,
            alias: "machine-blog".into(),
            host_key: String::new(),
            identity: "/l/_config/user".into(),
            root_identity: None,
            folder: "/s/1".into(),
        };
        let port: PortForward = "8080:80".parse().expect("a port");
        let way = "-L 127.0.0.1:8080:127.0.0.1:80 ";
        for cmd in [road.forward_command(port), road.cancel_command(Path::new("/l/blog/ssh.sock"), port)] {
            assert!(cmd.to_string().contains(way), "{cmd}");
        }
    }
}
