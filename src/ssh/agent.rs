//! Serves a machine's agent socket for as long as one of our processes lives, and not a moment longer.
//!
//! Enters: the socket's path and the host's agent. Leaves: a server that ends when dropped.
//! It relays bytes; which requests may pass is decided nowhere yet (README.md, "What crosses").

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::disk::{self, Lock};
use crate::failure::{Context, Result};
use crate::model::GitHost;

/// Connections at one time; a guest that opens more is refused.
const CONNECTIONS: usize = 8;
/// How often a process that waits looks whether the one that serves is gone: well below the time a session takes to start,
/// so that one which begins as another ends finds its agent.
const TAKE_OVER: Duration = Duration::from_millis(20);

/// The host's agent: a socket, when there is one.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// `SSH_AUTH_SOCK` of this session.
    pub socket: Option<PathBuf>,
}

impl Upstream {
    /// The agent for a machine that clones from `hosts`: the one that ssh is configured to use for them, such as a
    /// password manager's, else this one.
    pub fn for_hosts(&self, hosts: &[GitHost]) -> Self {
        let named = hosts.iter().find_map(|host| host.identity_agent.clone());
        Self { socket: named.or_else(|| self.socket.clone()) }
    }
}

/// Serves, or waits to serve, until dropped. Several sessions of one machine hand over through `agent.lock`.
#[derive(Debug)]
pub struct AgentServer {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl AgentServer {
    /// Starts to serve `socket`, or to wait for its turn when another process of ours does.
    ///
    /// # Errors
    /// When the socket's folder cannot be written; the guest then simply has no agent.
    pub fn start(socket: &Path, upstream: Upstream) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let turn = take_turn(socket)?;
        // The first one listens before it returns, so that a session started next finds the agent.
        let listener = turn.map(|lock| listen(socket).map(|listener| (lock, listener))).transpose()?;
        let (path, stopped) = (socket.to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || serve_in_turn(&path, &upstream, listener, &stopped));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for AgentServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the server must not become one here.
            let _ = thread.join();
        }
    }
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

fn serve_in_turn(socket: &Path, upstream: &Upstream, first: Option<(Lock, UnixListener)>, stop: &AtomicBool) {
    let mut turn = first;
    while !stop.load(Ordering::Relaxed) {
        if let Some((_lock, listener)) = &turn {
            return serve(listener, upstream, stop);
        }
        thread::sleep(TAKE_OVER);
        if let Ok(Some(lock)) = take_turn(socket) {
            turn = listen(socket).ok().map(|listener| (lock, listener));
        }
    }
}

fn serve(listener: &UnixListener, upstream: &Upstream, stop: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((client, _)) if open.load(Ordering::Relaxed) < CONNECTIONS => {
                open.fetch_add(1, Ordering::Relaxed);
                let (upstream, open) = (upstream.clone(), Arc::clone(&open));
                thread::spawn(move || {
                    relay(client, &upstream);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Ok(_) => {}
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(15)),
            Err(_) => return,
        }
    }
}

/// Copies bytes both ways. Without an agent on the host the connection just ends, as with any dead agent.
fn relay(client: UnixStream, upstream: &Upstream) {
    let Some(agent) = upstream.socket.as_ref().and_then(|path| UnixStream::connect(path).ok()) else {
        return;
    };
    let (Ok(mut from_client), Ok(mut to_agent)) = (client.try_clone(), agent.try_clone()) else { return };
    if client.set_nonblocking(false).is_err() {
        return;
    }
    let up = thread::spawn(move || copy(&mut from_client, &mut to_agent));
    let (mut agent, mut client) = (agent, client);
    copy(&mut agent, &mut client);
    let _ = up.join();
}

fn copy(from: &mut UnixStream, to: &mut UnixStream) {
    let mut buffer = [0u8; 8192];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side learns that nothing more will come, whichever way it ended.
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that answers every byte with its double.
    fn fake_agent(path: &Path) {
        let listener = UnixListener::bind(path).expect("bound");
        thread::spawn(move || {
            for stream in listener.incoming() {
                double(stream.expect("a connection"));
            }
        });
    }

    fn double(mut stream: UnixStream) {
        let mut byte = [0u8];
        while stream.read_exact(&mut byte).is_ok() {
            stream.write_all(&[byte[0] * 2]).expect("answered");
        }
    }

    fn ask(socket: &Path) -> Option<u8> {
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(&[21]).ok()?;
        let mut answer = [0u8];
        stream.read_exact(&mut answer).ok()?;
        Some(answer[0])
    }

    #[test]
    fn answers_while_served_hands_over_and_then_is_dead() {
        let folder = tempfile::tempdir().expect("a folder");
        let (socket, real) = (folder.path().join("agent"), folder.path().join("real"));
        fake_agent(&real);
        let upstream = Upstream { socket: Some(real) };
        let first = AgentServer::start(&socket, upstream.clone()).expect("serving");
        let second = AgentServer::start(&socket, upstream).expect("waiting");
        assert_eq!(ask(&socket), Some(42));
        drop(first);
        let taken_over = (0..100).any(|_| {
            thread::sleep(TAKE_OVER);
            ask(&socket) == Some(42)
        });
        assert!(taken_over, "the second session took over");
        drop(second);
        assert!(socket.exists());
        assert_eq!(ask(&socket), None, "nobody serves any more");
    }

    #[test]
    fn without_an_agent_on_the_host_the_connection_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("agent");
        let _server = AgentServer::start(&socket, Upstream::default()).expect("serving");
        assert_eq!(ask(&socket), None);
    }
}
