//! The declared ports of a machine that runs: each leads into the guest, or it is said who has it.
//!
//! Enters: a record, the ports wanted. Leaves: forwards, held by Lima or else by a master of ours; the record and
//! lima.yaml say the same. Every wait ends.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::execute::Work;
use super::{Hooks, Reporter, Site};
use crate::disk;
use crate::failure::{Failure, Result};
use crate::lima::{is_free, with_ports};
use crate::model::{PortForward, list_ports, shown};
use crate::process::port_owner;
use crate::record::MachineRecord;

/// How long Lima may take to set its forwards up once the guest answers: it looks for ssh every three seconds.
const LIMAS_TURN: Duration = Duration::from_secs(60);

/// Who has a port of the host's 127.0.0.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It is free.
    Nobody,
    /// It leads into the machine that was asked for.
    Own,
    /// It leads into another project's machine.
    Machine(String),
    /// A program that is not ours.
    Program(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Own => f.write_str("this machine"),
            Self::Machine(name) => write!(f, "the project `{name}`"),
            Self::Program(program) => f.write_str(program),
        }
    }
}

impl Site<'_> {
    /// Who has a port. Looks at every process's open files only when somebody has it.
    pub fn port_holder(&self, record: &MachineRecord, port: u16) -> Holder {
        if !is_listened_on(port) {
            return Holder::Nobody;
        }
        let Some(owner) = port_owner(port, self.host.os, self.runner) else {
            let unseen = Holder::Program("a program of another user".into());
            // It may have been another look like this one.
            return if is_free(port) { Holder::Nobody } else { unseen };
        };
        // A master shows its socket's path as its command line (ssh.c, `control_persist_detach`).
        let holds = |record: &MachineRecord| {
            let sockets = [self.limas_master(&record.name), self.road(record).holder()];
            sockets.iter().any(|socket| owner.command.contains(&*socket.to_string_lossy()))
        };
        if holds(record) {
            return Holder::Own;
        }
        let other = MachineRecord::load_all(self.layout).into_iter().find(holds);
        other.map_or_else(
            || Holder::Program(describe(&owner.command, owner.pid)),
            |other| Holder::Machine(other.name),
        )
    }

    /// The socket of Lima's own ssh connection.
    fn limas_master(&self, name: &str) -> PathBuf {
        let home = self.layout.lima_home();
        // As Lima names it, which follows links (dirnames.go, `LimaDir`).
        std::fs::canonicalize(&home).unwrap_or(home).join(name).join("ssh.sock")
    }

    /// Refuses to start a machine whose ports others have.
    ///
    /// # Errors
    /// Each taken port with its owner. Nothing has been started.
    pub(super) fn check_ports_are_free(&self, record: &MachineRecord, ports: &[PortForward]) -> Result<()> {
        all_or_failure(self.taken_ports(record, ports))
    }

    /// Whether every wanted port leads into the guest, and no other one is known to.
    pub(super) fn ports_are_settled(&self, record: &MachineRecord, wanted: &[PortForward]) -> bool {
        record.ports == wanted && wanted.iter().all(|port| self.port_holder(record, port.host) == Holder::Own)
    }

    /// Brings the ports of a running machine to what is wanted: closes what is not declared any more, waits for Lima, and
    /// stands in for it where it does not hold a port.
    ///
    /// # Errors
    /// Each port that cannot be had, with its owner. All others lead into the guest then.
    pub fn settle_ports(&self, record: &mut MachineRecord, wanted: &[PortForward]) -> Result<()> {
        for port in record.ports.iter().filter(|port| !wanted.contains(port)) {
            self.close_port(record, *port);
        }
        self.wait_for_lima(record, wanted)?;
        let problems = wanted.iter().filter_map(|port| self.lead(record, *port).err());
        all_or_failure(problems.collect())?;
        self.keep_ports(record, wanted)
    }

    /// Leads one port of the host's into the guest, unless it does so already.
    ///
    /// # Errors
    /// When it is taken, by its owner, or the guest does not answer.
    pub fn lead(&self, record: &MachineRecord, port: PortForward) -> Result<()> {
        let holder = self.port_holder(record, port.host);
        match holder {
            Holder::Own => return Ok(()),
            Holder::Nobody => {}
            _ => return Err(taken(port, &holder)),
        }
        let led = self.road(record).forward(self.runner, port);
        led.map_err(|failure| match self.port_holder(record, port.host) {
            Holder::Nobody | Holder::Own => failure,
            holder => taken(port, &holder),
        })
    }

    /// Stops a port from leading into the guest, whoever of ours holds it.
    pub fn close_port(&self, record: &MachineRecord, port: PortForward) {
        if self.port_holder(record, port.host) == Holder::Own {
            self.road(record).cancel(self.runner, &self.limas_master(&record.name), port);
        }
    }

    /// Writes down which ports a machine has: in its record, and in the file that Lima starts it from.
    pub fn keep_ports(&self, record: &mut MachineRecord, ports: &[PortForward]) -> Result<()> {
        for file in [self.driver().yaml_path(&record.name), self.rendered_path(&record.name)] {
            let Some(text) = disk::read_text_if_there(&file)? else { continue };
            let changed = with_ports(&text, ports)?;
            if changed != text {
                disk::write_atomic(&file, changed.as_bytes(), 0o600)?;
            }
        }
        record.ports = ports.to_vec();
        record.save(self.layout)
    }

    /// What a session does for the ports of a machine that runs: one that nobody holds is led into the guest again.
    pub fn revive_ports(&self, record: &MachineRecord) -> Vec<Failure> {
        let all = record.ports.iter().chain(&record.opened);
        let lost: Vec<PortForward> = all.copied().filter(|port| !is_listened_on(port.host)).collect();
        if lost.is_empty() || is_setting_up(&self.layout.instance(&record.name)) {
            return Vec::new();
        }
        lost.into_iter().filter_map(|port| self.lead(record, port).err()).collect()
    }

    /// Those of a machine's ports that somebody else has.
    pub fn taken_ports(&self, record: &MachineRecord, ports: &[PortForward]) -> Vec<Failure> {
        let others = ports.iter().filter_map(|port| match self.port_holder(record, port.host) {
            Holder::Nobody | Holder::Own => None,
            holder => Some(taken(*port, &holder)),
        });
        others.collect()
    }

    /// Waits while Lima has yet to set its forwards up, and some are missing.
    fn wait_for_lima(&self, record: &MachineRecord, wanted: &[PortForward]) -> Result<()> {
        let deadline = Instant::now() + LIMAS_TURN;
        let folder = self.layout.instance(&record.name);
        while is_setting_up(&folder) && Instant::now() < deadline {
            if wanted.iter().all(|port| is_listened_on(port.host)) {
                return Ok(());
            }
            self.runner.check_interrupt()?;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// Asks about newly declared ports that programs of the host take for somebody else's; where nobody can answer, the
/// user's own file has said it.
pub(super) fn agree(work: &Work, hooks: &Hooks) -> Result<()> {
    let new = work.goal.ports.iter().filter(|port| !work.record.ports.contains(port));
    let refused = new.filter_map(|port| port.doubt()).any(|doubt| {
        let question = format!("{doubt}. Open it?");
        (hooks.confirm)(&question, true) == Some(false)
    });
    if refused {
        let file = work.goal.config_file.display();
        return Err(
            Failure::operation("the port was not agreed to").hint(format!("change `ports` in `{file}`"))
        );
    }
    Ok(())
}

/// Has the declared ports lead into the machine at the end of an `up`.
pub(super) fn open(work: &mut Work, reporter: &mut Reporter) -> Result<()> {
    let phase = reporter.phase("ports");
    phase.now("waiting for the declared ports");
    let wanted = &work.goal.ports;
    work.site.settle_ports(&mut work.record, wanted)?;
    let list = list_ports(wanted);
    reporter.done(phase, if list.is_empty() { "none are declared any more" } else { &list });
    Ok(())
}

/// Whether somebody listens where a forward would. Takes no time, as sessions look at each of their ports.
fn is_listened_on(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// Whether Lima's host agent runs but has not said yet that it is through (hostagent/events, `running`): its forwards
/// come before that.
fn is_setting_up(instance: &Path) -> bool {
    let events = disk::read_tail(&instance.join("ha.stdout.log"), 64 * 1024);
    instance.join("ha.pid").exists() && !events.is_empty() && !events.contains("\"running\":true")
}

/// A command line by its program, since arguments may hold what is nobody's business.
fn describe(command: &str, pid: i32) -> String {
    let program = command.split([' ', ':']).next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    format!("`{}` (process {pid})", shown(name))
}

fn taken(port: PortForward, holder: &Holder) -> Failure {
    let PortForward { host, guest } = port;
    let failure = Failure::operation(format!("port {host} of this computer is taken by {holder}"));
    let other = host.checked_add(1).unwrap_or(host - 1);
    let instead = format!("declare another one instead of `{port}`, such as `\"{other}:{guest}\"`");
    match holder {
        Holder::Machine(name) => {
            failure.hint(format!("stop that machine: `machine down {name}`, or {instead}"))
        }
        _ => failure.hint(format!("end it, or {instead}")),
    }
}

/// One failure that says all of it.
fn all_or_failure(mut problems: Vec<Failure>) -> Result<()> {
    if problems.len() < 2 {
        return problems.pop().map_or(Ok(()), Err);
    }
    let sentences: Vec<String> = problems.iter().map(|problem| format!("{:#}", problem.error)).collect();
    let hints = problems.iter().flat_map(|problem| problem.hints.iter().cloned());
    let failure = Failure::operation(sentences.join("\n")).because("some declared ports cannot be had");
    Err(hints.fold(failure, Failure::hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_owner_and_a_way_out() {
        let failure = taken("65535:80".parse().expect("a port"), &Holder::Machine("shop".into()));
        assert_eq!(failure.error.to_string(), "port 65535 of this computer is taken by the project `shop`");
        assert!(failure.hints[0].ends_with("such as `\"65534:80\"`"), "{:?}", failure.hints);
        assert_eq!(describe("/usr/bin/python3 -m http.server", 7), "`python3` (process 7)");
        assert_eq!(describe("sshd: me@pts/1", 8), "`sshd` (process 8)");
    }

    #[test]
    fn several_problems_are_one_failure() {
        let port: PortForward = "3000".parse().expect("a port");
        let one = || taken(port, &Holder::Program("`x` (process 1)".into()));
        assert!(all_or_failure(Vec::new()).is_ok());
        let both = all_or_failure(vec![one(), one()]).expect_err("two");
        assert_eq!((both.error.root_cause().to_string().lines().count(), both.hints.len()), (2, 2));
    }

    #[test]
    fn lima_is_waited_for_until_it_says_that_it_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            disk::write_atomic(&folder.path().join(name), text.as_bytes(), 0o600).expect("written");
        };
        assert!(!is_setting_up(folder.path()));
        write("ha.pid", "1\n");
        write("ha.stdout.log", "{\"status\":{\"sshLocalPort\":20000}}\n");
        assert!(is_setting_up(folder.path()));
        write("ha.stdout.log", "{\"status\":{\"running\":true,\"sshLocalPort\":20000}}\n");
        assert!(!is_setting_up(folder.path()));
    }
}
