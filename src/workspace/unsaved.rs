//! What `destroy`, `rebuild` and `prune` share: looking for work that exists nowhere else, asking, deleting.
//!
//! Enters: a machine. Leaves: an answer that was given for exactly what was found, or nothing of the machine.
//! Unknown is not the same as gone.

use std::time::Duration;

use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Kind, Result};
use crate::guest::{Inventory, inventory_script};
use crate::lima::Image;
use crate::plan::{Site, random_hex, write_ssh_hosts};
use crate::record::{MachineRecord, ProjectLock, Waiting, open_sessions};
use crate::ui;

/// What the caller's options have answered already.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// The command as it is typed, such as `machine destroy blog`.
    pub command: &'a str,
    /// `--discard`: work that was found may go.
    pub discard: bool,
    /// `--discard-unseen`: a machine that cannot be asked may go.
    pub discard_unseen: bool,
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

/// Asks the machine what would be lost, starting it if it is stopped.
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

/// Refuses to go on when what would be lost is not what was agreed to.
///
/// # Errors
/// Exit code 3. Nothing has been deleted.
fn check_again(answers: &Answers, name: &str, seen: &Seen, again: &Seen) -> Result<()> {
    let unknown = matches!(again, Seen::Unknown(_));
    if again == seen || answers.discard_unseen || (answers.discard && !unknown) {
        return Ok(());
    }
    show(name, again);
    let sentence = "the work in it changed since the question; nothing was deleted";
    Err(Failure::new(Kind::WouldLoseWork, sentence).hint(format!("ask again: `{}`", answers.command)))
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

/// Prints what would be lost.
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
fn agree(context: &Context, answers: &Answers, name: &str, seen: &Seen) -> Result<()> {
    show(name, seen);
    let refuse = |sentence: &str, option: &str| {
        Failure::new(Kind::WouldLoseWork, sentence)
            .hint(format!("to delete it all the same: `{} {option}`", answers.command))
    };
    let clean = match seen {
        Seen::Unknown(_) if answers.discard_unseen => return Ok(()),
        Seen::Unknown(_) => {
            return Err(refuse("will not delete a machine that cannot be asked", "--discard-unseen"));
        }
        Seen::Inventory(inventory) => inventory.is_clean(),
        Seen::Gone => true,
    };
    if answers.discard || (clean && context.ui.yes) {
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
        Some(false) => Err(Failure::operation(format!("nothing was deleted of `{name}`"))),
        None => {
            let option = if clean { "--yes" } else { "--discard" };
            Err(refuse("nobody can be asked here, so nothing was deleted", option))
        }
    }
}

/// Takes the project's lock for `verb` once it is agreed that the machine may go.
///
/// # Errors
/// When it may not. Nothing has been deleted.
pub fn agree_to_lose(
    context: &Context,
    site: &Site,
    record: &mut MachineRecord,
    answers: &Answers,
    verb: &str,
) -> Result<ProjectLock> {
    let name = record.name.clone();
    let no_wait = context.options.no_wait;
    let waiting = Waiting { no_wait, say: site.say, interrupt: context.runner.interrupt() };
    let lock = || ProjectLock::exclusive(&context.layout, &name, verb, &waiting);
    let seen = {
        let _lock = lock()?;
        look(context, site, record, answers.discard_unseen)?
    };
    // No lock is held across the question.
    agree(context, answers, &name, &seen)?;
    let held = lock()?;
    // The answer was given for that list; if it is another one by now, nobody has agreed to it.
    let again = look(context, site, record, answers.discard_unseen)?;
    check_again(answers, &name, &seen, &again)?;
    Ok(held)
}

/// Deletes a machine with everything that is ours of it; `done` is said then.
pub fn delete(context: &Context, site: &Site, record: &MachineRecord, done: &str) -> Result<()> {
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
    // Of one that slept, the key lies in another folder.
    Image::of(&context.layout.instance(name)).discard(&context.layout, &record.uuid)?;
    disk::remove_folder(&context.layout.sockets(record.id()))?;
    disk::remove_folder(&context.layout.machine(name))?;
    write_ssh_hosts(site)?;
    phase.done(done);
    Ok(())
}
