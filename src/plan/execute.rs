//! Carries a plan out, step by step, each told to the Reporter; stops at the first failure.
//!
//! Enters: a plan, a goal, a site. Leaves: a machine brought to the goal, its record saying so.

use std::time::{SystemTime, UNIX_EPOCH};

use super::bake::{HeldBox, capture, ensure_box, seal};
use super::create::create;
use super::difference::{Needs, built_layers, differences, still_there};
use super::observe::{observe, random_hex};
use super::provision::provision;
use super::report::Reporter;
use super::repositories::repositories;
use super::secrets::secrets;
use super::{
    Confirm, Connection, Goal, Plan, Presence, Site, Step, adopt, plan, ports, warm, write_ssh_hosts,
};
use crate::failure::{Failure, Result};
use crate::guest::{Observation, observe_script};
use crate::lima::{Instance, LocalImage, Machine, with_ports};
use crate::model::ByteSize;
use crate::record::{HostAgent, Journal, MachineRecord, Ready, release};
use crate::ssh::{Road, ensure_include};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    WasReady,
    /// Everything wanted is there.
    Ready,
    /// The machine answers, but something is missing: see the report.
    Incomplete,
}

/// A machine while a plan is carried out on it.
pub(super) struct Work<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) goal: Goal,
    pub(super) record: MachineRecord,
    pub(super) instance: Option<Instance>,
    pub(super) image: Option<LocalImage>,
    /// The box it is made from, which must not go before it answers.
    pub(super) held_box: Option<HeldBox>,
    pub(super) observation: Observation,
    pub(super) fresh: bool,
}

/// What the caller does in between.
pub struct Hooks<'a> {
    /// Asks the user.
    pub confirm: &'a Confirm<'a>,
    /// Completes the goal by what takes time to find out, once it is known that there is something to do. The record
    /// is that of an existing machine.
    pub complete: &'a dyn Fn(Goal, Option<&MachineRecord>) -> Result<Goal>,
}

/// Brings the machine to its goal. The caller holds the project's lock.
///
/// # Errors
/// At the first step that fails. What was done stays, and the next try goes on from there.
pub fn execute(site: &Site, goal: Goal, reporter: &mut Reporter, hooks: &Hooks) -> Result<Outcome> {
    let name = goal.name.clone();
    let (mut work, observed) = observe(site, goal, hooks.confirm)?;
    let Plan(steps) = plan(observed);
    if steps.is_empty() {
        work.goal.refuse_box_options()?;
        tell(reporter, &work, &beyond_up(&work));
        work.record.belong_to(&work.goal.config_file, work.goal.repository.as_ref());
        work.touch()?;
        Journal::close(site.layout, name.as_str())?;
        return Ok(Outcome::WasReady);
    }
    let known = !matches!(observed.presence, Presence::Absent | Presence::HalfMade);
    if known {
        work.goal.refuse_box_options()?;
        work.goal.refuse_other_isolation(work.record.isolation)?;
    }
    if observed.presence != Presence::Running {
        // Before anything takes time.
        ports::agree(&work, hooks)?;
        site.check_ports_are_free(&work.record, &work.goal.ports)?;
    }
    let beyond = beyond_up(&work);
    work.goal = (hooks.complete)(work.goal.clone(), known.then_some(&work.record))?;
    work.follow_goal();
    if !work.record.forward_agent {
        release(site.layout, name.as_str())?;
    }
    reporter.ui.say_bold(&format!("{name}  {}", work.goal.headline));
    for step in steps {
        site.runner.check_interrupt()?;
        Journal::note(site.layout, name.as_str(), "up", &step.to_string(), &work.record.uuid)?;
        work.carry_out(step, reporter)?;
    }
    if !reporter.has_problems() {
        work.mark_ready()?;
    }
    work.touch()?;
    Journal::close(site.layout, name.as_str())?;
    if known {
        tell(reporter, &work, &beyond);
    }
    Ok(if reporter.has_problems() { Outcome::Incomplete } else { Outcome::Ready })
}

/// What only a fresh machine would have.
fn beyond_up(work: &Work) -> Vec<String> {
    let differences = differences(&work.record, &work.goal).into_iter();
    differences
        .filter(|difference| difference.needs == Needs::Rebuild)
        .map(|difference| format!("{} ({})", difference.what, difference.detail))
        .collect()
}

fn tell(reporter: &Reporter, work: &Work, beyond: &[String]) {
    if !beyond.is_empty() {
        let name = &work.goal.name;
        let list = beyond.join("; ");
        reporter
            .ui
            .say(&format!("only a fresh machine would have: {list}; to make one: `machine rebuild {name}`"));
    }
}

impl Work<'_> {
    fn name(&self) -> &str {
        self.goal.name.as_str()
    }

    pub(super) fn road(&self) -> Road {
        self.site.road(&self.record)
    }

    fn host_agent(&self) -> Option<HostAgent> {
        self.site.host_agent(self.name(), self.instance.as_ref()?.host_agent_pid)
    }

    pub(super) fn is_ready(&self) -> bool {
        let ready = self.record.ready.as_ref().filter(|ready| ready.wanted == self.goal.digest());
        ready.is_some_and(|ready| Some(&ready.host_agent) == self.host_agent().as_ref())
    }

    /// What the record says of sessions follows the configuration at once; sizes follow at a start.
    fn follow_goal(&mut self) {
        self.record.belong_to(&self.goal.config_file, self.goal.repository.as_ref());
        self.record.git_hosts.clone_from(&self.goal.git_hosts);
        self.record.addresses.clone_from(&self.goal.addresses);
        self.record.openings.clone_from(&self.goal.openings);
        self.record.forward_agent = self.goal.forward_agent;
        self.record.clears_freed = self.goal.secrets.is_some() && !self.goal.isolation.is_strict();
        self.record.signing_key.clone_from(&self.goal.signing_key);
        self.record.folder = self.goal.folder();
    }

    /// Its lima.yaml, with a disk of this size.
    pub(super) fn render(&self, disk: ByteSize) -> Result<String> {
        let (site, record) = (self.site, &self.record);
        let machine = Machine {
            uuid: record.uuid.clone(),
            cpus: self.goal.cpus,
            memory: self.goal.memory,
            disk,
            image: LocalImage { location: record.image.clone(), kernel: record.kernel.clone() },
            ssh_port: record.port,
            ports: self.goal.ports.clone(),
            host_key: adopt::read_host_key(site, self.name())?,
            root_key: adopt::root_public_key(site, record)?,
        };
        machine.render(site.host)
    }

    pub(super) fn yaml_is_current(&self, presence: Presence) -> Result<bool> {
        if matches!(presence, Presence::Absent | Presence::HalfMade) {
            return Ok(false);
        }
        let kept = crate::disk::read_text_if_there(&self.site.rendered_path(self.name()))?;
        let Some(kept) = kept else { return Ok(false) };
        // Ports change while it runs, or once it is awake; only what else is different waits for the next start.
        let changes = matches!(presence, Presence::Running | Presence::Asleep);
        let ports = changes.then(|| with_ports(&kept, &self.goal.ports)).transpose()?;
        Ok(ports.unwrap_or(kept) == self.render(self.goal.disk)?)
    }

    pub(super) fn carry_out(&mut self, step: Step, reporter: &mut Reporter) -> Result<()> {
        match step {
            Step::Discard => {
                // Lima's view of it is over with it.
                self.instance = None;
                self.site.driver().remove_half_made(self.name())
            }
            Step::Image => self.fetch_image(reporter),
            Step::Box => {
                self.held_box = Some(ensure_box(self.site, &self.goal, reporter)?);
                Ok(())
            }
            Step::Create => create(self, reporter),
            Step::Repair => self.repair(reporter),
            Step::Resize => self.resize(),
            Step::Start | Step::Wake => self.boot(reporter, step),
            Step::Connect => {
                self.boot(reporter, step)?;
                self.reopen(reporter)
            }
            Step::Provision => {
                let observation = std::mem::take(&mut self.observation);
                provision(self, &observation, reporter)?;
                self.observation = observation;
                Ok(())
            }
            Step::Seal => seal(self, reporter),
            Step::Capture => capture(self, reporter),
            Step::Secrets => secrets(self, reporter),
            Step::Repositories => repositories(self, &self.observation, reporter),
            Step::SshHost => self.write_ssh_host(reporter),
            Step::Ports => ports::open(self, reporter),
            Step::TellResize => {
                let name = self.name();
                let sentence = format!(
                    "the new size counts from the next start on: `machine down {name} && machine up {name}`"
                );
                reporter.ui.say(&sentence);
                Ok(())
            }
        }
    }

    fn fetch_image(&mut self, reporter: &mut Reporter) -> Result<()> {
        let phase = reporter.phase("image");
        let site = self.site;
        let show = |text: &str| phase.now(text);
        let image = crate::lima::image::fetch(
            &self.goal.image,
            &site.layout.images(),
            site.host,
            &site.proxies,
            site.runner,
            &show,
        )?;
        let detail = image.location.file_name().map(|name| name.to_string_lossy().into_owned());
        self.image = Some(image);
        reporter.done(phase, &detail.unwrap_or_default());
        Ok(())
    }

    fn repair(&mut self, reporter: &mut Reporter) -> Result<()> {
        let phase = reporter.phase("repair");
        if let Some(instance) = &self.instance {
            self.site.driver().stop_forcibly(instance)?;
        }
        reporter.done(phase, "what an earlier run left was ended");
        Ok(())
    }

    fn resize(&mut self) -> Result<()> {
        let yaml = self.render(self.goal.disk)?;
        self.site.driver().rewrite(self.name(), &yaml)?;
        self.site.keep_rendered(self.name(), &yaml)?;
        self.record.disk_bytes = self.goal.disk.bytes();
        self.record.ports.clone_from(&self.goal.ports);
        let built = self.record.built.get_or_insert_default();
        (built.cpus, built.memory_bytes) = (self.goal.cpus, self.goal.memory.bytes());
        // Lima's view is from before this change.
        self.instance = None;
        self.record.save(self.site.layout)
    }

    fn boot(&mut self, reporter: &mut Reporter, step: Step) -> Result<()> {
        let phase = reporter.phase(&step.to_string());
        phase.now("waiting for ssh");
        let connection = if step == Step::Connect {
            self.site.reach(&mut self.record, true)?
        } else if let Some(started) = warm::go_on(self, reporter)? {
            Connection::Started(started)
        } else {
            let known = self.instance.as_ref().map(|instance| instance.config.clone());
            let config = match known {
                Some(config) => config,
                None => self.site.driver().find(self.name())?.map(|found| found.config).unwrap_or_default(),
            };
            Connection::Started(self.site.start(&mut self.record, &config)?)
        };
        self.held_box = None;
        self.observation = self.ask_until_booted()?;
        reporter.done(phase, connection.describe());
        Ok(())
    }

    /// Opens and closes for a machine that runs.
    fn reopen(&self, reporter: &Reporter) -> Result<()> {
        let name = self.name();
        if !self.site.driver().reopen(name, &self.goal.openings)? {
            reporter.ui.say(&format!(
                "more of this computer's own ports are open from the next start on: `machine down {name} && machine up {name}`"
            ));
        }
        Ok(())
    }

    /// One question over the new connection; a first boot may still be at Lima's own scripts.
    fn ask_until_booted(&self) -> Result<Observation> {
        let mark = random_hex();
        let script = observe_script(&self.goal.repos, &mark);
        let road = self.road();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(300);
        loop {
            self.site.runner.check_interrupt()?;
            let answer =
                road.read(self.site.runner, "bash -s", &script, std::time::Duration::from_secs(60))?.text();
            let observation = Observation::parse(&answer, &mark);
            let observation =
                observation.ok_or_else(|| Failure::operation("the guest's answer was cut off"))?;
            // Once provisioned, nothing that Lima's script does at a boot concerns what follows.
            if observation.booted || !observation.stamps.is_empty() {
                return Ok(observation);
            }
            if std::time::Instant::now() > deadline {
                return Err(Failure::operation("Lima's boot script in the guest does not end").hint(
                    format!(
                        "its output: `machine run {} -- cat /var/log/cloud-init-output.log`",
                        self.goal.name
                    ),
                ));
            }
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }

    fn write_ssh_host(&mut self, reporter: &mut Reporter) -> Result<()> {
        let phase = reporter.phase("ssh");
        self.record.save(self.site.layout)?;
        write_ssh_hosts(self.site)?;
        let detail = format!("Host machine-{}", self.name());
        match ensure_include(&self.site.layout.ssh_config()) {
            Ok(_) => reporter.done(phase, &detail),
            // The machine works without it; only `ssh machine-NAME` does not.
            Err(failure) => {
                reporter.done(phase, &detail);
                crate::ui::warn(&format!("{:#}; {}", failure.error, failure.hints.join("; ")));
            }
        }
        Ok(())
    }

    /// Remembers that this very boot was brought to this very goal.
    fn mark_ready(&mut self) -> Result<()> {
        let pid = crate::disk::read_text_if_there(&self.site.layout.instance(self.name()).join("ha.pid"))?;
        let pid = pid.and_then(|text| text.trim().parse().ok());
        let host_agent = self.site.host_agent(self.name(), pid);
        let built = self.record.built.get_or_insert_default();
        built.left = still_there(built, &self.goal);
        (built.layers, built.env) = (built_layers(&self.goal), self.goal.env.clone());
        built.access.clone_from(&self.goal.access);
        self.record.ready = host_agent.map(|host_agent| Ready { host_agent, wanted: self.goal.digest() });
        self.record.save(self.site.layout)
    }

    fn touch(&mut self) -> Result<()> {
        (self.record.last_used, self.record.held) = (now(), false);
        (self.record.idle, self.record.keep_awake) = (self.goal.idle, self.goal.keep_awake);
        self.record.save(self.site.layout)
    }

    /// Whether this run created the machine.
    pub(super) const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whether the base profile has to be installed, and is not there by a box.
    pub(super) fn installs_base(&self) -> bool {
        self.goal.starts_with_base && self.goal.levels.is_empty()
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
