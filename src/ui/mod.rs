//! The terminal: answers on stdout, talk on stderr, phases with their times, one question.
//!
//! Enters: text of any origin, which is cleaned here. Leaves: lines. Decides nothing.

mod phase;
mod sanitize;
mod span;
mod table;
mod terminal;

use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::failure::{Failure, Kind};
use crate::model::redact_text;
pub use phase::{Phase, Timing};
use sanitize::escape_json;
pub use sanitize::sanitize;
pub use span::{ago, briefly, for_as_long};
pub use table::render_table;
pub use terminal::{TerminalGuard, terminal_sinks};

/// What is told beside the answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loudness {
    /// `-q`: warnings and errors only.
    Quiet,
    /// Phases and notes.
    #[default]
    Normal,
    /// `-v`: also every command line.
    Verbose,
}

/// The user's terminal, or whatever stands in its place.
#[derive(Clone, Debug, Default)]
pub struct Ui {
    loudness: Loudness,
    /// `-y`: take the default answer of every question that loses nothing.
    pub yes: bool,
    /// Set by a signal that asks us to stop.
    interrupted: Arc<AtomicBool>,
}

/// How often a question looks whether a signal came instead of an answer.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

impl Ui {
    /// A terminal that talks as loudly as asked.
    pub fn new(loudness: Loudness, yes: bool, interrupted: Arc<AtomicBool>) -> Self {
        Self { loudness, yes, interrupted }
    }

    /// Says on stderr what only `-v` asks for.
    pub fn detail(&self, text: &str) {
        if self.loudness == Loudness::Verbose {
            self.say(text);
        }
    }

    /// Says something on stderr, unless quiet.
    pub fn say(&self, text: &str) {
        if self.loudness != Loudness::Quiet {
            let _ = writeln!(anstream::stderr(), "{}", sanitize(text));
        }
    }

    /// Shows on stderr what a question is about, also when quiet: nobody agrees to what they have not seen.
    #[expect(clippy::unused_self, reason = "it is this terminal that shows it, whichever it is")]
    pub fn show(&self, text: &str) {
        let _ = writeln!(anstream::stderr(), "{}", sanitize(text));
    }

    /// Says something as a heading.
    pub fn say_bold(&self, text: &str) {
        if self.loudness != Loudness::Quiet {
            let _ = writeln!(anstream::stderr(), "{BOLD}{}{BOLD:#}", sanitize(text));
        }
    }

    /// Asks a yes-or-no question; `None` when nobody can answer, or a signal came instead of an answer.
    pub fn confirm(&self, question: &str, default: bool) -> Option<bool> {
        if self.yes && default {
            return Some(true);
        }
        if !self.can_ask() {
            return None;
        }
        let choices = if default { "[Y/n]" } else { "[y/N]" };
        let _ = write!(anstream::stderr(), "{} {choices} ", sanitize(question));
        let line = self.read_line()?;
        match line.trim().to_ascii_lowercase().as_str() {
            "" => Some(default),
            "y" | "yes" => Some(true),
            _ => Some(false),
        }
    }

    /// A line from the terminal, which gives whole ones.
    fn read_line(&self) -> Option<String> {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut waits = [PollFd::new(&stdin, PollFlags::IN)];
            let ready = poll(&mut waits, Some(&TICK));
            if self.interrupted.load(Ordering::Relaxed) {
                let _ = writeln!(anstream::stderr());
                return None;
            }
            match ready {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => break,
                Err(_) => return None,
            }
        }
        let mut line = String::new();
        stdin.read_line(&mut line).ok()?;
        (!self.interrupted.load(Ordering::Relaxed)).then_some(line)
    }

    /// Whether a person can be asked: both ends of the conversation are terminals.
    #[expect(clippy::unused_self, reason = "it is a property of this terminal, whichever it is")]
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Starts a phase: a spinner on a terminal, nothing elsewhere until it ends.
    pub fn phase(&self, name: &str) -> Phase {
        Phase::start(name, self.loudness)
    }
}

/// Prints a command line for `-v`.
pub fn log_command(line: &str) {
    let _ = writeln!(anstream::stderr(), "{DIM}+ {}{DIM:#}", sanitize(line));
}

/// What kept an answer from getting where it was to go, if anything did.
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Notes a failed write of an answer, but for a reader who has seen enough.
fn note(attempt: std::io::Result<()>) {
    if let Err(cause) = attempt.and_then(|()| std::io::stdout().flush())
        && cause.kind() != ErrorKind::BrokenPipe
    {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
    }
}

/// Why a part of what was answered was lost; what is on a full disk is no answer.
pub fn lost_answer() -> Option<std::io::Error> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Writes an answer to stdout.
pub fn answer(text: &str) {
    note(writeln!(anstream::stdout(), "{}", sanitize(text)));
}

/// Writes a file's text to stdout: byte for byte into a pipe, but cleaned where a terminal would obey it.
pub fn answer_text(text: &str) {
    if std::io::stdout().is_terminal() {
        answer(text.trim_end());
    } else {
        answer_raw(text.as_bytes());
    }
}

/// Writes bytes that we made ourselves (a man page, a completion script) to stdout as they are.
pub fn answer_raw(bytes: &[u8]) {
    note(std::io::stdout().write_all(bytes));
}

/// Writes a JSON document to stdout.
pub fn answer_json(value: &serde_json::Value) {
    note(writeln!(std::io::stdout(), "{}", escape_json(&redact_text(&format!("{value:#}")))));
}

/// Warns, also when quiet.
pub fn warn(text: &str) {
    let _ = writeln!(anstream::stderr(), "{YELLOW}warning:{YELLOW:#} {}", sanitize(text));
}

/// Prints a failure: one sentence, its causes, the hints.
pub fn print_failure(failure: &Failure) {
    let mut err = anstream::stderr();
    if let Some(text) = &failure.rendered {
        let _ = writeln!(err, "{}", sanitize(text.trim_end()));
    } else if failure.kind == Kind::Interrupted {
        let _ = writeln!(err, "interrupted");
    } else {
        let _ = writeln!(err, "{RED}error:{RED:#} {}", sanitize(&failure.error.to_string()));
        for cause in failure.error.chain().skip(1) {
            let text = sanitize(&cause.to_string()).replace('\n', "\n           ");
            let _ = writeln!(err, "{DIM}caused by:{DIM:#} {text}");
        }
    }
    for hint in &failure.hints {
        let _ = writeln!(err, "{BOLD}hint:{BOLD:#} {}", sanitize(hint));
    }
}
