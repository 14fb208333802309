//! `machine destroy`: deletes a machine, after it has looked for work that exists nowhere else.
//!
//! Enters: a project. Leaves: nothing of its machine, or the machine as it was. Unknown is not the same as gone.

use std::time::Duration;

use crate::commands::{project_completer, waiting};
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Kind, Result};
use crate::guest::{Inventory, inventory_script};
use crate::plan::{Site, random_hex, rebuild, write_ssh_hosts};
use crate::record::{MachineRecord, ProjectLock, open_sessions};
use crate::ui;
use crate::workspace::{Workspace, find_record, site};

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
    /// Delete it although it cannot be asked what is in it, and do not ask
    #[arg(long)]
    discard_unseen: bool,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What looking came to.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The machine answered.
    Inventory(Inventory),
    /// It could not be asked; why.
    Unknown(String),
    /// There is no instance left to ask.
    Gone,
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
    let seen = {
        let _lock = ProjectLock::exclusive(&context.layout, &name, "destroy", &waiting(context, &say))?;
        look(context, &site, &mut record, args.discard_unseen)?
    };
    agree(context, args, &name, &seen)?;
    let _lock = ProjectLock::exclusive(&context.layout, &name, "destroy", &waiting(context, &say))?;
    // The answer was given for that list; if it is another one by now, nobody has agreed to it.
    let again = look(context, &site, &mut record, args.discard_unseen)?;
    let unknown = matches!(again, Seen::Unknown(_));
    if again != seen && !args.discard_unseen && (unknown || !args.discard) {
        show(&name, &again);
        return Err(Failure::new(
            Kind::WouldLoseWork,
            "the work in it changed since the question; nothing was deleted",
        )
        .hint(format!("ask again: `machine destroy {name}`")));
    }
    delete(context, &site, &record)
}

fn look(context: &Context, site: &Site, record: &mut MachineRecord, may_be_unseen: bool) -> Result<Seen> {
    if site.driver().find(&record.name)?.is_none() {
        return Ok(Seen::Gone);
    }
    if may_be_unseen && !site.road(record).is_open() {
        return Ok(Seen::Unknown("not asked, as `--discard-unseen` allows".into()));
    }
    let phase = context.ui.phase("look");
    phase.now("asking the machine what would be lost");
    let asked = site.reach(record, true).and_then(|_| ask(context, site, record));
    match asked {
        Ok(Some(inventory)) => {
            phase.done(&format!("{} looked at", count(inventory.looked_at, "repository", "repositories")));
            Ok(Seen::Inventory(inventory))
        }
        Ok(None) => Ok(Seen::Unknown("its answer was incomplete".into())),
        Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
        Err(failure) => Ok(Seen::Unknown(format!("{:#}", failure.error))),
    }
}

fn ask(context: &Context, site: &Site, record: &MachineRecord) -> Result<Option<Inventory>> {
    let mark = random_hex();
    let answer = site.road(record).read(
        &context.runner,
        "bash -s",
        &inventory_script(&mark),
        Duration::from_secs(300),
    )?;
    Ok(Inventory::parse(&answer.text(), &mark))
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn show(name: &str, seen: &Seen) {
    match seen {
        Seen::Inventory(inventory) if !inventory.is_clean() => {
            ui::warn(&format!(
                "work in `{name}` that exists nowhere else:\n{}",
                inventory.to_string().trim_end()
            ));
        }
        Seen::Unknown(why) => ui::warn(&format!("it is not known what is in `{name}`: {why}")),
        _ => {}
    }
}

/// Asks, unless the options have answered.
fn agree(context: &Context, args: &Args, name: &str, seen: &Seen) -> Result<()> {
    show(name, seen);
    let refuse = |sentence: &str, option: &str| {
        Failure::new(Kind::WouldLoseWork, sentence)
            .hint(format!("to delete it all the same: `machine destroy {name} {option}`"))
    };
    let clean = match seen {
        Seen::Unknown(_) if args.discard_unseen => return Ok(()),
        Seen::Unknown(_) => {
            return Err(refuse("will not delete a machine that cannot be asked", "--discard-unseen"));
        }
        Seen::Inventory(inventory) => inventory.is_clean(),
        Seen::Gone => true,
    };
    if args.discard || (clean && context.ui.yes) {
        return Ok(());
    }
    let sessions = open_sessions(&context.layout, name).len();
    let open = if sessions == 0 { String::new() } else { format!(" ({sessions} open sessions end)") };
    let question = if clean {
        format!(
            "Delete the machine `{name}` and its disk{open}? No unsaved work was found in its repositories."
        )
    } else {
        format!("Delete the machine `{name}` with that work{open}?")
    };
    match context.ui.confirm(&question, false) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::operation("nothing was deleted")),
        None => {
            let option = if clean { "--yes" } else { "--discard" };
            Err(refuse("nobody can be asked here, so nothing was deleted", option))
        }
    }
}

fn delete(context: &Context, site: &Site, record: &MachineRecord) -> Result<u8> {
    let name = &record.name;
    let driver = site.driver();
    let phase = context.ui.phase("destroy");
    phase.now("stopping");
    site.road(record).close(&context.runner);
    if let Some(instance) = driver.find(name)? {
        driver.stop(&instance, record.answered)?;
        phase.now("deleting");
        driver.delete(name)?;
    }
    disk::remove_folder(&context.layout.sockets(record.id()))?;
    disk::remove_folder(&context.layout.machine(name))?;
    write_ssh_hosts(site)?;
    phase.done(&format!("{name} is gone; its project is still configured"));
    Ok(0)
}
