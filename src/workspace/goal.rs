//! From a project of the configuration to the goal of a plan.
//!
//! Enters: a project and its surroundings. Leaves: a `Goal`; what takes time is looked up only when there is something
//! to do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::doors::{self, Addresses};
use super::select::Workspace;
use super::trust::load_stack;
use super::{git, remote, secrets};

use crate::boxes::{Foundation, Level, disk_class};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::guest::{GitLogins, SecretValues, Stack, Step, Wanted, list_steps};
use crate::lima::image::{built_in, identity as image_identity};
use crate::model::{
    Arch, Computer, GitHost, GitIdentity, Image, ImageName, ImageSource, Openings, Profile, Project, Proxy,
};
use crate::plan::{BoxUse, Goal};
use crate::record::MachineRecord;
use crate::ui;

/// What was found out about the computer's surroundings, now or the last time.
pub struct LookedUp {
    /// How git hosts are reached.
    pub git_hosts: Vec<GitHost>,
    /// What the names in `allow` are.
    pub addresses: Addresses,
}

fn env_of(project: &Project) -> BTreeMap<String, String> {
    project.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

/// The goal of a project, as far as it can be known without asking ssh: git hosts are those of the last time.
pub fn build_goal(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    looked_up: LookedUp,
    box_use: BoxUse,
) -> Result<Goal> {
    secrets::check_token(&file_of_secrets(workspace, project), project.name.as_str(), &project.secrets)?;
    let LookedUp { git_hosts, addresses } = looked_up;
    let (provision, profiles) = load_stack(context, project)?;
    let image = project.image.clone().or(provision.image).unwrap_or(Image::Named(ImageName::Debian13));
    let identity = git::identity(context, &workspace.computer.git)?;
    let ca_certs = &workspace.computer.ca_certs;
    let isolation = project.isolation;
    let stack = Stack { profiles: &profiles, ca_certs, arch: context.host.arch, isolation };
    let access = doors::access_of(project, &workspace.computer);
    let openings = doors::open(&access, &addresses);
    let proxy = workspace.computer.proxy.as_ref();
    let steps = steps(project, stack, &identity, &git_hosts, (&openings, proxy));
    let source = image_source(&image, &workspace.computer, context.host.arch)?;
    let box_disk = disk_class(project.disk);
    let foundation = Foundation { image: image_identity(&source), arch: context.host.arch, disk: box_disk };
    Ok(Goal {
        name: project.name.clone(),
        config_file: project.file.clone(),
        repository: project.repository.clone(),
        cpus: project.cpus,
        memory: project.memory,
        disk: project.disk,
        headline: headline(project, &profiles, &image),
        image: source,
        image_name: image_name(&image),
        levels: if box_use == BoxUse::Without { Vec::new() } else { Level::all(&stack, &foundation) },
        bakes: None,
        box_use,
        box_disk,
        has_ca_certs: !ca_certs.is_empty(),
        layers: stack.layers(),
        env: env_of(project),
        steps,
        starts_with_base: !provision.without_base,
        again: format!("machine up {}", project.name),
        repos: project.repos.clone(),
        git_hosts,
        setup: project.setup.clone(),
        ports: project.ports.clone(),
        forward_agent: project.forward_agent,
        isolation,
        access: access.to_string(),
        openings,
        proxy: proxy.cloned(),
        addresses,
        signing_key: identity.signing_key,
        secrets: secrets::digest(&project.secrets),
        secret_values: SecretValues::default(),
        idle: project.idle,
        keep_awake: project.keep_awake,
    })
}

/// A repository's file names no secrets; those of its projects are in the user's own.
fn file_of_secrets(workspace: &Workspace, project: &Project) -> PathBuf {
    match project.repository {
        Some(_) => workspace.located.user.projects(),
        None => project.file.clone(),
    }
}

/// The steps of its machine.
fn steps(
    project: &Project,
    stack: Stack,
    identity: &GitIdentity,
    git_hosts: &[GitHost],
    (openings, proxy): (&Openings, Option<&Proxy>),
) -> Vec<Step> {
    list_steps(&Wanted {
        stack,
        env: env_of(project),
        shell: project.shell,
        identity,
        git_logins: GitLogins::of(project.secrets.git.as_ref(), &project.repos),
        git_hosts,
        needs_git: !project.repos.is_empty(),
        openings: Some(openings),
        proxy,
        allow: &project.access.allow,
    })
}

/// Completes a goal once there is something to do: its secrets, how git hosts are reached, whether repositories can be
/// had.
///
/// Repositories of an existing machine are looked at only when the goal is not the one it was last brought to.
///
/// # Errors
/// When a source gives no secret, a repository refuses us, or a host's key is unknown. Nothing has been started then.
pub fn complete_goal(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    mut goal: Goal,
    record: Option<&MachineRecord>,
) -> Result<Goal> {
    let read = secrets::read_values(context, &project.name, &project.secrets);
    let again = format!("nothing was started; once it is mended: `{}`", goal.again);
    goal.secret_values = read.map_err(|failure| failure.hint(again))?;
    if goal.repos.is_empty() {
        return Ok(goal);
    }
    let unchanged =
        record.and_then(|record| record.ready.as_ref()).is_some_and(|ready| ready.wanted == goal.digest());
    if unchanged {
        return Ok(goal);
    }
    let folder = context.layout.state.clone();
    let log_in = project.secrets.git.as_ref().and_then(|git| {
        let (token, _) = goal.secret_values.values.get(&git.secret)?;
        Some(remote::LogIn { username: &git.username, token })
    });
    for repo in &goal.repos {
        remote::check(context, repo, log_in, &folder, &|text| ui::warn(text))?;
    }
    let git_hosts = remote::git_hosts(context, &goal.repos)?;
    let looked_up = LookedUp { git_hosts, addresses: goal.addresses };
    let completed = build_goal(context, workspace, project, looked_up, goal.box_use)?;
    Ok(Goal { secret_values: goal.secret_values, ..completed })
}

pub(super) fn headline(project: &Project, profiles: &[Profile], image: &Image) -> String {
    let image = image_name(image);
    let names: Vec<String> =
        profiles.iter().filter_map(|profile| profile.name.as_ref().map(ToString::to_string)).collect();
    let stack = if names.is_empty() { "no profiles".to_string() } else { names.join(" + ") };
    let cpus = if project.cpus == 1 { "1 cpu".to_string() } else { format!("{} cpus", project.cpus) };
    format!("{image} · {stack} · {cpus} · {}", project.memory.human())
}

fn image_name(image: &Image) -> String {
    match image {
        Image::Named(name) => name.to_string(),
        Image::Custom(_) => "own image".into(),
    }
}

fn image_source(image: &Image, computer: &Computer, arch: Arch) -> Result<ImageSource> {
    match image {
        Image::Named(name) => {
            computer.images.get(&(*name, arch)).cloned().or_else(|| built_in(*name, arch)).ok_or_else(|| {
                Failure::usage(format!("the image `{name}` is not known for {}", arch.debian()))
            })
        }
        Image::Custom(sources) => sources.get(&arch).cloned().ok_or_else(|| {
            Failure::usage(format!(
                "the image table has no entry for {}, which this computer is",
                arch.debian()
            ))
            .hint(format!("add `{}.location` and `{}.digest`", arch.debian(), arch.debian()))
        }),
    }
}
