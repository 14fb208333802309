//! `machine destroy`: deletes a machine, after it has looked for work that exists nowhere else.
//!
//! Enters: a project. Leaves: nothing of its machine, or the machine as it was. Unknown is not the same as gone.

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::{Kind, Result};
use crate::plan::rebuild;
use crate::ui;
use crate::workspace::{Answers, Workspace, agree_to_lose, delete, find_record, site};

/// Options of `destroy`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Looks into the machine first (starting it if it is stopped) and lists uncommitted, untracked, stashed and unpushed \
work of every repository in the home folder. Then it asks. Without a terminal it refuses with exit code 3: `--yes` \
answers the question where nothing would be lost, `--discard` also where something would be.")]
pub struct Args {
    /// The project
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: String,
    /// Delete it with the work that was found in it, and do not ask
    #[arg(long)]
    discard: bool,
    /// Delete it although it or a repository in it cannot be read, and do not ask
    #[arg(long)]
    discard_unseen: bool,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Deletes the machine.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let driver = site.driver();
    driver.check_version(site.accept_unknown_lima)?;
    let mut record = match find_record(context, Some(&args.project)) {
        // A record that is damaged must not keep its machine for ever: the instance itself knows enough.
        Err(failure) if failure.kind == Kind::Operation && driver.find(&args.project)?.is_some() => {
            rebuild(&site, &args.project).map_err(|cause| failure.because(cause.error))?
        }
        found => found?,
    };
    let name = record.name.clone();
    if context.options.dry_run {
        ui::answer(&format!("{}\n{}", driver.limactl.stop(&name), driver.limactl.delete(&name)));
        return Ok(0);
    }
    let command = format!("machine destroy {name}");
    let answers = Answers { command: &command, discard: args.discard, discard_unseen: args.discard_unseen };
    let _lock = agree_to_lose(context, &site, &mut record, &answers, "destroy")?;
    delete(context, &site, &record, &format!("{name} is gone; its project is still configured"))?;
    Ok(0)
}
