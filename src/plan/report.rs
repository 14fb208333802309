//! What a person and a program are told of an operation: one line a phase, or one JSON document at the end.
//!
//! Enters: phases as they begin and end. Leaves: lines and timings.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ui::{self, Phase, Timing, Ui};

/// Collects the phases of one operation.
pub struct Reporter<'a> {
    /// Where lines go.
    pub ui: &'a Ui,
    timings: Vec<Timing>,
    problems: Vec<String>,
    /// The phase that a failure would end.
    begun: RefCell<Option<(String, Instant)>>,
}

impl<'a> Reporter<'a> {
    /// A reporter that has nothing to report yet.
    pub fn new(ui: &'a Ui) -> Self {
        Self { ui, timings: Vec::new(), problems: Vec::new(), begun: RefCell::default() }
    }

    /// Begins a phase.
    pub fn phase(&self, name: &str) -> Phase {
        self.begun.replace(Some((name.to_string(), Instant::now())));
        self.ui.phase(name)
    }

    /// Ends a phase well.
    pub fn done(&mut self, phase: Phase, detail: &str) {
        self.begun.take();
        self.timings.push(phase.done(detail));
    }

    /// Ends a phase with a problem that does not end the operation.
    pub fn failed(&mut self, phase: Phase, detail: &str, problem: &str) {
        self.begun.take();
        self.timings.push(phase.failed(detail));
        ui::warn(problem);
        self.problems.push(problem.to_string());
    }

    /// Ends a phase that came to nothing, which is no news.
    pub fn forget(&mut self, phase: Phase) {
        self.begun.take();
        drop(phase);
    }

    /// Whether anything went wrong.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The document of `--json`.
    pub fn document(&self, project: &str, took_ms: u128) -> Value {
        let phase = |name: &str, detail: &str, took: Duration| json!({"phase": name, "detail": detail, "ms": took.as_millis()});
        let ended = self.timings.iter().map(|timing| phase(&timing.name, &timing.detail, timing.took));
        let begun = self.begun.borrow();
        let cut_off = begun.iter().map(|(name, started)| phase(name, "failed", started.elapsed()));
        let phases = ended.chain(cut_off);
        json!({
            "project": project,
            "ready": self.problems.is_empty(),
            "phases": phases.collect::<Vec<_>>(),
            "problems": self.problems,
            "ms": took_ms,
        })
    }
}
