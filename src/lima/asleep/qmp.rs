//! QEMU's monitor, as far as sleeping needs it: one command at a time, each with its answer.
//!
//! Enters: an instance's folder. Leaves: answers. QEMU serves one client; Lima is one only while it shuts a guest down.
//! The protocol is that of QEMU's docs/interop/qmp-spec.rst.

use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType,
};
use serde_json::{Value, json};

/// How long QEMU may take for one answer, and to accept us.
const PATIENCE: Duration = Duration::from_secs(10);
/// A longer answer is none.
const LINE_LIMIT: u64 = 1024 * 1024;
/// The name by which QEMU knows a pipe that was handed over.
const PIPE: &str = "machine";

/// How far QEMU has come with writing or reading a memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Migration {
    /// There was none in this QEMU's life, or it has not begun.
    None,
    /// Under way.
    Active,
    /// Done.
    Completed,
    /// It came to nothing.
    Failed,
}

/// A connection to one machine's monitor.
#[derive(Debug)]
pub(super) struct Qmp {
    reader: BufReader<UnixStream>,
    /// Of a line that has not come to its end.
    line: Vec<u8>,
    /// Commands whose answers were not waited for to the end; they come first.
    unanswered: usize,
}

impl Qmp {
    /// Connects to the monitor of an instance.
    pub fn connect(instance: &Path) -> io::Result<Self> {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        // A monitor whose queue is full would let us wait for ever.
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(instance.join("qmp.sock"))?)?;
        Self::greet(UnixStream::from(socket))
    }

    fn greet(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self { reader: BufReader::new(stream), line: Vec::new(), unanswered: 0 };
        qmp.next_line()?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command; its answer, or QEMU's own words. One that does not come in time ([`is_busy`]) is passed over when
    /// the next command is run.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> io::Result<Value> {
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        self.reader.get_mut().write_all(line.as_bytes())?;
        self.last_answer()
    }

    /// Runs a command that takes no arguments.
    pub fn ask(&mut self, command: &str) -> io::Result<Value> {
        self.execute(command, &json!({}))
    }

    /// Hands one end of a pipe over; the address by which `migrate` and `migrate-incoming` know it.
    pub fn hand_over(&mut self, end: impl AsFd) -> io::Result<String> {
        let line = format!("{}\n", json!({"execute": "getfd", "arguments": {"fdname": PIPE}}));
        send_with(self.reader.get_ref(), line.as_bytes(), end.as_fd())?;
        self.last_answer()?;
        Ok(format!("fd:{PIPE}"))
    }

    /// Whether the guest runs: `running`, `paused`, `inmigrate`, `postmigrate`, … (`RunState` of QEMU's qapi).
    pub fn status(&mut self) -> io::Result<String> {
        let answer = self.ask("query-status")?;
        Ok(answer["status"].as_str().unwrap_or_default().to_string())
    }

    /// How far a migration has come.
    pub fn migration(&mut self) -> io::Result<Migration> {
        match self.ask("query-migrate") {
            Ok(answer) => Ok(match answer["status"].as_str() {
                Some("completed") => Migration::Completed,
                Some("failed" | "cancelled") => Migration::Failed,
                Some("none") | None => Migration::None,
                Some(_) => Migration::Active,
            }),
            Err(cause) if is_busy(&cause) => Ok(Migration::Active),
            Err(cause) => Err(cause),
        }
    }

    /// The answer to the command that was just sent.
    fn last_answer(&mut self) -> io::Result<Value> {
        self.unanswered += 1;
        loop {
            let mut line = self.next_line()?;
            let words = line["error"]["desc"].as_str().map(ToString::to_string);
            let answer = match (line.get_mut("return"), words) {
                (Some(answer), _) => Ok(answer.take()),
                (None, Some(words)) => Err(io::Error::other(words)),
                // An event; what it tells is asked for where it matters.
                (None, None) => continue,
            };
            self.unanswered -= 1;
            if self.unanswered == 0 {
                return answer;
            }
        }
    }

    fn next_line(&mut self) -> io::Result<Value> {
        let read = self.reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&std::mem::take(&mut self.line))?)
    }
}

/// Whether QEMU only has no time to answer: its migration keeps everybody waiting towards its end.
pub(super) fn is_busy(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn send_with(stream: &UnixStream, bytes: &[u8], end: BorrowedFd<'_>) -> io::Result<()> {
    let ends = [end];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&ends));
    // So short a line goes at once or not at all.
    rustix::net::sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says these lines, whatever it hears.
    fn monitor(lines: &'static [&'static str]) -> UnixStream {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        std::thread::spawn(move || {
            let mut heard = BufReader::new(theirs.try_clone().expect("a clone"));
            for line in lines {
                let waits = line.contains("return") || line.contains("error");
                let command = waits.then(|| heard.read_line(&mut String::new()));
                command.transpose().expect("a command");
                theirs.write_all(format!("{line}\r\n").as_bytes()).expect("said");
            }
        });
        ours
    }

    #[test]
    fn events_are_passed_over_and_errors_are_qemus_words() {
        let lines = [
            r#"{"QMP": {"version": {}, "capabilities": []}}"#,
            r#"{"return": {}}"#,
            r#"{"event": "STOP"}"#,
            r#"{"return": {"status": "postmigrate", "running": false}}"#,
            r#"{"return": {"status": "completed"}}"#,
            r#"{"return": {"status": "setup"}}"#,
            r#"{"error": {"class": "GenericError", "desc": "no such file"}}"#,
        ];
        let mut qmp = Qmp::greet(monitor(Box::leak(Box::new(lines)))).expect("greeted");
        assert_eq!(qmp.status().expect("said"), "postmigrate");
        assert_eq!(qmp.migration().expect("said"), Migration::Completed);
        assert_eq!(qmp.migration().expect("said"), Migration::Active);
        assert_eq!(qmp.ask("migrate").expect_err("refused").to_string(), "no such file");
        qmp.ask("quit").expect_err("gone");
    }

    #[test]
    fn a_late_answer_is_not_taken_for_the_next_one() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(b"{\"QMP\": {}}\n{\"return\": {}}\n{\"retu").expect("said");
        let mut qmp = Qmp::greet(ours).expect("greeted");
        qmp.reader.get_ref().set_read_timeout(Some(Duration::from_millis(20))).expect("a limit");
        assert_eq!(qmp.migration().expect("busy"), Migration::Active);
        theirs
            .write_all(b"rn\": {\"status\": \"active\"}}\n{\"return\": {\"status\": \"running\"}}\n")
            .expect("said");
        assert_eq!(qmp.status().expect("said"), "running");
        assert!(is_busy(&qmp.status().expect_err("silence")));
    }

    #[test]
    fn a_monitor_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        Qmp::connect(folder.path()).expect_err("nobody");
        Qmp::greet(monitor(&["hello"])).expect_err("not JSON");
        Qmp::greet(monitor(&[])).expect_err("silence");
    }
}
