//! `machine prune`: deletes machines that nobody has used for long, each as `destroy` would.
//!
//! Enters: an age. Leaves: fewer machines. Work in one of them is shown first, and nothing is lost without an answer.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::commands::for_each;
use crate::context::Context;
use crate::disk;
use crate::failure::Result;
use crate::model::{ByteSize, MaxAge, ProjectName};
use crate::record::{MachineRecord, last_used, open_sessions};
use crate::ui;
use crate::workspace::{Answers, Workspace, agree_to_lose, delete, find_records, site};

/// Options of `prune`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Machines that were not used for this long, such as `30d`
    #[arg(long, value_name = "AGE", default_value = "30d")]
    older_than: MaxAge,
    /// Delete although the listed work would be lost, and do not ask
    #[arg(long)]
    discard: bool,
    /// Print the machines that would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Deletes them, one after the other.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    site.driver().check_version(site.accept_unknown_lima)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = |record: &MachineRecord| now.saturating_sub(last_used(&context.layout, record)) / 86_400;
    let mut old = find_records(context, &[], true)?;
    old.retain(|record| !ProjectName::is_bake(&record.name) && days(record) >= args.older_than.days());
    old.retain(|record| open_sessions(&context.layout, &record.name).is_empty());
    if old.is_empty() {
        say(&format!("no machine was left alone for {} days", args.older_than.days()));
    }
    for_each(&mut old, |record| {
        let taken = disk::allocated_bytes(&context.layout.instance(&record.name)).unwrap_or_default();
        let taken = ByteSize::from_bytes(taken).approximate();
        let line = format!("{}: not used for {} days, {taken} on the disk", record.name, days(record));
        if context.options.dry_run {
            ui::answer(&line);
            return Ok(());
        }
        say(&line);
        // Its hints are for this machine alone.
        let command = format!("machine destroy {}", record.name);
        let answers = Answers { command: &command, discard: args.discard, discard_unseen: false };
        let _lock = agree_to_lose(context, &site, record, &answers, "prune")?;
        delete(context, &site, record, &format!("{} is gone; its project is still configured", record.name))
    })
}
