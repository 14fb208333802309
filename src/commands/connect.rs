//! `machine connect`: the ProxyCommand of our `Host` blocks; carries one ssh connection of an editor, scp or rsync.
//!
//! Enters: bytes of an ssh client on stdin. Leaves: the guest's bytes on stdout. Wakes a machine that is stopped, unless
//! it was put down by hand: an editor that is still open would bring it back at once.

use std::io::{IsTerminal, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::failure::{Context as _, Failure, Result};
use crate::model::Computer;
use crate::record::{CONNECT, Session};
use crate::workspace::{find_record, reach, refill_session, site};

/// Both ways together, an editor's and ssh's signs of life carry less than so many bytes in so long.
const SIGNS_OF_LIFE: u64 = 8 * 1024;
const WINDOW: Duration = Duration::from_secs(30);

/// Options of `connect`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The project
    #[arg(value_name = "PROJECT")]
    project: String,
}

/// Connects.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    if std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "`connect` carries the bytes of an ssh connection, which are not for a terminal",
        )
        .hint(format!("use `machine ssh {0}` or `ssh machine-{0}`", args.project)));
    }
    let record = find_record(context, Some(&args.project))?;
    let reached = reach(context, record, CONNECT)?;
    if reached.slept {
        // They went before it slept, and whoever woke it by an editor has no other session. Sshd's time for a log-in has not
        // begun yet, however long a source takes.
        let say = |text: &str| context.ui.say(text);
        refill_session(context, &site(context, &Computer::default(), &say), &reached.record)?;
    }
    let port = reached.record.port;
    // Whoever listens there: the pinned host key decides.
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .because(|| format!("failed to connect to 127.0.0.1:{port}, where `{}` listens", args.project))?;
    stream.set_nodelay(true).because(|| "failed to set up the connection")?;
    let carried = carry(&stream, &reached.session).because(|| "the connection broke");
    reached.tell_refused(context);
    carried?;
    Ok(0)
}

/// Copies both ways until the guest's side ends.
fn carry(stream: &TcpStream, session: &Session) -> std::io::Result<()> {
    let (mut upward, mut downward) = (stream.try_clone()?, stream.try_clone()?);
    let traffic = Arc::new(AtomicU64::new(0));
    let sent = Arc::clone(&traffic);
    std::thread::spawn(move || {
        let _ = copy(&mut std::io::stdin().lock(), &mut upward, &mut |bytes| {
            sent.fetch_add(bytes, Ordering::Relaxed);
        });
        // The guest learns that the client has gone; what it still has to say comes the other way.
        let _ = upward.shutdown(Shutdown::Write);
    });
    let (mut window, mut is_noted) = (Instant::now(), false);
    copy(&mut downward, &mut std::io::stdout().lock(), &mut |bytes| {
        // Whatever is sent is answered, so it is enough to look here.
        let carried = traffic.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if window.elapsed() > WINDOW {
            (window, is_noted) = (Instant::now(), false);
            traffic.store(0, Ordering::Relaxed);
        } else if carried >= SIGNS_OF_LIFE && !is_noted {
            session.note_use();
            is_noted = true;
        }
    })
}

/// As `io::copy`, but each piece is handed on at once.
fn copy(from: &mut impl Read, to: &mut impl Write, count: &mut dyn FnMut(u64)) -> std::io::Result<()> {
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
        to.flush()?;
        count(read as u64);
    }
}
