//! `machine up`: from nothing, stopped, half-built or running to ready.
//!
//! Enters: project names, or an address. Leaves: machines that are ready, or a report of what is missing.

use std::time::Instant;

use crate::commands::{for_each, project_completer, waiting};
use crate::context::Context;
use crate::failure::Result;
use crate::model::Project;
use crate::plan::{BoxUse, Goal, show};
use crate::record::ProjectLock;
use crate::ui;
use crate::workspace::{Raised, Workspace, first_project, goal_of, not_begun, project_from_url, raise, site};

/// Options of `up`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Projects, or one repository address; default: the current repository's project, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    projects: Vec<String>,
    #[command(flatten)]
    boxes: BoxArgs,
    /// Print the commands that would run, and run nothing
    #[arg(long, conflicts_with = "json")]
    pub dry_run: bool,
    /// Print one JSON document with phases and milliseconds at the end, and no phases while they run
    #[arg(long)]
    pub json: bool,
}

/// Options about the box that a new machine starts from.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct BoxArgs {
    /// Make a new machine from the image, without a cached box: provisioned in place, and slower to start ever after
    #[arg(long, conflicts_with = "refresh")]
    no_cache: bool,
    /// Build the boxes of a new machine's stack anew, with the newest packages
    #[arg(long)]
    refresh: bool,
}

impl BoxArgs {
    pub(super) const fn box_use(self) -> BoxUse {
        match (self.no_cache, self.refresh) {
            (true, _) => BoxUse::Without,
            (_, true) => BoxUse::Refreshed,
            _ => BoxUse::Cached,
        }
    }
}

/// Brings each project up; one that fails keeps none of the others.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let mut projects = Vec::new();
    for name in names(args) {
        let project = resolve(context, &workspace, name)?;
        projects.push(project);
    }
    if args.dry_run {
        return for_each(&projects, |project| show_up(context, &workspace, project, args));
    }
    let mut documents = Vec::new();
    let mut incomplete = 0;
    let failed = for_each(&projects, |project| {
        let Raised { outcome, document } = bring_up(context, &workspace, project, args);
        documents.push(document);
        incomplete = incomplete.max(outcome?);
        Ok(())
    });
    if args.json {
        let one = projects.len() == 1;
        let document =
            if one { documents.pop().unwrap_or_default() } else { serde_json::Value::Array(documents) };
        ui::answer_json(&document);
    }
    failed.map(|code| if code == 0 { incomplete } else { code })
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
        None => workspace.implied(context)?,
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

/// Prints what would run.
fn show_up(context: &Context, workspace: &Workspace, project: &Project, args: &Args) -> Result<()> {
    let say = |text: &str| context.ui.say(text);
    let goal = goal_of(context, workspace, project, args.boxes.box_use())?;
    let site = site(context, &workspace.computer, &say);
    let confirm = |question: &str, default: bool| context.ui.confirm(question, default);
    ui::answer(&show(&site, goal, &confirm)?);
    Ok(())
}

fn bring_up(context: &Context, workspace: &Workspace, project: &Project, args: &Args) -> Raised {
    let started = Instant::now();
    match begin(context, workspace, project, args) {
        Ok((goal, _lock)) => raise(context, workspace, project, goal, started),
        Err(failure) => not_begun(context, project, started, failure),
    }
}

fn begin(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    args: &Args,
) -> Result<(Goal, ProjectLock)> {
    let say = |text: &str| context.ui.say(text);
    // Before the lock: what is wrong in a file is said without waiting, and leaves nothing behind.
    let goal = goal_of(context, workspace, project, args.boxes.box_use())?;
    let name = project.name.as_str();
    let lock = ProjectLock::exclusive(&context.layout, name, "up", &waiting(context, &say))?;
    Ok((goal, lock))
}
