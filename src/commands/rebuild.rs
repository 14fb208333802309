//! `machine rebuild`: a fresh machine from today's configuration, in the place of the one that is there.
//!
//! Enters: a project. Leaves: a new machine, or the old one as it was: nothing of it goes before its successor's box is
//! there and nobody's work would be lost.

use std::time::Instant;

use crate::commands::project_completer;
use crate::commands::up::BoxArgs;
use crate::context::Context;
use crate::failure::Result;
use crate::plan::{BoxUse, Reporter, prepare_box, show_rebuild};
use crate::ui;
use crate::workspace::{Answers, Workspace, agree_to_lose, complete_goal, delete, goal_of, raise, site};

/// Options of `rebuild`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Looks into the machine first, as `destroy` does, and refuses with exit code 3 while there is uncommitted, untracked, \
stashed or unpushed work in it: work is not carried over. Then it asks. What was kept outside of repositories is gone \
with the old disk.")]
pub struct Args {
    /// The project
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: String,
    #[command(flatten)]
    boxes: BoxArgs,
    /// Rebuild it although work that was found in it is lost, and do not ask
    #[arg(long)]
    discard: bool,
    /// Rebuild it although it or a repository in it cannot be read, and do not ask
    #[arg(long)]
    discard_unseen: bool,
    /// Print the commands that would run, and run nothing
    #[arg(long, conflicts_with = "json")]
    pub dry_run: bool,
    /// Print one JSON document with phases and milliseconds at the end, and no phases while they run
    #[arg(long)]
    pub json: bool,
}

/// Rebuilds the machine.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let started = Instant::now();
    let workspace = Workspace::load(context)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    site.driver().check_version(site.accept_unknown_lima)?;
    let (project, mut record) = workspace.choose_machine(context, Some(&args.project))?;
    let name = record.name.clone();
    let goal = goal_of(context, &workspace, &project, args.boxes.box_use())?;
    if args.dry_run {
        ui::answer(&show_rebuild(&site, goal)?);
        return Ok(0);
    }
    // What the new machine needs is seen to before anything of the old one goes.
    let mut goal = complete_goal(context, &workspace, &project, goal, None)?;
    if goal.box_use != BoxUse::Without {
        prepare_box(&site, &goal, &mut Reporter::new(&context.ui))?;
        // A box that was just refreshed is not built a second time.
        goal.box_use = BoxUse::Cached;
    }
    let command = format!("machine rebuild {name}");
    let answers = Answers { command: &command, discard: args.discard, discard_unseen: args.discard_unseen };
    let _lock = agree_to_lose(context, &site, &mut record, &answers, "rebuild")?;
    delete(context, &site, &record, &format!("the old `{name}` is gone"))?;
    let raised = raise(context, &workspace, &project, goal, started);
    if args.json {
        ui::answer_json(&raised.document);
    }
    raised.outcome
}
