//! One phase of a long operation on the terminal: a spinner while it runs, one line when it ends.
//!
//! Enters: what is being done. Leaves: a line with its time, and that time. Never a spinner in a file.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{DIM, GREEN, Loudness, RED, sanitize};

/// A phase that ended.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The phase's name, such as `boot`.
    pub name: String,
    /// What came of it.
    pub detail: String,
    /// How long it took.
    pub took: Duration,
}

/// A phase that runs.
pub struct Phase {
    name: String,
    started: Instant,
    spinner: Option<ProgressBar>,
    quiet: bool,
}

impl Phase {
    pub(super) fn start(name: &str, loudness: Loudness) -> Self {
        let spin = loudness == Loudness::Normal && std::io::stderr().is_terminal();
        let spinner = spin.then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix:<9} {wide_msg} {elapsed}");
            let spinner = ProgressBar::new_spinner().with_prefix(name.to_string());
            spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        Self { name: name.into(), started: Instant::now(), spinner, quiet: loudness == Loudness::Quiet }
    }

    /// Shows what the phase is doing just now; on a terminal only.
    pub fn now(&self, doing: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(sanitize(doing).replace('\n', " "));
        }
    }

    /// Prints a line that stays, below the lines of the phases that ended.
    pub fn note(&self, line: &str) {
        let line = format!("{DIM}  · {}{DIM:#}", sanitize(line));
        self.print(&line);
    }

    /// Ends the phase well.
    pub fn done(self, detail: &str) -> Timing {
        self.end(detail, &format!("{GREEN}✓{GREEN:#}"))
    }

    /// Ends the phase with a problem that does not end the operation.
    pub fn failed(self, detail: &str) -> Timing {
        self.end(detail, &format!("{RED}✗{RED:#}"))
    }

    fn end(self, detail: &str, mark: &str) -> Timing {
        let took = self.started.elapsed();
        let detail = sanitize(detail).replace('\n', " ");
        let line = format!("{mark} {:<9} {:<48} {:>6.1} s", self.name, detail, took.as_secs_f64());
        self.print(&line);
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        Timing { name: self.name.clone(), detail, took }
    }

    fn print(&self, line: &str) {
        if self.quiet {
            return;
        }
        let print = || {
            let _ = writeln!(anstream::stderr(), "{line}");
        };
        match &self.spinner {
            Some(spinner) => spinner.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
