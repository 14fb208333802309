//! Makes sure that the box of a stack is in the cache: finds it, or builds it in a machine of its own that never sees a
//! project, from the longest part of the stack that is cached.
//!
//! Enters: levels. Leaves: a box nobody can remove while its lock is held. A build that was cut off goes on where it
//! stopped; what is half done is never taken for a box.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::execute::Work;
use super::observe::observe;
use super::report::Reporter;
use super::warm::{WarmBox, cold_box, keep_warm};
use super::{BoxUse, Goal, Plan, Purpose, Site, plan};
use crate::boxes::{
    CachedBox, FileNote, Found, KernelNote, Level, MOST_KERNEL_BYTES, Manifest, Staging, Store,
};
use crate::disk;
use crate::failure::{Failure, Kind, Result};
use crate::guest::{BootFile, SecretValues, boot_command_line, packages_script, seal_script};
use crate::lima::LocalImage;
use crate::model::{ByteSize, Setup};
use crate::process::Cmd;
use crate::record::{Journal, ProjectLock, Waiting};
use crate::ssh::Road;

/// The longest that sealing may take: it trims the disk and packs the initrd, under emulation.
const SEAL_LIMIT: Duration = Duration::from_secs(1200);
/// How long a sealed guest may take to shut down. Lima would kill it after three minutes, and a disk that was not
/// unmounted is no box.
const STOP_LIMIT: Duration = Duration::from_secs(150);
/// The files that a host boots directly, and what they are called beside the box.
const BOOT_FILES: [(BootFile, &str); 2] = [(BootFile::Kernel, "vmlinuz"), (BootFile::Initrd, "initrd")];
/// Memory of a machine that builds.
const MEMORY: ByteSize = ByteSize::from_gib(4);

/// A box that stays where it is for as long as this lives.
pub(super) struct HeldBox {
    pub(super) image: LocalImage,
    pub(super) key: String,
    /// What a machine of the goal goes on from instead of booting, or why it cannot.
    pub(super) warm: Option<std::result::Result<WarmBox, String>>,
    _lock: ProjectLock,
}

/// Has the box of the goal's last level, from the cache or newly built.
///
/// # Errors
/// When it cannot be built. The machine that builds it stays, and the next try goes on from where this one stopped.
pub(super) fn ensure_box(site: &Site, goal: &Goal, reporter: &mut Reporter) -> Result<HeldBox> {
    let Some(level) = goal.levels.last() else {
        return Err(Failure::operation("there is no stack to build a box of"));
    };
    if goal.box_use != BoxUse::Refreshed
        && let Some(held) = take(site, goal, level, reporter)?
    {
        return Ok(held);
    }
    let store = Store::new(site.layout);
    let before = created(&store, level);
    {
        let machine = level.machine();
        let _lock = ProjectLock::exclusive(site.layout, machine.as_str(), "up", &waiting(site))?;
        remove_damaged(&store, level, reporter)?;
        // Somebody else may have built it while we waited.
        let after = created(&store, level);
        if after.is_none() || (goal.box_use == BoxUse::Refreshed && after == before) {
            let bake = bake_goal(site, goal, level, &store);
            build(site, bake, reporter).map_err(|failure| rename_machine(failure, level, goal))?;
            keep_warm(site, goal, level, reporter)?;
        }
    }
    take(site, goal, level, reporter)?.ok_or_else(|| {
        Failure::operation(format!("the box `{}` was removed as soon as it was built", level.name))
            .hint(format!("try again: `{}`", goal.again))
    })
}

/// Has the boxes of a goal, for nobody in particular.
///
/// # Errors
/// As for a machine that needs them.
pub fn prepare_box(site: &Site, goal: &Goal, reporter: &mut Reporter) -> Result<()> {
    ensure_box(site, goal, reporter).map(drop)?;
    let Some(level) = goal.levels.last() else { return Ok(()) };
    // One that was cached may have no warm half yet, or one of another size.
    if cold_box(site, goal, level).is_none() {
        return Ok(());
    }
    let _lock = ProjectLock::exclusive(site.layout, level.machine().as_str(), "box bake", &waiting(site))?;
    keep_warm(site, goal, level, reporter)
}

/// Takes a cached box; `None` when it has to be built first.
fn take(site: &Site, goal: &Goal, level: &Level, reporter: &mut Reporter) -> Result<Option<HeldBox>> {
    let store = Store::new(site.layout);
    if !store.place(&level.key).exists() {
        return Ok(None);
    }
    let phase = reporter.phase("box");
    let lock = ProjectLock::shared(site.layout, level.machine().as_str(), &waiting(site))?;
    let Found::Whole(cached) = store.find(&level.key) else {
        reporter.forget(phase);
        return Ok(None);
    };
    store.touch(&level.key)?;
    reporter.done(phase, &format!("{}  {}", level.name, describe_age(&cached)));
    // Today's configuration says, not that of the day it was built.
    if cached.manifest.is_older_than(level.max_age_days, now()) {
        let age = cached.manifest.age_days(now());
        let name = &level.name;
        reporter.ui.say(&format!(
            "the box `{name}` is {age} days old; newer packages: `machine box bake --refresh`"
        ));
    }
    let image = cached.image(site.host.boots_kernels());
    let warm = WarmBox::of(site, goal, &cached);
    Ok(Some(HeldBox { image, key: level.key.clone(), warm, _lock: lock }))
}

/// When the box of a level was built; `None` when there is none that is whole.
fn created(store: &Store, level: &Level) -> Option<u64> {
    match store.find(&level.key) {
        Found::Whole(cached) => Some(cached.manifest.created),
        Found::Damaged(_) | Found::Missing => None,
    }
}

/// Removes the box of a level if it is damaged. The caller holds its lock.
fn remove_damaged(store: &Store, level: &Level, reporter: &Reporter) -> Result<()> {
    if let Found::Damaged(why) = store.find(&level.key) {
        reporter.ui.say(&format!("the box `{}` is damaged ({why}): it is built anew", level.name));
        store.remove(&level.key)?;
    }
    Ok(())
}

/// The last level of a goal, and the goal of the machine that would build it; none of those when it is cached.
pub(super) fn next_bake(site: &Site, goal: &Goal) -> Option<(Level, Option<Goal>)> {
    let level = goal.levels.last()?.clone();
    let store = Store::new(site.layout);
    let cached = goal.box_use != BoxUse::Refreshed && store.place(&level.key).is_dir();
    let bake = (!cached).then(|| bake_goal(site, goal, &level, &store));
    Some((level, bake))
}

fn describe_age(cached: &CachedBox) -> String {
    match cached.manifest.age_days(now()) {
        0 => "cached, built today".into(),
        1 => "cached, 1 day old".into(),
        days => format!("cached, {days} days old"),
    }
}

/// The goal of the machine that builds a level, from the longest cached part of it. `base` is always one of those, as
/// all stacks share it.
fn bake_goal(site: &Site, goal: &Goal, level: &Level, store: &Store) -> Goal {
    let below = goal.levels.split_last().map_or(&[][..], |(_, below)| below);
    let cached = if goal.box_use == BoxUse::Refreshed {
        None
    } else {
        below.iter().rposition(|level| store.place(&level.key).is_dir())
    };
    let parents = cached.map(|index| index + 1).or_else(|| goal.starts_with_base.then_some(1)).unwrap_or(0);
    let memory = site.host.memory_bytes.map_or(MEMORY, |bytes| ByteSize::from_bytes(bytes / 2).min(MEMORY));
    let cpus = site.host.cpus.clamp(1, 4);
    let box_disk = goal.box_disk;
    Goal {
        name: level.machine(),
        config_file: store.folder().to_owned(),
        repository: None,
        cpus,
        memory,
        disk: box_disk,
        headline: format!("building the box `{}`, once; machines start from it", level.name),
        steps: level.steps_to_build(&goal.openings, goal.proxy.as_ref()),
        repos: Vec::new(),
        git_hosts: Vec::new(),
        setup: Setup::None,
        ports: Vec::new(),
        forward_agent: false,
        signing_key: None,
        secrets: None,
        secret_values: SecretValues::default(),
        idle: None,
        levels: below[..parents.min(below.len())].to_vec(),
        bakes: Some(level.clone()),
        ..goal.clone()
    }
}

/// Brings the machine that builds to its end, which is a published box.
fn build(site: &Site, goal: Goal, reporter: &mut Reporter) -> Result<()> {
    let Some(level) = goal.bakes.clone() else { return Ok(()) };
    let store = Store::new(site.layout);
    disk::ensure_private_folder(store.folder())?;
    let staging = Staging::of(&store, &level.key);
    reporter.ui.say_bold(&goal.headline);
    if staging.has_disk() {
        return finish(site, &level, &staging, &store, reporter);
    }
    let machine = level.machine();
    let name = machine.as_str();
    // A machine whose disk was taken, and lost since, is good for nothing.
    if site.layout.instance(name).exists() && !site.layout.instance(name).join("disk").exists() {
        site.driver().remove_half_made(name)?;
    }
    let again = goal.again.clone();
    let (mut work, observed) = observe(site, goal, &|_, _| Some(true))?;
    let Plan(steps) = plan(observed);
    for step in steps {
        site.runner.check_interrupt()?;
        Journal::note(site.layout, name, "bake", &step.to_string(), &work.record.uuid)?;
        if let Err(failure) = work.carry_out(step, reporter) {
            keep_for_next_try(&work, &failure, reporter);
            let is_told =
                failure.kind == Kind::Interrupted || failure.hints.iter().any(|hint| hint.contains(&again));
            return Err(if is_told { failure } else { failure.hint(format!("go on from there: `{again}`")) });
        }
    }
    Ok(())
}

/// A build that failed keeps its disk, but no processes: nobody would know that they run.
fn keep_for_next_try(work: &Work, failure: &Failure, reporter: &Reporter) {
    let site = work.site;
    if failure.kind == Kind::Interrupted {
        return;
    }
    let Ok(Some(instance)) = site.driver().find(work.goal.name.as_str()) else { return };
    work.road().close(site.runner);
    // What failed before is the news; a machine that cannot be stopped shows in `machine box list`.
    if site.driver().stop(&instance, work.record.answered).is_ok() {
        reporter.ui.say("the machine that builds it is kept, stopped");
    }
}

/// Hints name the command that the user knows, not a machine that nobody can name.
fn rename_machine(failure: Failure, level: &Level, goal: &Goal) -> Failure {
    let unknown = format!("machine up {}", level.machine());
    let mut hints: Vec<String> =
        failure.hints.iter().map(|hint| hint.replace(&unknown, &goal.again)).collect();
    hints.dedup();
    Failure { hints, ..failure }
}

/// Step `seal`: takes out everything that makes this machine one of a kind, and fetches what boots it.
pub(super) fn seal(work: &Work, reporter: &mut Reporter) -> Result<()> {
    let Some(level) = &work.goal.bakes else { return Ok(()) };
    let phase = reporter.phase("seal");
    let (site, road) = (work.site, work.road());
    let store = Store::new(site.layout);
    let staging = Staging::of(&store, &level.key);
    staging.begin()?;
    phase.now("writing down what was installed");
    let packages = site.runner.read(&packages_command(&road))?;
    disk::write_atomic(&staging.path("packages.txt"), &packages.stdout, 0o600)?;
    phase.now("taking out what is this machine's own");
    site.runner.stream(&seal_command(&road), &mut |_, line| phase.now(&String::from_utf8_lossy(line)))?;
    phase.now("fetching its kernel");
    let kernel = fetch_kernel(work, &staging)?;
    staging.describe(&manifest(work, level, kernel))?;
    reporter.done(phase, &format!("{} packages", packages.text().lines().count()));
    Ok(())
}

/// Fetches what boots the box without firmware and boot loader, where this host can do so and the guest is one for it.
fn fetch_kernel(work: &Work, staging: &Staging) -> Result<Option<KernelNote>> {
    let (site, road) = (work.site, work.road());
    if !site.host.boots_kernels() {
        return Ok(None);
    }
    let root = site.runner.read_any_status(&boot_file_command(&road, BootFile::Root))?.text();
    let Some(cmdline) = boot_command_line(&root) else { return Ok(None) };
    for (file, name) in BOOT_FILES {
        site.runner.save(&boot_file_command(&road, file), &staging.path(name), MOST_KERNEL_BYTES)?;
    }
    Ok(Some(KernelNote { cmdline, ..KernelNote::default() }))
}

/// What the step `seal` runs.
pub(super) fn seal_commands(site: &Site, road: &Road) -> Vec<String> {
    let mut commands = vec![packages_command(road), seal_command(road)];
    if site.host.boots_kernels() {
        commands.push(boot_file_command(road, BootFile::Root));
        commands.extend(BOOT_FILES.map(|(file, _)| boot_file_command(road, file)));
    }
    commands.iter().map(ToString::to_string).collect()
}

fn packages_command(road: &Road) -> Cmd {
    road.exec("bash -s").input(packages_script()).time_limit(SEAL_LIMIT)
}

fn seal_command(road: &Road) -> Cmd {
    road.exec_root("bash -s").input(seal_script()).own_group().time_limit(SEAL_LIMIT)
}

fn boot_file_command(road: &Road, file: BootFile) -> Cmd {
    road.exec(file.command_line()).time_limit(SEAL_LIMIT)
}

fn manifest(work: &Work, level: &Level, kernel: Option<KernelNote>) -> Manifest {
    Manifest {
        schema: Manifest::SCHEMA,
        key: level.key.clone(),
        name: level.name.clone(),
        image: work.goal.image_name.clone(),
        arch: work.site.host.arch.debian().to_string(),
        created: now(),
        max_age_days: level.max_age_days,
        has_ca_certs: work.goal.has_ca_certs,
        steps: level.steps.iter().map(|step| step.name.clone()).collect(),
        disk: FileNote::default(),
        kernel,
    }
}

/// Step `capture`: stops the machine, takes its disk, publishes it, and removes what is left of the machine.
pub(super) fn capture(work: &mut Work, reporter: &mut Reporter) -> Result<()> {
    let Some(level) = work.goal.bakes.clone() else { return Ok(()) };
    let site = work.site;
    let store = Store::new(site.layout);
    let staging = Staging::of(&store, &level.key);
    let phase = reporter.phase("stop");
    phase.now("shutting down");
    work.road().close(site.runner);
    site.driver().stop_cleanly(level.machine().as_str(), STOP_LIMIT)?;
    reporter.done(phase, "shut down, disk clean");
    staging.take_disk(&disk_of(site, &level), site.runner.interrupt())?;
    finish(site, &level, &staging, &store, reporter)
}

fn disk_of(site: &Site, level: &Level) -> PathBuf {
    site.layout.instance(level.machine().as_str()).join("disk")
}

/// What is left to do once the disk is taken.
fn finish(
    site: &Site,
    level: &Level,
    staging: &Staging,
    store: &Store,
    reporter: &mut Reporter,
) -> Result<()> {
    let phase = reporter.phase("capture");
    phase.now("computing its digest");
    staging.publish(store)?;
    remove_machine(site, level.machine().as_str())?;
    let takes = match store.find(&level.key) {
        Found::Whole(cached) => ByteSize::from_bytes(cached.allocated_bytes()).human(),
        Found::Damaged(_) | Found::Missing => String::new(),
    };
    reporter.done(phase, &format!("{}  {takes}", level.name));
    Ok(())
}

/// Removes a machine that built a box, or was to. The caller holds its lock.
pub fn remove_machine(site: &Site, name: &str) -> Result<()> {
    let driver = site.driver();
    if let Some(instance) = driver.find(name)? {
        driver.stop(&instance, false)?;
        driver.delete(name)?;
    } else {
        disk::remove_folder(&site.layout.instance(name))?;
    }
    if let Ok(Some(record)) = crate::record::MachineRecord::load(site.layout, name) {
        disk::remove_folder(&site.layout.sockets(record.id()))?;
    }
    disk::remove_folder(&site.layout.machine(name))
}

/// Whether a goal makes a project's machine or a box, and from what.
pub(super) fn purpose(goal: &Goal) -> Purpose {
    match (&goal.bakes, goal.levels.is_empty()) {
        (None, true) => Purpose::FromImage,
        (None, false) => Purpose::FromBox,
        (Some(_), true) => Purpose::BakeFromImage,
        (Some(_), false) => Purpose::BakeFromBox,
    }
}

fn waiting<'a>(site: &'a Site) -> Waiting<'a> {
    Waiting { no_wait: site.no_wait, say: site.say, interrupt: site.runner.interrupt() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
