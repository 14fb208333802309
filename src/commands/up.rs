//! `machine up`: from nothing, stopped, half-built or running to ready.
//!
//! Enters: project names, or an address. Leaves: machines that are ready, or a report of what is missing.

use std::time::{Duration, Instant};

use crate::commands::{project_completer, waiting};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::model::Project;
use crate::plan::{Hooks, Outcome, Reporter, execute, show};
use crate::record::{MachineRecord, ProjectLock};
use crate::ui;
use crate::workspace::{Workspace, build_goal, complete_goal, first_project, project_from_url, site};

/// Options of `up`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Projects, or one repository address; default: the current repository's project, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    projects: Vec<String>,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document with phases and milliseconds at the end, and no phases while they run
    #[arg(long)]
    pub json: bool,
}

/// Brings each project up.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let mut projects = Vec::new();
    for name in names(args) {
        let project = resolve(context, &workspace, name)?;
        projects.push(project);
    }
    let mut documents = Vec::new();
    let mut worst = 0;
    for project in &projects {
        let (code, document) = bring_up(context, &workspace, project)?;
        worst = worst.max(code);
        documents.extend(document);
    }
    if args.json && !args.dry_run {
        let one = documents.len() == 1;
        let document = if one { documents.remove(0) } else { serde_json::Value::Array(documents) };
        ui::answer_json(&document);
    }
    Ok(worst)
}

fn names(args: &Args) -> Vec<Option<&str>> {
    if args.projects.is_empty() {
        vec![None]
    } else {
        args.projects.iter().map(|name| Some(name.as_str())).collect()
    }
}

/// The project that a word means; one that no file describes yet is written down first.
fn resolve(context: &Context, workspace: &Workspace, name: Option<&str>) -> Result<Project> {
    let is_address = name.is_some_and(|name| name.contains([':', '/', '@']));
    let known = match name {
        Some(_) if is_address => None,
        Some(name) => workspace.named(context, name)?,
        None => workspace.implied(),
    };
    if let Some(project) = known {
        return Ok(project);
    }
    let registered = match name {
        Some(address) if is_address => Some(project_from_url(context, workspace, address)?),
        _ => first_project(context, workspace, name)?,
    };
    registered.map_or_else(|| workspace.choose(context, name), Ok)
}

fn bring_up(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
) -> Result<(u8, Option<serde_json::Value>)> {
    let started = Instant::now();
    let name = project.name.as_str();
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let recorded = MachineRecord::load(&context.layout, name).ok().flatten();
    let goal =
        build_goal(context, workspace, project, recorded.map(|record| record.git_hosts).unwrap_or_default())?;
    let confirm = |question: &str| context.ui.confirm(question, true);
    if context.options.dry_run {
        ui::answer(&show(&site, goal, &confirm)?);
        return Ok((0, None));
    }
    let _lock = ProjectLock::exclusive(&context.layout, name, "up", &waiting(context, &say))?;
    let complete =
        |goal, record: Option<&MachineRecord>| complete_goal(context, workspace, project, goal, record);
    let mut reporter = Reporter::new(&context.ui);
    let outcome = execute(&site, goal, &mut reporter, &Hooks { confirm: &confirm, complete: &complete });
    let took = started.elapsed();
    match outcome.map_err(|failure| with_document(context, &reporter, name, took, failure))? {
        Outcome::WasReady => context.ui.say(&format!("{name} is ready.   machine ssh {name}")),
        Outcome::Ready => {
            let seconds = took.as_secs_f64();
            context
                .ui
                .say(&format!("Ready in {seconds:.1} s.   machine ssh {name}   ·   ssh machine-{name}"));
        }
        Outcome::Incomplete => {
            context.ui.say(&format!("{name} is up, but something is missing: see the warnings above."));
        }
    }
    let code = u8::from(reporter.has_problems());
    Ok((code, Some(reporter.document(name, took.as_millis()))))
}

/// With `--json`, a failure is an answer too: what was done before it, and its sentence.
fn with_document(
    context: &Context,
    reporter: &Reporter,
    name: &str,
    took: Duration,
    failure: Failure,
) -> Failure {
    if context.options.json {
        let mut document = reporter.document(name, took.as_millis());
        document["ready"] = false.into();
        document["error"] = format!("{:#}", failure.error).into();
        ui::answer_json(&document);
    }
    failure
}
