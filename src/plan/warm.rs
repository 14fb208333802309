//! Warm boxes: a machine that has just booted from a box is kept, and new ones go on from it instead of booting.
//!
//! Enters: a box; a machine that is to be made from it. Leaves: the box with a warm half; or that machine, made one of its
//! own before anybody uses it. Nobody depends on it: whatever goes wrong costs a cold boot, from a fresh disk.

use std::time::{Duration, Instant, SystemTime};

use super::bake::remove_machine;
use super::create::make_instance;
use super::execute::Work;
use super::observe::random_hex;
use super::report::Reporter;
use super::{Goal, Site, Step, adopt};
use crate::boxes::{CachedBox, Found, Level, Source, Store, Warm};
use crate::disk;
use crate::failure::{Context, Failure, Kind, Result};
use crate::guest::{BEFORE_WARM, BEFORE_WARM_LINE, become_line, become_script};
use crate::lima::{self, Begin, Machine, Started};
use crate::model::{ByteSize, hex};
use crate::record::{Journal, MachineRecord};
use crate::ssh::Road;

/// How long the guest may take to come to rest.
const REST: Duration = Duration::from_secs(180);
/// How long it may take until it is another machine, and between two tries to reach it.
const BECOME: Duration = Duration::from_secs(60);
const KNOCK: Duration = Duration::from_millis(100);
/// What ssh says when it did not get through.
const NOT_REACHED: u8 = 255;

/// A box with its warm half.
#[derive(Clone, Debug)]
pub(super) struct WarmBox {
    cached: CachedBox,
    warm: Warm,
}

impl WarmBox {
    /// That of a box, for a machine of this goal; or why it has none for it. `None` where nobody wants one.
    pub fn of(site: &Site, goal: &Goal, cached: &CachedBox) -> Option<std::result::Result<Self, String>> {
        if !may_be_warm(site, goal) {
            return None;
        }
        let found = cached.warm().ok_or_else(|| "the box has no warm half".to_string());
        let fitting = found.and_then(|warm| check(site, &warm, goal).map(|()| warm));
        Some(fitting.map(|warm| Self { cached: cached.clone(), warm }))
    }

    /// The size of the disk that its machine is created with.
    pub fn disk(&self) -> ByteSize {
        ByteSize::from_bytes(self.warm.disk_bytes)
    }
}

/// What is in the memory of a strict machine goes to no disk.
fn may_be_warm(site: &Site, goal: &Goal) -> bool {
    site.warm_boxes && goal.bakes.is_none() && !goal.isolation.is_strict()
}

fn check(site: &Site, warm: &Warm, goal: &Goal) -> std::result::Result<(), String> {
    if (warm.cpus, warm.memory_bytes) != (goal.cpus, goal.memory.bytes()) {
        let memory = ByteSize::from_bytes(warm.memory_bytes).human();
        return Err(format!("the warm box has {} cpus and {memory}", warm.cpus));
    }
    if warm.disk_bytes > goal.disk.bytes() {
        return Err("the disk of the warm box is a larger one".into());
    }
    site.driver().check_memory(&warm.memory).map_err(|failure| format!("{:#}", failure.error))
}

/// The box of a level that has no warm half for machines of this goal, but could.
pub(super) fn cold_box(site: &Site, goal: &Goal, level: &Level) -> Option<CachedBox> {
    if !may_be_warm(site, goal) {
        return None;
    }
    let Found::Whole(cached) = Store::new(site.layout).find(&level.key) else { return None };
    let is_warm = cached.warm().is_some_and(|warm| check(site, &warm, goal).is_ok());
    (!is_warm).then_some(*cached)
}

/// Gives the box of a level a warm half for machines of this goal's size. The caller holds the box's lock.
///
/// # Errors
/// On an interrupt. That it cannot be made is no failure: it is said with `-v`.
pub(super) fn keep_warm(site: &Site, goal: &Goal, level: &Level, reporter: &mut Reporter) -> Result<()> {
    let Some(cached) = cold_box(site, goal, level) else { return Ok(()) };
    let phase = reporter.phase("warm");
    phase.now("booting a machine from it, for others to go on from");
    let name = level.machine();
    let made = remove_machine(site, name.as_str()).and_then(|()| make(site, goal, level, &cached));
    let Err(failure) = made else {
        remove_machine(site, name.as_str())?;
        reporter
            .done(phase, &format!("{}  {}", level.name, ByteSize::from_bytes(cached.warm_bytes()).human()));
        return Ok(());
    };
    reporter.forget(phase);
    cached.cool()?;
    if failure.kind == Kind::Interrupted {
        site.runner.clean_up(&site.driver().limactl.delete(name.as_str()));
        disk::remove_folder(&site.layout.machine(name.as_str()))?;
        return Err(failure);
    }
    reporter.ui.detail(&format!("the box `{}` has no warm half: {:#}", level.name, failure.error));
    remove_machine(site, name.as_str())
}

fn make(site: &Site, goal: &Goal, level: &Level, cached: &CachedBox) -> Result<()> {
    if site.runner.find("zstd").is_none() {
        return Err(Failure::operation("the program `zstd` is not installed, or not on PATH"));
    }
    cached.cool()?;
    let (driver, name) = (site.driver(), level.machine());
    let name = name.as_str();
    let image = cached.image(site.host.boots_kernels());
    let mut record = MachineRecord {
        uuid: random_hex(),
        config_file: cached.folder.clone(),
        disk_bytes: goal.box_disk.bytes(),
        image: image.location.clone(),
        kernel: image.kernel.clone(),
        // Machines that go on from it may have secrets.
        clears_freed: true,
        ..MachineRecord::blank(name)
    };
    site.reserve_port(&mut record)?;
    adopt::generate_host_key(site, name)?;
    record.host_key = adopt::public_key(site, name)?;
    let machine = Machine {
        uuid: record.uuid.clone(),
        cpus: goal.cpus,
        memory: goal.memory,
        disk: goal.box_disk,
        image,
        ssh_port: record.port,
        ports: Vec::new(),
        host_key: adopt::read_host_key(site, name)?,
        root_key: None,
    };
    let yaml = machine.render(site.host)?;
    site.keep_rendered(name, &yaml)?;
    driver.create(name, &yaml)?;
    let gone = || Failure::operation(format!("Lima lost `{name}`"));
    let config = driver.find(name)?.ok_or_else(gone)?.config;
    site.start(&mut record, &config)?;
    let road = site.road(&record);
    site.runner.read(&road.exec_root(BEFORE_WARM_LINE).input(BEFORE_WARM).time_limit(REST))?;
    road.close(site.runner);
    let instance = driver.find(name)?.ok_or_else(gone)?;
    let memory = driver.freeze(&instance, &cached.warm_memory())?;
    let source = Source {
        cpus: goal.cpus,
        memory_bytes: goal.memory.bytes(),
        disk_bytes: goal.box_disk.bytes(),
        host_key: &record.host_key,
        disk: &instance.folder.join("disk"),
    };
    cached.keep_warm(&source, memory, site.runner.interrupt())
}

/// Has a machine that was just created go on from the warm box it was made from, if it was; `None` when it has to boot,
/// which it can: its disk is a fresh one then.
///
/// # Errors
/// On an interrupt, or when a fresh disk cannot be made.
pub(super) fn go_on(work: &mut Work, reporter: &Reporter) -> Result<Option<Started>> {
    let Some(held) = work.held_box.as_mut().and_then(|held| held.warm.take()) else { return Ok(None) };
    let (site, name) = (work.site, work.goal.name.to_string());
    let cold = |why: &str| reporter.ui.detail(&format!("`{name}` boots cold: {why}"));
    let held = match held {
        Ok(held) => held,
        Err(why) => {
            cold(&why);
            return Ok(None);
        }
    };
    // Cut off in the midst of it, it is no machine yet: the next try begins anew.
    let note = |step: Step, uuid: &str| Journal::note(site.layout, &name, "up", &step.to_string(), uuid);
    note(Step::Create, &work.record.uuid)?;
    let failure = match resume(work, &held) {
        Ok(started) => return note(Step::Start, &work.record.uuid).map(|()| Some(started)),
        Err(failure) => failure,
    };
    work.road().close(site.runner);
    if failure.kind == Kind::Interrupted {
        site.runner.clean_up(&site.driver().limactl.delete(&name));
        return Err(failure);
    }
    cold(&format!("{:#}", failure.error));
    site.driver().abandon(&name)?;
    make_instance(work, work.goal.disk)?;
    note(Step::Start, &work.record.uuid).map(|()| None)
}

fn resume(work: &mut Work, held: &WarmBox) -> Result<Started> {
    let (site, driver, warm) = (work.site, work.site.driver(), &held.warm);
    let name = work.goal.name.to_string();
    held.cached.warm_up(warm, &site.layout.instance(&name).join("disk"))?;
    let found = driver.find(&name)?.ok_or_else(|| Failure::operation("Lima does not know it"))?;
    let road = site.prepare_start(&mut work.record, &found.config)?;
    work.record.generation += 1;
    work.record.save(site.layout)?;
    let from = held.cached.warm_memory();
    let disk_bytes = work.goal.disk.bytes();
    let engine = driver.thaw(&name, &warm.memory, &from, disk_bytes, &site.acceleration(&work.record))?;
    become_own(site, &road, &warm.host_key)?;
    road.prepare()?;
    driver.wait_for_answer(&name, &road).because(|| "it does not answer as a machine of its own")?;
    let yaml = work.render(work.goal.disk)?;
    driver.rewrite(&name, &yaml)?;
    site.keep_rendered(&name, &yaml)?;
    site.note_answer(&mut work.record)?;
    Ok(Started { engine: Some(engine), begin: Begin::Warm })
}

/// Asks the guest, over one connection that expects the key of the warm box, to become another machine.
fn become_own(site: &Site, road: &Road, host_key: &str) -> Result<()> {
    let road = Road { host_key: host_key.to_string(), ..road.clone() };
    road.prepare()?;
    let seed = hex(&lima::random::<64>()?);
    let deadline = Instant::now() + BECOME;
    loop {
        site.runner.check_interrupt()?;
        let line = become_line(SystemTime::now());
        let cmd = road.exec_root(&line).input(become_script(&seed)).time_limit(BECOME);
        let finished = site.runner.read_any_status(&cmd)?;
        if finished.status.success() {
            return Ok(());
        }
        if finished.code() != NOT_REACHED || Instant::now() > deadline {
            let words = finished.tail.join("; ");
            return Err(Failure::operation(words).because("it did not become a machine of its own"));
        }
        std::thread::sleep(KNOCK);
    }
}
