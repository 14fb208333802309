//! Serves a machine's agent socket for as long as one of our processes lives, and not a moment longer.
//!
//! Enters: the socket's path, what is lent. Leaves: a server that ends when dropped, with all its connections.
//! Several sessions of one machine hand over through a lock; what may pass is decided in `policy`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::ask::Asker;
use super::exchange::{Desk, Exchange};
use super::log::{Entry, Log};
use super::policy::{Policy, Refusal};
use super::verify::Verifier;
use super::wire::{read_frame, write_frame};
use crate::disk::{self, Lock};
use crate::failure::{Context, Result};
use crate::process::{Cmd, Companion, Runner, peer_of};

/// Connections at one time; a guest that opens more is refused.
const CONNECTIONS: usize = 8;
/// How often a process that waits looks whether the one that serves is gone: well below the time a session takes to start,
/// so that one which begins as another ends finds its agent.
const TAKE_OVER: Duration = Duration::from_millis(20);
/// How often a server that has nothing to do looks for a client.
const LOOK: Duration = Duration::from_millis(15);
/// How long a client may be silent: a login takes seconds, and one that a person hesitates over some minutes.
const SILENCE: Duration = Duration::from_secs(600);
/// How often the guest's name for the agent is looked after.
const AGAIN: Duration = Duration::from_secs(5);
/// From one request to the next, on average: a rebase signs some dozens a second, a flood would fill the log.
const PACE: Duration = Duration::from_millis(10);
/// How much faster than that for a moment.
const BURST: Duration = Duration::from_secs(2);

/// What a machine is lent at this moment.
pub struct Loan {
    /// What it is granted.
    pub policy: Policy,
    /// The host's agent, when there is one.
    pub upstream: Option<PathBuf>,
    /// The program that asks the owner, to be given the question.
    pub ask_with: Option<Cmd>,
}

/// Finds out what the machine of a name is lent. It is asked anew for each connection, so that a grant counts at once, and its end too.
pub type Lend = Arc<dyn Fn(&str) -> Result<Loan> + Send + Sync>;

/// What it takes to serve one machine.
pub struct Service {
    /// Where the machine's own ssh connection looks for the agent.
    pub socket: PathBuf,
    /// The machine's name.
    pub machine: String,
    /// Where requests are written down.
    pub log: PathBuf,
    /// What is lent.
    pub lend: Lend,
    /// Gives the guest a socket under the name that stays the same, for as long as it runs.
    pub anchor: Cmd,
    /// After how long of serving that is started.
    pub settled: Duration,
    /// Starts the programs that verify, ask and anchor.
    pub runner: Runner,
}

/// Serves, or waits to serve, until dropped.
pub struct AgentServer {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What the threads of a server have in common.
struct Shared {
    socket: PathBuf,
    lend: Lend,
    desk: Desk,
    runner: Runner,
    anchor: Cmd,
    settled: Duration,
    stop: AtomicBool,
    /// The clients that are connected, by a number of their own.
    clients: Mutex<BTreeMap<u64, UnixStream>>,
    /// When the next request is due.
    due: Mutex<Instant>,
}

impl AgentServer {
    /// Starts to serve, or to wait for its turn when another process of ours does.
    ///
    /// # Errors
    /// When the socket's folder cannot be written; the guest then simply has no agent.
    pub fn start(service: Service) -> Result<Self> {
        let folder = service.socket.parent().unwrap_or(Path::new("/"));
        let shared = Arc::new(Shared {
            lend: service.lend,
            desk: Desk {
                log: Log { path: service.log, machine: service.machine },
                verifier: Verifier::new(service.runner.clone(), folder),
                asker: Asker::new(service.runner.clone()),
            },
            runner: service.runner,
            anchor: service.anchor,
            settled: service.settled,
            socket: service.socket,
            stop: AtomicBool::new(false),
            clients: Mutex::default(),
            due: Mutex::new(Instant::now()),
        });
        let turn = take_turn(&shared.socket)?;
        // The first one listens before it returns, so that a session started next finds the agent.
        let listener =
            turn.map(|lock| listen(&shared.socket).map(|listener| (lock, listener))).transpose()?;
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || serve_in_turn(&own, listener));
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for AgentServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in the server must not become one here.
            let _ = thread.join();
        }
        // A client that is connected still would go on being answered for as long as this process lives.
        for client in held(&self.shared.clients).values() {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// A lock's content, also when a thread died while it held it: nothing here is left half done.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_turn(socket: &Path) -> Result<Option<Lock>> {
    Ok(Lock::try_exclusive(&socket.with_extension("lock"), "agent")?.ok())
}

/// Binds beside the path and renames over it, since the path must exist at every moment.
fn listen(socket: &Path) -> Result<UnixListener> {
    let fresh = socket.with_extension("new");
    disk::remove_file(&fresh)?;
    let attempt = || {
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        std::fs::rename(&fresh, socket)?;
        Ok(listener)
    };
    let attempted: std::io::Result<UnixListener> = attempt();
    attempted.because(|| format!("failed to serve the agent at `{}`", socket.display()))
}

fn serve_in_turn(shared: &Arc<Shared>, first: Option<(Lock, UnixListener)>) {
    let mut turn = first;
    // One that takes over from another finds a name in the guest that leads nowhere.
    let waited = turn.is_none();
    while !shared.stop.load(Ordering::Relaxed) {
        if let Some((_lock, listener)) = &turn {
            return serve(listener, shared, if waited { Duration::ZERO } else { shared.settled });
        }
        thread::park_timeout(TAKE_OVER);
        if let Ok(Some(lock)) = take_turn(&shared.socket) {
            turn = listen(&shared.socket).ok().map(|listener| (lock, listener));
        }
    }
}

fn serve(listener: &UnixListener, shared: &Arc<Shared>, settled: Duration) {
    let mut number = 0;
    let (mut anchor, mut due) = (None::<Companion>, Instant::now() + settled);
    while !shared.stop.load(Ordering::Relaxed) {
        if Instant::now() >= due {
            due = Instant::now() + AGAIN;
            if !anchor.as_mut().is_some_and(Companion::runs) {
                // Without it the agent is there all the same, under the names of the sessions.
                anchor = shared.runner.accompany(&shared.anchor).ok();
            }
        }
        match listener.accept() {
            Ok((client, _)) => {
                number += 1;
                admit(client, number, shared);
            }
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => thread::park_timeout(LOOK),
            Err(_) => return,
        }
    }
}

fn admit(client: UnixStream, number: u64, shared: &Arc<Shared>) {
    let own = rustix::process::geteuid().as_raw();
    let peer = peer_of(&client);
    // The folder keeps others out already; this holds if somebody opens it. Root cannot be kept out (ssh-agent.c agrees).
    if peer.is_some_and(|peer| peer.uid != own && peer.uid != 0) {
        return;
    }
    let ssh_pid = peer.map(|peer| peer.pid);
    if held(&shared.clients).len() >= CONNECTIONS {
        shared.wait_for_pace();
        let entry = Entry { request: "connect".into(), ssh_pid, ..Entry::default() };
        // Refused is refused, written down or not.
        let _ = shared.desk.log.note(entry, Some(&Refusal::TooMany));
        return;
    }
    let Ok(twin) = client.try_clone() else { return };
    held(&shared.clients).insert(number, twin);
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        // However it ends, the client is gone then.
        let _ = attend(client, &shared, ssh_pid);
        held(&shared.clients).remove(&number);
    });
}

fn attend(mut client: UnixStream, shared: &Shared, ssh_pid: Option<i32>) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(SILENCE))?;
    client.set_write_timeout(Some(SILENCE))?;
    let loan = (shared.lend)(&shared.desk.log.machine);
    let mut exchange = Exchange::new(&shared.desk, loan, ssh_pid);
    while let Some(message) = read_frame(&mut client)? {
        shared.wait_for_pace();
        write_frame(&mut client, &exchange.answer(&message))?;
    }
    Ok(())
}

impl Shared {
    /// Holds a client back that asks faster than anything but a flood would.
    fn wait_for_pace(&self) {
        let now = Instant::now();
        let due = {
            let mut due = held(&self.due);
            let earliest = now.checked_sub(BURST).unwrap_or(now);
            let this = (*due).max(earliest);
            *due = this + PACE;
            this
        };
        thread::sleep(due.saturating_duration_since(now));
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
