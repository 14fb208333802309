//! What `destroy`, `rebuild` and `prune` share: looking for work that exists nowhere else, asking, deleting.
//!
//! Enters: a machine. Leaves: an answer that was given for exactly what was found, or nothing of the machine.
//! Unknown is not the same as gone.

use std::time::Duration;

use super::putback::{AtRest, put_back};
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Kind, Result};
use crate::guest::{Inventory, inventory_script};
use crate::lima::{Image, Instance, Status};
use crate::plan::{Site, random_hex, write_ssh_hosts};
use crate::record::{MachineRecord, ProjectLock, Waiting, open_sessions};
use crate::ssh::Attempt;
use crate::ui;

/// What the caller's options have answered already.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// The command as it is typed, such as `machine destroy blog`.
    pub command: &'a str,
    /// `--discard`: work that was found may go.
    pub discard: bool,
    /// `--discard-unseen`: a machine that cannot be asked may go, and so may a repository that cannot be read.
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

impl Seen {
    fn is_clean(&self) -> bool {
        match self {
            Self::Inventory(inventory) => inventory.is_clean(),
            Self::Unknown(_) => false,
            Self::Gone => true,
        }
    }

    /// The options that answer for it, where something would be lost or is not known.
    fn options(&self) -> Vec<&'static str> {
        let (work, unseen) = match self {
            Self::Inventory(inventory) => {
                (!inventory.repositories.is_empty(), !inventory.unreadable.is_empty())
            }
            Self::Unknown(_) => (false, true),
            Self::Gone => (false, false),
        };
        let options = [(work, "--discard"), (unseen, "--discard-unseen")];
        options.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, option)| option).collect()
    }
}

impl Answers<'_> {
    /// Whether the options alone answer for what was seen.
    fn cover(&self, seen: &Seen) -> bool {
        let is_given =
            |option: &&str| if *option == "--discard" { self.discard } else { self.discard_unseen };
        seen.options().iter().all(is_given)
    }
}

/// Asks the machine what would be lost, starting it if it is stopped and may not go unseen; `rest` is what it had then.
fn look(
    context: &Context,
    site: &Site,
    record: &mut MachineRecord,
    may_be_unseen: bool,
    rest: &mut Option<AtRest>,
) -> Result<Seen> {
    let Some(instance) = site.driver().find(&record.name)? else { return Ok(Seen::Gone) };
    if may_be_unseen && let Some(why) = why_unasked(site, record, &instance)? {
        return Ok(Seen::Unknown(why));
    }
    let phase = context.ui.phase("look");
    phase.now("asking the machine what would be lost");
    let before = record.clone();
    let asked = site.reach(record, true).and_then(|connection| {
        *rest = AtRest::of(&before, connection).or(*rest);
        ask(context, site, record)
    });
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

/// Why a machine that may go unseen cannot be asked. It is not started for that, and may be broken: one knock has to do.
fn why_unasked(site: &Site, record: &MachineRecord, instance: &Instance) -> Result<Option<String>> {
    if instance.status != Status::Running {
        return Ok(Some("it does not run, and is not started as `--discard-unseen` allows".into()));
    }
    let road = site.road(record);
    match road.prepare().and_then(|()| road.open(site.runner)) {
        Ok(Attempt::Connected) => Ok(None),
        Ok(Attempt::NotYet(words)) => Ok(Some(format!("it does not answer: {words}"))),
        Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
        Err(failure) => Ok(Some(format!("{:#}", failure.error))),
    }
}

/// Refuses to go on when what would be lost is not what was agreed to.
///
/// # Errors
/// Exit code 3. Nothing has been deleted.
fn check_again(answers: &Answers, name: &str, seen: &Seen, again: &Seen) -> Result<()> {
    if again == seen || answers.cover(again) {
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

/// Prints what would be lost, and what is not known.
fn show(name: &str, seen: &Seen) {
    match seen {
        Seen::Inventory(inventory) => {
            if !inventory.repositories.is_empty() {
                let work = inventory.to_string();
                ui::warn(&format!("work in `{name}` that exists nowhere else:\n{}", work.trim_end()));
            }
            if !inventory.unreadable.is_empty() {
                let folders = inventory.unreadable.join("\n  ");
                ui::warn(&format!(
                    "git cannot read these in `{name}`, so what is in them is not known:\n  {folders}"
                ));
            }
        }
        Seen::Unknown(why) => ui::warn(&format!("it is not known what is in `{name}`: {why}")),
        Seen::Gone => {}
    }
}

/// What is asked of a person who has read what was seen.
fn question(context: &Context, name: &str, seen: &Seen) -> String {
    let sessions = open_sessions(&context.layout, name).len();
    let open = if sessions == 0 { String::new() } else { format!(" ({sessions} open sessions end)") };
    let with = match seen.options()[..] {
        [] => {
            return format!(
                "Delete the machine `{name}` and its disk{open}? No unsaved work was found in its repositories."
            );
        }
        ["--discard"] => "that work",
        ["--discard-unseen"] => "what cannot be read",
        _ => "that work and what cannot be read",
    };
    format!("Delete the machine `{name}` with {with}{open}?")
}

/// Asks, unless the options have answered.
fn agree(context: &Context, answers: &Answers, name: &str, seen: &Seen) -> Result<()> {
    show(name, seen);
    let refuse = |sentence: &str, option: &str| {
        Failure::new(Kind::WouldLoseWork, sentence)
            .hint(format!("to delete it all the same: `{} {option}`", answers.command))
    };
    let clean = seen.is_clean();
    let is_answered = if clean { answers.discard || context.ui.yes } else { answers.cover(seen) };
    if is_answered {
        return Ok(());
    }
    if matches!(seen, Seen::Unknown(_)) {
        return Err(refuse("will not delete a machine that cannot be asked", "--discard-unseen"));
    }
    match context.ui.confirm(&question(context, name, seen), false) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::operation(format!("nothing was deleted of `{name}`"))),
        None => {
            let options = if clean { "--yes".to_string() } else { seen.options().join(" ") };
            Err(refuse("nobody can be asked here, so nothing was deleted", &options))
        }
    }
}

/// Takes the project's lock for `verb` once it is agreed that the machine may go.
///
/// # Errors
/// When it may not. Nothing has been deleted, and a machine that did not run does not run again.
pub fn agree_to_lose(
    context: &Context,
    site: &Site,
    record: &mut MachineRecord,
    answers: &Answers,
    verb: &str,
) -> Result<ProjectLock> {
    let mut rest = None;
    let agreed = agree_with_looks(context, site, record, answers, verb, &mut rest);
    if let (Err(_), Some(rest)) = (&agreed, rest) {
        put_back(context, site, record, rest);
    }
    agreed
}

fn agree_with_looks(
    context: &Context,
    site: &Site,
    record: &mut MachineRecord,
    answers: &Answers,
    verb: &str,
    rest: &mut Option<AtRest>,
) -> Result<ProjectLock> {
    let name = record.name.clone();
    let no_wait = context.options.no_wait;
    let waiting = Waiting { no_wait, say: site.say, interrupt: context.runner.interrupt() };
    let lock = || ProjectLock::exclusive(&context.layout, &name, verb, &waiting);
    let seen = {
        let _lock = lock()?;
        look(context, site, record, answers.discard_unseen, rest)?
    };
    // No lock is held across the question.
    agree(context, answers, &name, &seen)?;
    let held = lock()?;
    // The answer was given for that list; if it is another one by now, nobody has agreed to it.
    let again = look(context, site, record, answers.discard_unseen, rest)?;
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
