//! The helper beside a running QEMU: it keeps its network up to date, and ends with it.
//!
//! Enters: QEMU's pid, the ends of its name server. Leaves: when QEMU does. It starts pasta, answers name look-ups,
//! loads the rules anew when the computer's addresses or the project's doors have changed, and keeps the consoles' logs
//! small. It stays outside the namespace and has no rights but the user's. When it was killed, another one takes over.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::{Enclosure, consoles, namespace, part, read_launch, relay, rules};
use crate::disk::{self, Lock};
use crate::failure::{Context, Failure, Result};
use crate::process::{Cmd, Runner, has_ended_within};

/// The kernel's table of routes and own addresses.
const TRIE: &str = "/proc/net/fib_trie";
/// How often it is looked at what has changed.
const LOOK: Duration = Duration::from_secs(2);
/// How long pasta may take; it takes some 50 ms.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long until pasta is started again when it has ended: longer each time, so that its complaints fill no disk.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a keeper is told when it is started.
pub(super) struct Keeper {
    pub link: PathBuf,
    pub instance: PathBuf,
    pub qemu: i32,
    pub port: u16,
}

/// The ends of a name server inside, by UDP and by TCP.
type NameServer = (UdpSocket, TcpListener);

impl Keeper {
    /// The command that starts it, by the name of its part.
    pub fn command(&self, name: &str) -> Cmd {
        let words = [self.qemu.to_string(), self.port.to_string()];
        part(&self.link, name).arg(&self.instance).args(words)
    }

    /// Works until QEMU, its parent, ends.
    pub fn keep(&self, runner: &Runner) -> Result<()> {
        end_with_parent(self.qemu)?;
        // One of the boot before may be about to end.
        let _only = Lock::wait_exclusive(&lock(&self.instance))?;
        let mut qemu = standard_input()?;
        let inside = receive(&qemu)?;
        let loaded = self.wanted_rules()?;
        // QEMU waits for a network only before it starts; later nobody reads this.
        self.serve(inside, loaded, runner, &mut |words| drop(qemu.write_all(words.as_bytes())))
    }

    /// Goes on where the helper of a QEMU that runs was killed, until that ends; at once where there is one.
    pub fn take_over(self, runner: Runner) -> Result<()> {
        let Ok(_only) = Lock::try_exclusive(&lock(&self.instance), "")? else { return Ok(()) };
        let qemu = self.qemu;
        let (near, far) = UnixStream::pair().because(|| "failed to make a pair of sockets")?;
        let cmd = part(&self.link, "name-server").arg(qemu.to_string());
        let mut inside = runner.attach(&cmd, far.into(), &self.open_log()?)?;
        let name_server = receive(&near)?;
        inside.wait().because(|| "failed to wait for a helper")?;
        let work = std::thread::spawn(move || self.serve(name_server, String::new(), &runner, &mut |_| {}));
        while !has_ended_within(qemu, LOOK) {
            if work.is_finished() {
                let panicked = |_| Err(Failure::operation("the network's helper panicked"));
                return work.join().unwrap_or_else(panicked);
            }
        }
        Ok(())
    }

    fn serve(
        &self,
        (udp, tcp): NameServer,
        mut loaded: String,
        runner: &Runner,
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        relay::start(udp, tcp);
        let log = self.open_log()?;
        let mut pause = PAUSE;
        loop {
            let mut pasta = runner.detach(&self.pasta()?, &log)?;
            while !has_ended(&mut pasta, LOOK) {
                self.refresh(&mut loaded, runner);
                consoles::bound(&self.instance);
            }
            let words = disk::read_tail(&self.instance.join("network.log"), 4000);
            tell(&format!("pasta has ended. {words}"));
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn open_log(&self) -> Result<File> {
        disk::open_log(&self.instance.join("network.log"))
    }

    fn enclosure(&self) -> Result<Enclosure> {
        read_launch(&self.instance)?
            .enclosure
            .ok_or_else(|| Failure::operation("this machine has no enclosure"))
    }

    fn pasta(&self) -> Result<Cmd> {
        let enclosure = self.enclosure()?;
        let ports = match enclosure.openings.host_ports() {
            None => "auto".into(),
            Some(ports) if ports.is_empty() => "none".into(),
            Some(ports) => ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        };
        let forward = format!("127.0.0.1/{}", self.port);
        Ok(part(&self.link, "pasta")
            .arg(std::process::id().to_string())
            .arg(&enclosure.pasta)
            // Nothing is copied from the computer's own interfaces: so networks may come, go and change.
            .args(["--foreground", "--quiet", "--ipv4-only", "--config-net", "--no-map-gw", "-i", "lo"])
            .args([
                "-I",
                "uplink",
                "-a",
                "192.0.0.2",
                "-n",
                "29",
                "-g",
                "192.0.0.1",
                "-M",
                "02:00:00:00:00:02",
            ])
            // From outside only sshd's port; to the outside's loopback what the project opens.
            .args(["-t", &forward, "-u", "none", "-T", &ports, "-U", &ports])
            .arg(self.qemu.to_string()))
    }

    fn wanted_rules(&self) -> Result<String> {
        wanted_rules(&self.enclosure()?, self.port)
    }

    /// Loads the rules anew if they have changed; what fails is tried again.
    fn refresh(&self, loaded: &mut String, runner: &Runner) {
        let Ok(wanted) = self.wanted_rules() else { return };
        if wanted == *loaded {
            return;
        }
        let Ok(nft) = self.enclosure().map(|enclosure| enclosure.nft) else { return };
        let cmd = part(&self.link, "rules").arg(self.qemu.to_string()).arg(nft);
        if runner.run(&cmd.input(wanted.as_str()).time_limit(PATIENCE)).is_ok() {
            *loaded = wanted;
        }
    }
}

/// The rules as they should be now.
pub(super) fn wanted_rules(enclosure: &Enclosure, sshd: u16) -> Result<String> {
    let trie = disk::read_text_if_there(Path::new(TRIE))?.unwrap_or_default();
    Ok(rules::render(&enclosure.openings, &rules::own_addresses(&trie), sshd))
}

/// Asks the kernel to end this process with its parent, which must still be the one that was meant.
pub(super) fn end_with_parent(parent: i32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(io::Error::from)
        .because(|| "failed to bind a helper to its machine")?;
    match getppid() {
        Some(pid) if pid.as_raw_nonzero().get() == parent => Ok(()),
        _ => Err(Failure::operation("the machine of this helper has ended")),
    }
}

/// Held by the one helper that a machine has.
fn lock(instance: &Path) -> PathBuf {
    instance.join("keeper.lock")
}

/// Whether an instance has a helper at work.
pub(super) fn is_kept(instance: &Path) -> Result<bool> {
    Lock::try_exclusive(&lock(instance), "").map(|attempt| attempt.is_err())
}

/// The socket that a helper gets from whoever starts it.
pub(super) fn standard_input() -> Result<UnixStream> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().because(|| "failed to keep a socket")?;
    Ok(stdin.into())
}

/// Hands the name server's sockets to the keeper, which is waiting for them.
pub(super) fn hand_over(keeper: &UnixStream, udp: &UdpSocket, tcp: &TcpListener) -> Result<()> {
    let sockets = [udp.as_fd(), tcp.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(keeper, &[IoSlice::new(b"x")], &mut control, SendFlags::empty())
        .map(|_| ())
        .map_err(io::Error::from)
        .because(|| "failed to hand the name server to its helper")
}

fn receive(giver: &UnixStream) -> Result<NameServer> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(giver, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(io::Error::from)
        .because(|| "failed to take the name server over")?;
    let mut sockets: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            sockets.extend(files);
        }
    }
    match <[OwnedFd; 2]>::try_from(sockets) {
        Ok([udp, tcp]) => Ok((udp.into(), tcp.into())),
        Err(_) => Err(Failure::operation("the machine of this helper has ended")),
    }
}

/// Waits for the network to come up inside.
///
/// # Errors
/// With pasta's own words when it ended, or when nothing has happened in time.
pub(super) fn wait_for_network(keeper: &mut UnixStream) -> Result<()> {
    let started = Instant::now();
    keeper.set_read_timeout(Some(Duration::from_millis(5))).because(|| "failed to wait for the network")?;
    let mut words = [0; 4096];
    while !namespace::has_route() {
        match keeper.read(&mut words) {
            Ok(0) => return Err(Failure::operation("the network's helper ended at once")),
            Ok(length) => {
                let words = String::from_utf8_lossy(&words[..length]).into_owned();
                return Err(Failure::operation(words).because("pasta failed to start"));
            }
            Err(_) if started.elapsed() > PATIENCE => {
                let sentence = format!("pasta did not bring the network up within {} s", PATIENCE.as_secs());
                return Err(Failure::operation(sentence));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn has_ended(child: &mut Child, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::sleep(patience / 4);
    }
    false
}

/// The keeper's own log.
pub(super) fn open_log(instance: &Path) -> Result<File> {
    let path = instance.join("network.log");
    disk::remove_file(&path)?;
    disk::open_log(&path)
}
