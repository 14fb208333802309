//! `machine sleep`: writes a machine's memory to the disk, encrypted, and stops it; it wakes where it fell asleep.
//!
//! Enters: project names. Leaves: machines that take no memory. Asks before it ends somebody's open session.

use crate::commands::{for_each, project_completer, waiting};
use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::lima::{Image, Status};
use crate::model::{ByteSize, ProjectName};
use crate::plan::Site;
use crate::record::{MachineRecord, ProjectLock, open_sessions};
use crate::ui;
use crate::workspace::{Ending, Workspace, agree_to_end_sessions, find_records, site};

/// Options of `sleep`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
`up`, `ssh` and `run` wake it: every process, open file and tmux session goes on. Connections end. The memory lies beside \
the machine's disk, encrypted with a key that only the runtime folder (XDG_RUNTIME_DIR) holds: after a restart of this \
computer, or once you have logged out everywhere, the next start is a cold one, and says so. Linux only. Machines with \
`isolation = \"strict\"` do not sleep.")]
pub struct Args {
    /// Projects; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", conflicts_with = "all", add = project_completer())]
    projects: Vec<String>,
    /// Every machine that runs
    #[arg(long)]
    all: bool,
    /// End open sessions without asking
    #[arg(long)]
    force: bool,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Puts each machine to sleep.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let mut records = find_records(context, &args.projects, args.all)?;
    records.retain(|record| !ProjectName::is_bake(&record.name));
    let workspace = Workspace::load(context)?;
    let say = |text: &str| context.ui.say(text);
    if args.all {
        records.retain(|record| {
            if record.isolation.is_strict() {
                say(&format!("`{}` stays as it is: strict machines do not sleep", record.name));
            }
            !record.isolation.is_strict()
        });
    }
    if let Some(first) = records.first().filter(|_| args.all) {
        // What all of them would fail by is said once.
        check(&site(context, &workspace.computer, &say), first)?;
    }
    for_each(records, |record| {
        let site = site(context, &workspace.computer, &say);
        check(&site, &record)?;
        if context.options.dry_run {
            show_sleep(context, &site, &record, args)
        } else {
            put_to_sleep(context, &site, &record, args)
        }
    })
}

/// Refuses where a machine cannot sleep, whatever it is at.
fn check(site: &Site, record: &MachineRecord) -> Result<()> {
    let driver = site.driver();
    driver.check_version(site.accept_unknown_lima)?;
    driver.check_sleep(&record.name, record.isolation)
}

/// Prints what would run, for a machine that runs.
fn show_sleep(context: &Context, site: &Site, record: &MachineRecord, args: &Args) -> Result<()> {
    let found = site.driver().find(&record.name)?;
    if found.is_some_and(|instance| instance.status == Status::Running) {
        ui::answer(&site.sleep_commands(record));
    } else {
        tell_at_rest(context, &record.name, args);
    }
    Ok(())
}

/// Says why a machine that was named stays as it is.
fn tell_at_rest(context: &Context, name: &str, args: &Args) {
    if !args.all {
        let asleep = Image::of(&context.layout.instance(name)).read_note().is_some();
        context.ui.say(&format!("`{name}` {}", if asleep { "is asleep already" } else { "does not run" }));
    }
}

fn put_to_sleep(context: &Context, site: &Site, record: &MachineRecord, args: &Args) -> Result<()> {
    let name = record.name.as_str();
    let driver = site.driver();
    let ending =
        Ending { name, verb: "sleep", question: "End them and put the machine to sleep?", force: args.force };
    // No lock is held across the question.
    agree_to_end_sessions(context, &ending)?;
    let _lock = ProjectLock::exclusive(&context.layout, name, "sleep", &waiting(context, site.say))?;
    let Some(mut record) = MachineRecord::load(&context.layout, name)? else { return Ok(()) };
    let mut found = driver.find(name)?;
    if let Some(instance) = &found
        && driver.settle(instance, &record.uuid)?
    {
        found = driver.find(name)?;
    }
    let Some(instance) = found.filter(|instance| instance.status == Status::Running) else {
        tell_at_rest(context, name, args);
        return Ok(());
    };
    // A connection that arrived since the question wins.
    if !args.force && !open_sessions(&context.layout, name).is_empty() {
        return Err(Failure::new(
            Kind::Busy,
            format!("a session was just opened on `{name}`: it stays awake"),
        ));
    }
    let phase = context.ui.phase("sleep");
    phase.now("writing its memory");
    let bytes = site.sleep(&record, &instance)?;
    (record.held, record.held_idle) = (true, false);
    record.save(&context.layout)?;
    phase.done(&format!("{name} asleep, {} on the disk", ByteSize::from_bytes(bytes).approximate()));
    Ok(())
}
