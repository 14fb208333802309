//! `machine down`: stops machines; their disks are kept, and they stay down until they are wanted again.
//!
//! Enters: project names. Leaves: stopped machines. Asks before it ends somebody's open session.

use crate::commands::{for_each, project_completer, waiting};
use crate::context::Context;
use crate::failure::{Kind, Result};
use crate::lima::{Image, Status};
use crate::model::ProjectName;
use crate::record::{MachineRecord, ProjectLock};
use crate::ui;
use crate::workspace::{Ending, Workspace, agree_to_end_sessions, find_records, shut_down, site};

/// Options of `down`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Projects; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", conflicts_with = "all", add = project_completer())]
    projects: Vec<String>,
    /// Every machine
    #[arg(long)]
    all: bool,
    /// End open sessions without asking
    #[arg(long)]
    force: bool,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Stops each machine.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let records = find_records(context, &args.projects, args.all)?;
    let workspace = Workspace::load(context)?;
    if args.all && !records.is_empty() {
        let site = site(context, &workspace.computer, &|_| ());
        // What all of them would fail by is said once.
        site.driver().check_version(site.accept_unknown_lima)?;
    }
    for_each(records, |record| match stop(context, &workspace, &record.name, args.force) {
        // A box that is being built just now is somebody's business; one whose build was cut off only runs on.
        Err(failure) if failure.kind == Kind::Busy && ProjectName::is_bake(&record.name) => Ok(()),
        stopped => stopped,
    })
}

fn stop(context: &Context, workspace: &Workspace, name: &str, force: bool) -> Result<()> {
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let driver = site.driver();
    driver.check_version(site.accept_unknown_lima)?;
    if context.options.dry_run {
        ui::answer(&driver.limactl.stop(name).to_string());
        return Ok(());
    }
    // No lock is held across the question.
    let ending = Ending { name, verb: "down", question: "End them and stop the machine?", force };
    agree_to_end_sessions(context, &ending)?;
    let mut waiting = waiting(context, &say);
    waiting.no_wait |= ProjectName::is_bake(name);
    let _lock = ProjectLock::exclusive(&context.layout, name, "down", &waiting)?;
    let Some(mut record) = MachineRecord::load(&context.layout, name)? else { return Ok(()) };
    let phase = context.ui.phase("down");
    phase.now("shutting down");
    let mut found = driver.find(name)?;
    let image = Image::of(&context.layout.instance(name));
    let runs = found.as_ref().is_some_and(|instance| instance.status == Status::Running);
    // One that sleeps, or stands still as its sleep was cut off: what is in it shall end as it would have, not as in a
    // power cut.
    if image.read_note().is_some() || (runs && image.is_left()) {
        site.reach(&mut record, true)?;
        found = driver.find(name)?;
    }
    record.held_idle = false;
    shut_down(&site, &mut record, found, true)?;
    phase.done(&format!("{name} stopped, disk kept"));
    Ok(())
}
