//! A plan as text: the very commands that would run, made by the same functions that make them for real.
//!
//! Enters: a goal and a site. Leaves: lines. Runs one `limactl list` to see where the machine stands, nothing else.

use super::observe::observe;
use super::provision::step_command;
use super::repositories::{clone_command, setup_command};
use super::{Goal, Plan, Site, Step, adopt, plan};
use crate::failure::Result;
use crate::guest::setup_script;
use crate::lima::image::{download_command, local_path};

/// Lists the commands by which `up` would bring the machine to its goal.
pub fn show(site: &Site, goal: Goal, confirm: &dyn Fn(&str) -> Option<bool>) -> Result<String> {
    let (work, observed) = observe(site, goal, confirm)?;
    let goal = &work.goal;
    let Plan(steps) = plan(observed);
    if steps.is_empty() {
        return Ok(format!("# {}: ready, nothing to do", goal.name));
    }
    let mut lines = Vec::new();
    for step in steps {
        let commands = commands(site, goal, &work.road(), step)?;
        if !commands.is_empty() {
            lines.push(format!("# {step}"));
            lines.extend(commands);
        }
    }
    Ok(lines.join("\n"))
}

fn commands(site: &Site, goal: &Goal, road: &crate::ssh::Road, step: Step) -> Result<Vec<String>> {
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
        Step::Create => {
            let key = site.layout.machine(name).join("host_key");
            vec![
                adopt::generate_command(&key, name).to_string(),
                driver.limactl.create(name, &file).to_string(),
            ]
        }
        Step::Repair => vec![driver.limactl.stop_forcibly(name).to_string()],
        Step::Resize => vec![format!("# rewrite `{}`", driver.yaml_path(name).display())],
        Step::Start => vec![driver.limactl.start(name).to_string(), road.open_command().to_string()],
        Step::Connect => vec![road.open_command().to_string()],
        Step::Provision => {
            let described =
                goal.steps.iter().map(|step| format!("{}  # {}", step_command(road, step), step.name));
            std::iter::once("# only the steps that the guest has no stamp of:".to_string())
                .chain(described)
                .collect()
        }
        Step::Repositories => repository_commands(goal, road)?,
        Step::SshHost => vec![format!("# write `{}`", site.layout.ssh_hosts().display())],
        Step::TellResize => vec!["# a new size waits for the next start".to_string()],
    })
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
