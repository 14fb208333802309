//! Runs the provisioning steps whose stamps are missing, one after another, each with its own log.
//!
//! Enters: the steps and what the guest has. Leaves: a provisioned guest, or the step that failed with its last lines.

use std::io::Write;
use std::time::Duration;

use super::execute::Work;
use super::report::Reporter;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::guest::{Observation, Step};
use crate::process::Cmd;
use crate::ui::Phase;

/// The longest a step may take: a large download over a slow line.
const STEP_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// How long stopping what an earlier run left may take: a busy guest is slow to open a connection for it.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// How many of a failed step's last lines are shown.
const TAIL_LINES: usize = 20;
/// The most a step's log may take on the host's disk.
const LOG_LIMIT: usize = 16 * 1024 * 1024;

/// Runs what is missing.
pub(super) fn provision(work: &Work, seen: &Observation, reporter: &mut Reporter) -> Result<()> {
    let all = &work.goal.steps;
    let missing: Vec<&Step> = all.iter().filter(|step| !seen.stamps.contains(&step.stamp)).collect();
    let phase = reporter.phase("provision");
    if missing.is_empty() {
        reporter.done(phase, &format!("{} steps, all done before", all.len()));
        return Ok(());
    }
    if work.is_fresh() && work.installs_base() {
        phase.note(
            "the first provisioning takes some minutes, a quarter of an hour under software emulation; it happens once",
        );
    }
    let road = work.road();
    // A step that an earlier, interrupted run left behind must not meet its own second copy.
    let stop = road.exec_root(Step::stop_line()).time_limit(STOP_LIMIT);
    work.site.runner.run(&stop)?;
    for (index, step) in missing.iter().enumerate() {
        phase.now(&format!("{}/{} {}", index + 1, missing.len(), step.name));
        let started = std::time::Instant::now();
        run_step(work, step, &phase)?;
        phase.note(&format!("{:<54} {:>6.1} s", step.name, started.elapsed().as_secs_f64()));
    }
    if missing.iter().any(|step| step.changes_sessions()) {
        road.close(work.site.runner);
        road.open(work.site.runner)?;
    }
    reporter.done(phase, &format!("{} of {} steps run", missing.len(), all.len()));
    Ok(())
}

/// The command of one step.
pub(super) fn step_command(work_road: &crate::ssh::Road, step: &Step) -> Cmd {
    work_road.exec_root(&step.command_line()).input(step.script()).own_group().time_limit(STEP_LIMIT)
}

fn run_step(work: &Work, step: &Step, phase: &Phase) -> Result<()> {
    let folder = work.site.layout.machine(work.goal.name.as_str()).join("logs");
    disk::ensure_private_folder(&folder)?;
    let path = folder.join(format!("{}.log", step.stamp));
    disk::remove_file(&path)?;
    let mut log = disk::open_log(&path)?;
    let road = work.road();
    let mut written = 0;
    let mut tail: Vec<String> = Vec::new();
    let outcome = work.site.runner.stream(&step_command(&road, step), &mut |_, line| {
        if written < LOG_LIMIT {
            // A full host disk must not stop the guest's work.
            let _ = log.write_all(line);
            written += line.len();
        }
        let text = String::from_utf8_lossy(line).trim().to_string();
        if !text.is_empty() {
            phase.now(&format!("{}: {text}", step.name));
            tail.push(text);
            tail.drain(..tail.len().saturating_sub(TAIL_LINES));
        }
    });
    outcome.map_err(|failure| {
        // The connection is gone, the unit is not.
        work.site.runner.clean_up(&road.exec_root(Step::stop_line()).time_limit(Duration::from_millis(1200)));
        describe(failure, step, &tail, &path, &work.goal.again)
    })
}

fn describe(failure: Failure, step: &Step, tail: &[String], log: &std::path::Path, again: &str) -> Failure {
    if failure.kind == crate::failure::Kind::Interrupted {
        return failure;
    }
    let words = if tail.is_empty() { format!("{:#}", failure.error) } else { tail.join("\n") };
    Failure::operation(words)
        .because(format!("the step `{}` failed in the guest", step.name))
        .hint(format!("its whole output: `{}`", log.display()))
        .hint(format!("once it is mended, go on from this step: `{again}`"))
}
