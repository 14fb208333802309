//! What a person and a program are told of an operation: one line a phase, or one JSON document at the end.
//!
//! Enters: phases as they begin and end. Leaves: lines and timings.

use serde_json::{Value, json};

use crate::ui::{self, Phase, Timing, Ui};

/// Collects the phases of one operation.
pub struct Reporter<'a> {
    /// Where lines go.
    pub ui: &'a Ui,
    timings: Vec<Timing>,
    problems: Vec<String>,
}

impl<'a> Reporter<'a> {
    /// A reporter that has nothing to report yet.
    pub fn new(ui: &'a Ui) -> Self {
        Self { ui, timings: Vec::new(), problems: Vec::new() }
    }

    /// Begins a phase.
    pub fn phase(&self, name: &str) -> Phase {
        self.ui.phase(name)
    }

    /// Ends a phase well.
    pub fn done(&mut self, phase: Phase, detail: &str) {
        self.timings.push(phase.done(detail));
    }

    /// Ends a phase with a problem that does not end the operation.
    pub fn failed(&mut self, phase: Phase, detail: &str, problem: &str) {
        self.timings.push(phase.failed(detail));
        ui::warn(problem);
        self.problems.push(problem.to_string());
    }

    /// Whether anything went wrong.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The document of `--json`.
    pub fn document(&self, project: &str, took_ms: u128) -> Value {
        let phases = self.timings.iter().map(
            |timing| json!({"phase": timing.name, "detail": timing.detail, "ms": timing.took.as_millis()}),
        );
        json!({
            "project": project,
            "ready": self.problems.is_empty(),
            "phases": phases.collect::<Vec<_>>(),
            "problems": self.problems,
            "ms": took_ms,
        })
    }
}
