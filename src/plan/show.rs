//! A plan as text: the very commands that would run, made by the same functions that make them for real.
//!
//! Enters: a goal and a site. Leaves: lines. Runs one `limactl list` for each machine to see where it stands, nothing
//! else.

use super::bake::{next_bake, seal_commands};
use super::execute::Work;
use super::observe::observe;
use super::provision::step_command;
use super::repositories::{clone_command, setup_command};
use super::secrets::fill_command;
use super::{Confirm, Goal, Observed, Plan, Presence, Site, Step, adopt, plan};
use crate::boxes::Store;
use crate::failure::Result;
use crate::guest::{clear_secrets_line, setup_script};
use crate::lima::image::{download_command, local_path};

/// Lists the commands by which `up` would bring the machine to its goal.
pub fn show(site: &Site, goal: Goal, confirm: &Confirm) -> Result<String> {
    let name = goal.name.to_string();
    let lines = lines(site, goal, confirm)?;
    Ok(if lines.is_empty() { format!("# {name}: ready, nothing to do") } else { lines.join("\n") })
}

/// Lists the commands by which a machine would be replaced by one of the goal.
pub fn show_rebuild(site: &Site, goal: Goal) -> Result<String> {
    let (limactl, name) = (site.driver().limactl, goal.name.to_string());
    let mut lines = vec![format!("# delete `{name}`, once it is known that no work is lost")];
    lines.extend([limactl.stop(&name).to_string(), limactl.delete(&name).to_string()]);
    let (work, observed) = observe(site, goal, &|_, _| Some(true))?;
    let absent = Observed { presence: Presence::Absent, is_ready: false, ..observed };
    lines.extend(plan_lines(&work, absent)?);
    Ok(lines.join("\n"))
}

fn lines(site: &Site, goal: Goal, confirm: &Confirm) -> Result<Vec<String>> {
    let (work, observed) = observe(site, goal, confirm)?;
    if !matches!(observed.presence, Presence::Absent | Presence::HalfMade) {
        work.goal.refuse_other_isolation(work.record.isolation)?;
    }
    plan_lines(&work, observed)
}

fn plan_lines(work: &Work, observed: Observed) -> Result<Vec<String>> {
    let Plan(steps) = plan(observed);
    let mut lines = Vec::new();
    for step in steps {
        let commands = commands(work, step)?;
        if !commands.is_empty() {
            lines.push(format!("# {step}"));
            lines.extend(commands);
        }
    }
    Ok(lines)
}

/// Lists the commands by which the boxes of a goal would be had.
pub fn show_box(site: &Site, goal: &Goal) -> Result<String> {
    Ok(box_commands(site, goal)?.join("\n"))
}

/// How the box of a goal would be had.
fn box_commands(site: &Site, goal: &Goal) -> Result<Vec<String>> {
    let Some((level, bake)) = next_bake(site, goal) else { return Ok(Vec::new()) };
    let wants_warm = site.warm_boxes && goal.bakes.is_none();
    Ok(match bake {
        None if wants_warm && Store::new(site.layout).is_warm(&level.key) => vec![
            format!("# the box `{}` is cached", level.name),
            "# QEMU goes on from its warm half, if that fits; one connection more makes the machine one of its own"
                .to_string(),
        ],
        None => vec![format!("# the box `{}` is cached", level.name)],
        Some(bake) => {
            let mut built =
                vec![format!("# the box `{}` is built, by the machine `{}`:", level.name, bake.name)];
            built.extend(lines(site, bake, &|_, _| Some(true))?);
            built.push(format!("# the box `{}` is there", level.name));
            if wants_warm {
                built.push("# a machine is booted from it once more, for its warm half".to_string());
            }
            built
        }
    })
}

fn commands(work: &Work, step: Step) -> Result<Vec<String>> {
    let (site, goal, road) = (work.site, &work.goal, &work.road());
    let driver = site.driver();
    let name = goal.name.as_str();
    let file = site.layout.machine(name).join("lima.yaml");
    Ok(match step {
        Step::Discard => vec![driver.limactl.delete(name).to_string()],
        Step::Image => {
            let path = local_path(&goal.image, &site.layout.images(), site.host.os);
            if path.exists() {
                vec![format!("# `{}` is there", path.display())]
            } else {
                vec![download_command(&goal.image, &path.with_extension("part"), &site.proxies).to_string()]
            }
        }
        Step::Box => box_commands(site, goal)?,
        Step::Create => {
            let host_key = site.layout.machine(name).join("host_key");
            let root_key = goal.isolation.is_strict().then(|| site.layout.root_key(name));
            let keys = std::iter::once(host_key).chain(root_key);
            let made = keys.map(|key| adopt::generate_command(&key, name).to_string());
            made.chain([driver.limactl.create(name, &file).to_string()]).collect()
        }
        Step::Repair => vec![driver.limactl.stop_forcibly(name).to_string()],
        Step::Resize => vec![format!("# rewrite `{}`", driver.yaml_path(name).display())],
        Step::Start => vec![driver.limactl.start(name).to_string(), road.open_command().to_string()],
        Step::Wake => vec![
            driver.limactl.start(name).to_string(),
            "# QEMU reads its memory from the disk".to_string(),
            road.open_command().to_string(),
        ],
        Step::Connect => vec![road.open_command().to_string()],
        Step::Provision => provision_commands(goal, road),
        Step::Seal => seal_commands(site, road),
        Step::Capture => vec![
            driver.limactl.stop(name).to_string(),
            format!("# take `{}`", site.layout.instance(name).join("disk").display()),
            driver.limactl.delete(name).to_string(),
        ],
        Step::Secrets if goal.secrets.is_none() => vec![road.exec(&clear_secrets_line()).to_string()],
        Step::Secrets => vec![fill_command(road, &goal.secret_values)?.to_string()],
        Step::Repositories => repository_commands(goal, road)?,
        Step::Ports => port_commands(work),
        Step::SshHost => vec![format!("# write `{}`", site.layout.ssh_hosts().display())],
        Step::TellResize => vec!["# a new size waits for the next start".to_string()],
    })
}

fn port_commands(work: &Work) -> Vec<String> {
    let (goal, road) = (&work.goal, &work.road());
    let gone = work.record.ports.iter().filter(|port| !goal.ports.contains(port));
    let mut lines: Vec<String> =
        gone.map(|port| road.cancel_command(&road.holder(), *port).to_string()).collect();
    if !goal.ports.is_empty() {
        lines.push("# Lima holds them from its start on; only those that it does not:".to_string());
        lines.push(road.hold_command().to_string());
        lines.extend(goal.ports.iter().map(|port| road.forward_command(*port).to_string()));
    }
    lines
}

fn provision_commands(goal: &Goal, road: &crate::ssh::Road) -> Vec<String> {
    let described = goal.steps.iter().map(|step| format!("{}  # {}", step_command(road, step), step.name));
    std::iter::once("# only the steps that the guest has no stamp of:".to_string()).chain(described).collect()
}

fn repository_commands(goal: &Goal, road: &crate::ssh::Road) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (index, repo) in goal.repos.iter().enumerate() {
        let clone = clone_command(road, repo, goal.forward_agent)?;
        lines.push(format!("{clone}  # git clone {}, unless it is there", repo.url));
        if let Some(script) = setup_script(repo, index == 0, &goal.setup) {
            lines.push(format!("{}  # setup of {}", setup_command(road, script)?, repo.dir));
        }
    }
    Ok(lines)
}
