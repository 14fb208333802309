//! Waits for a child within limits: its output as it comes, its end, a time limit, an interrupt.
//!
//! Enters: a spawned child. Leaves: how it ended. Never waits longer than it was told to.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::runner::{Sink, Source};
use super::{Cmd, Interrupt};

/// How often a wait looks at the clock, the interrupt flag and the child.
const TICK: Duration = Duration::from_millis(40);
/// How many lines may wait for us: who prints faster than we read waits as well, and takes no memory of ours.
const LINES_AHEAD: usize = 256;
/// How long output may stay open, and silent, after the child has ended: a daemon it left behind can hold the pipe. What
/// the child wrote is read before that, also on a host that is short of time.
const LINGER: Duration = Duration::from_millis(1500);
/// How long a signal that may have reached the child as well is left to it.
const HEED: Duration = Duration::from_millis(300);
/// How long a child gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(700);
/// A line longer than this is handed on in pieces, so that a flood cannot fill our memory.
const LINE_LIMIT: u64 = 64 * 1024;

/// Why a wait ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// We stopped it after its time limit.
    TimedOut,
    /// We stopped it because a signal asked us to.
    Interrupted,
}

type Chunk = (Source, Vec<u8>);

/// Reads `pipe` line by line on a thread of its own.
fn forward(source: Source, pipe: impl Read + Send + 'static, lines: SyncSender<Chunk>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        while let Some(line) = next_line(&mut reader) {
            if lines.send((source, line)).is_err() {
                return;
            }
        }
    });
}

/// Hands a pipe's bytes to a sink on a thread of its own, and tells when all of them, and the sink, are gone.
pub(super) fn hand_on(mut pipe: impl Read + Send + 'static, mut sink: Sink) -> Receiver<()> {
    let (over, all) = channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            sink(&buffer[..read]);
        }
        drop(sink);
        drop(over);
    });
    all
}

/// Waits for the rest of a pipe whose program has ended; a daemon it left behind is not waited for.
pub(super) fn wait_for_rest(all: &Receiver<()>) {
    let _ = all.recv_timeout(LINGER);
}

/// One line, cut where it is too long; `None` at the end.
fn next_line(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = reader.take(LINE_LIMIT).read_until(b'\n', &mut line).ok()?;
    (read > 0).then_some(line)
}

/// Hands every line of the child's output to `sink` until it ends, is interrupted or runs out of time.
pub(super) fn wait(
    child: &mut Child,
    cmd: &Cmd,
    interrupt: &Interrupt,
    sink: &mut dyn FnMut(Source, &[u8]),
) -> std::io::Result<Ended> {
    let (sender, lines) = sync_channel(LINES_AHEAD);
    if let Some(pipe) = child.stdout.take() {
        forward(Source::Stdout, pipe, sender.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        forward(Source::Stderr, pipe, sender.clone());
    }
    drop(sender);
    let ended = watch(child, cmd, interrupt, &lines, sink)?;
    Ok(ended)
}

fn watch(
    child: &mut Child,
    cmd: &Cmd,
    interrupt: &Interrupt,
    lines: &Receiver<Chunk>,
    sink: &mut dyn FnMut(Source, &[u8]),
) -> std::io::Result<Ended> {
    let started = Instant::now();
    let mut exited: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(TICK) {
            Ok((source, line)) => {
                sink(source, &line);
                exited = exited.map(|(status, _)| (status, Instant::now()));
            }
            Err(RecvTimeoutError::Disconnected) => return finish(child, cmd, interrupt, started),
            Err(RecvTimeoutError::Timeout) => {
                if let Some((status, _)) = exited.filter(|(_, silent_since)| silent_since.elapsed() > LINGER)
                {
                    return Ok(Ended::Exited(status));
                }
            }
        }
        if let Some(stopped) = stop_if_due(child, cmd, interrupt, started)? {
            return Ok(stopped);
        }
        if exited.is_none() {
            exited = child.try_wait()?.map(|status| (status, Instant::now()));
        }
    }
}

/// All output has been read: what is left is the end itself.
fn finish(child: &mut Child, cmd: &Cmd, interrupt: &Interrupt, started: Instant) -> std::io::Result<Ended> {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Exited(status));
        }
        if let Some(stopped) = stop_if_due(child, cmd, interrupt, started)? {
            return Ok(stopped);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(TICK);
    }
}

fn stop_if_due(
    child: &mut Child,
    cmd: &Cmd,
    interrupt: &Interrupt,
    started: Instant,
) -> std::io::Result<Option<Ended>> {
    if interrupt.is_asked() {
        stop(child, cmd)?;
        return Ok(Some(Ended::Interrupted));
    }
    if cmd.time_limit.is_some_and(|limit| started.elapsed() > limit) {
        stop(child, cmd)?;
        return Ok(Some(Ended::TimedOut));
    }
    Ok(None)
}

/// Waits for a child on our terminal. A signal that reached us alone is passed on; Ctrl-C reaches both by itself.
pub(super) fn wait_passing_signals(child: &mut Child, interrupt: &Interrupt) -> std::io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (over, ended) = channel::<()>();
    let interrupt = interrupt.clone();
    let watcher = thread::spawn(move || {
        let mut asked_for = Duration::ZERO;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
            if interrupt.is_asked() {
                asked_for += TICK;
            }
            if let Some(pid) = pid.filter(|_| asked_for > HEED) {
                // It has ended if this fails, and the wait below says how.
                let _ = kill_process(pid, Signal::TERM);
                return;
            }
        }
    });
    let status = child.wait();
    drop(over);
    // The watcher only ever sleeps and looks; there is nothing in it that could panic.
    let _ = watcher.join();
    status
}

/// Ends a child: SIGTERM, a grace period, SIGKILL; the whole group when it has one of its own.
fn stop(child: &mut Child, cmd: &Cmd) -> std::io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(pid) = pid {
            // It may have ended already, which is all that is wanted.
            let _ = if cmd.own_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}
