//! What makes the login user of a strict machine no root, and the proof that nothing has undone it.
//!
//! Enters: nothing, or the steps before. Leaves: steps. Root's work goes over a way in of its own then; see
//! `ssh::Road` and templates/guest/host-key.sh.

use super::step::Step;

/// Comes before anything that a profile brings.
pub(super) fn isolation_step() -> Step {
    let body = include_str!("../../templates/guest/isolation.sh");
    Step::state("isolation", "isolation: strict".into(), body.into(), Vec::new())
}

/// Comes after `steps`, again whenever one of them is another, and so in every machine and not in its box alone: a profile's
/// script is root's, and could open what was closed.
pub(super) fn check_step(steps: &[Step]) -> Step {
    let stamps: Vec<&str> = steps.iter().map(|step| step.stamp.as_str()).collect();
    let stamps = ("steps".to_string(), stamps.join("\n").into_bytes());
    let body = include_str!("../../templates/guest/isolation-check.sh");
    Step::chained("isolation: 1 check".into(), body.into(), vec![stamps], None)
}
