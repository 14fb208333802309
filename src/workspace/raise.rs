//! Brings one project to ready and says what came of it: the heart of `up`, and the second half of `rebuild`.
//!
//! Enters: a project, under its lock. Leaves: an exit code or a failure, and the document of `--json`.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::doors::{access_of, look_up_doors};
use super::goal::{LookedUp, build_goal, complete_goal};
use super::select::{Workspace, site};
use super::watch::ensure_watch;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::model::{Idle, IdleAction, Project};
use crate::plan::{BoxUse, Goal, Hooks, Outcome, Reporter, Site, execute};
use crate::process::memory_left_percent;
use crate::record::MachineRecord;
use crate::ui;

/// Less memory than this is short, in hundredths of all.
const SHORT_PERCENT: u64 = 15;

/// What a project is to be, as far as it can be known without asking ssh.
///
/// # Errors
/// As [`build_goal`], and when the machine of that name belongs to another one than this repository's project.
pub fn goal_of(context: &Context, workspace: &Workspace, project: &Project, box_use: BoxUse) -> Result<Goal> {
    let recorded = MachineRecord::load(&context.layout, project.name.as_str()).ok().flatten();
    // Whose machine it is comes before what its project asks for.
    if let (Some(record), Some(repository)) = (&recorded, &project.repository)
        && !record.is_of(&project.file, Some(repository), &project.repos)
    {
        return Err(record.claimed_by(&project.file, Some(repository)));
    }
    let (git_hosts, last) = recorded.map(|record| (record.git_hosts, record.addresses)).unwrap_or_default();
    let addresses = look_up_doors(&access_of(project, &workspace.computer), &last);
    build_goal(context, workspace, project, LookedUp { git_hosts, addresses }, box_use)
}

/// What came of it: the exit code, or why it ended, and for `--json` a document in either case.
pub struct Raised {
    /// 1 when it is up with something missing.
    pub outcome: Result<u8>,
    /// Phases, and the sentence of a failure.
    pub document: Value,
}

/// Brings it to its goal, or to the first phase that fails. The caller holds the project's lock; `started` is when its
/// command began.
pub fn raise(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    goal: Goal,
    started: Instant,
) -> Raised {
    let name = project.name.as_str();
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let confirm = |question: &str, default: bool| context.ui.confirm(question, default);
    let complete =
        |goal, record: Option<&MachineRecord>| complete_goal(context, workspace, project, goal, record);
    let mut reporter = Reporter::new(&context.ui);
    let outcome = execute(&site, goal, &mut reporter, &Hooks { confirm: &confirm, complete: &complete });
    let took = started.elapsed();
    let outcome = outcome.and_then(|outcome| {
        say(&describe(outcome, name, took));
        if let Some(record) = MachineRecord::load(&context.layout, name)? {
            ensure_watch(context, &record);
        }
        advise_rest(context, &site, project, outcome);
        Ok(u8::from(reporter.has_problems()))
    });
    Raised { document: document(&reporter, name, took, &outcome), outcome }
}

/// The same for a project of which nothing could be begun.
pub fn not_begun(context: &Context, project: &Project, started: Instant, failure: Failure) -> Raised {
    let outcome = Err(failure);
    let reporter = Reporter::new(&context.ui);
    Raised { document: document(&reporter, project.name.as_str(), started.elapsed(), &outcome), outcome }
}

/// A failure is an answer too: what was done before it, and its sentence.
fn document(reporter: &Reporter, name: &str, took: Duration, outcome: &Result<u8>) -> Value {
    let mut document = reporter.document(name, took.as_millis());
    if let Err(failure) = outcome {
        let text = failure.rendered.clone().unwrap_or_else(|| format!("{:#}", failure.error));
        document["ready"] = false.into();
        document["error"] = text.into();
    }
    document
}

fn describe(outcome: Outcome, name: &str, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match outcome {
        Outcome::WasReady => format!("{name} is ready.   machine ssh {name}"),
        Outcome::Ready => format!("Ready in {seconds:.1} s.   machine ssh {name}   ·   ssh machine-{name}"),
        Outcome::Incomplete => format!("{name} is up, but something is missing: see the warnings above."),
    }
}

/// Says what stands in the way of the rest that is configured, or that it would do this computer good.
fn advise_rest(context: &Context, site: &Site, project: &Project, outcome: Outcome) {
    let name = &project.name;
    match project.idle {
        Some(Idle { action: IdleAction::Sleep, .. }) if !project.keep_awake => {
            if let Err(Failure { error, hints, .. }) =
                site.driver().check_sleep(name.as_str(), project.isolation)
            {
                ui::warn(&format!(
                    "`{name}` will not sleep when it is idle: {error:#}; {}",
                    hints.join("; ")
                ));
            }
        }
        None if !project.keep_awake && outcome != Outcome::WasReady => {
            let left = memory_left_percent(context.host.os, &context.runner);
            let Some(left) = left.filter(|percent| *percent < SHORT_PERCENT) else { return };
            let may_sleep = context.host.can_sleep() && !project.isolation.is_strict();
            let action = if may_sleep { IdleAction::Sleep } else { IdleAction::Down };
            context.ui.say(&format!(
                "{left} % of this computer's memory is left. Idle machines give theirs back: \
                 `idle = {{ after = \"30m\", action = \"{action}\" }}` below `[{name}]` in your own projects.toml"
            ));
        }
        _ => {}
    }
}
