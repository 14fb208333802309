//! The first command a newcomer types works: a project is written down when there is none.
//!
//! Enters: a name or an address. Leaves: a table in the user's projects.toml. Says what it wrote, and where.

use std::path::Path;

use super::git::usable_origin;
use super::select::Workspace;
use crate::config::{ConfigFolder, add_project, guess_profiles, load_catalog, render_starter};
use crate::context::Context;
use crate::disk;
use crate::failure::{Context as _, Failure, Result};
use crate::model::{Caps, ProfileName, Project, ProjectName, RepoUrl};
use crate::record::take_turn_to_edit;
use crate::ssh::ensure_include;
use crate::ui;

/// The project of an address: the one that has it already, else a new one named after it.
///
/// # Errors
/// When the address cannot be read, or its name is taken by another project.
pub fn project_from_url(context: &Context, workspace: &Workspace, text: &str) -> Result<Project> {
    let url: RepoUrl = text.parse().map_err(|cause| Failure::usage(format!("PROJECT: {cause}")))?;
    // What a repository's file lists makes its projects nobody else's.
    let same = |project: &&Project| {
        let own = match &project.repository {
            Some(repository) => repository.origin.as_ref(),
            None => project.repos.first().map(|repo| &repo.url),
        };
        own.is_some_and(|own| own.normalised() == url.normalised())
    };
    if let Some(project) = workspace.catalog.projects.values().find(same) {
        return Ok(project.clone());
    }
    let name = name_for(&url)?;
    if workspace.catalog.get(&name).is_some() {
        return Err(Failure::usage(format!("`{name}` would be its name, but another project has that"))
            .hint("write it into projects.toml yourself, under another name"));
    }
    register(context, workspace, &name, &[url], &[])
}

/// What `up` does for a name, or none, that no file describes; `None` when there is nothing to go by.
///
/// # Errors
/// When nobody can be asked, the answer is no, or the repository's remote is none that could be cloned: a project without
/// it would be another one than the one that was meant.
pub fn first_project(
    context: &Context,
    workspace: &Workspace,
    name: Option<&str>,
) -> Result<Option<Project>> {
    let given = name
        .map(|name| name.parse::<ProjectName>().map_err(|cause| Failure::usage(format!("PROJECT: {cause}"))));
    let given = given.transpose()?;
    if let Some(repository) = &workspace.repository
        && let Some(origin) = &usable_origin(context, repository)?
    {
        let name = given.map_or_else(|| name_for(origin), Ok)?;
        let profiles = guess_profiles(&disk::names_in(&repository.root));
        let stack: Vec<String> = profiles.iter().map(|profile| format!(" with profile {profile}")).collect();
        let stack = stack.concat();
        let file = workspace.located.user.projects();
        let question =
            format!("Register {} as project `{name}`{stack} in `{}`?", origin.short(), file.display());
        let answer = if context.options.dry_run { Some(true) } else { context.ui.confirm(&question, true) };
        return match answer {
            Some(true) => {
                register(context, workspace, &name, std::slice::from_ref(origin), &profiles).map(Some)
            }
            Some(false) => Err(Failure::usage("nothing was registered")
                .hint("`machine init --here` writes a file into the repository instead")),
            None => Err(Failure::usage(format!("no project describes this repository, {}", origin.short()))
                .hint(format!("register it: `machine up {name} --yes`"))),
        };
    }
    match given {
        Some(name) if workspace.has_no_project() => register(context, workspace, &name, &[], &[]).map(Some),
        _ => Ok(None),
    }
}

/// A project's name from a repository's: lower case, with hyphens for what a name cannot hold.
fn name_for(url: &RepoUrl) -> Result<ProjectName> {
    let mapped: String = url
        .default_dir()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let name: String =
        mapped.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(30).collect();
    name.trim_end_matches('-').parse().map_err(|cause| {
        Failure::usage(format!("no project name can be made of `{url}`: {cause}"))
            .hint("name it: `machine up NAME`, in its clone")
    })
}

/// Writes a project down, or shows with `--dry-run` what it would write, and reads it back.
fn register(
    context: &Context,
    workspace: &Workspace,
    name: &ProjectName,
    repos: &[RepoUrl],
    profiles: &[ProfileName],
) -> Result<Project> {
    let folder = &workspace.located.user;
    let file = folder.projects();
    let _turn = if context.options.dry_run { None } else { Some(take_turn_to_edit(&context.layout)?) };
    let present = disk::read_text_if_there(&file)?;
    let is_new = present.is_none();
    let is_bare = repos.is_empty() && profiles.is_empty();
    let (starter, provision) = render_starter(Some(name).filter(|_| is_bare));
    let text = match present {
        None if is_bare => starter,
        None => add_project(&starter, name, repos, profiles)?,
        Some(text) => add_project(&text, name, repos, profiles)?,
    };
    if context.options.dry_run {
        ui::answer(&format!("# write project `{name}` to `{}`", file.display()));
        return preview(context, &file, name, &text);
    }
    disk::ensure_private_folder(&folder.dir)?;
    disk::write_atomic(&file, text.as_bytes(), 0o600)?;
    if is_new && !folder.provision().exists() {
        disk::write_atomic(&folder.provision(), provision.as_bytes(), 0o600)?;
    }
    let what = repos.first().map_or_else(|| "an empty project".to_string(), RepoUrl::short);
    context.ui.say(&format!("wrote project `{name}` ({what}) to `{}`", file.display()));
    read_back(context, folder, name)
}

/// The project as it would be read from `file`, which is not written.
fn preview(context: &Context, file: &Path, name: &ProjectName, text: &str) -> Result<Project> {
    let scratch = tempfile::tempdir().because(|| "failed to make a temporary folder")?;
    let folder = ConfigFolder { dir: scratch.path().to_owned(), in_repository: false };
    disk::write_atomic(&folder.projects(), text.as_bytes(), 0o600)?;
    Ok(Project { file: file.to_owned(), ..read_back(context, &folder, name)? })
}

fn read_back(context: &Context, folder: &ConfigFolder, name: &ProjectName) -> Result<Project> {
    let catalog = load_catalog(folder, None, &context.host, Caps::default())?;
    let found = catalog.get(name).cloned();
    found.ok_or_else(|| Failure::operation(format!("`{name}` is not in `{}`", folder.projects().display())))
}

/// Lets ssh know our hosts; only warns where the user's file cannot be changed.
pub fn add_include(context: &Context, config: &Path) {
    match ensure_include(config) {
        Ok(true) => {
            context.ui.say(&format!("added `Include config.d/machine` at the top of `{}`", config.display()));
        }
        Ok(false) => {}
        Err(failure) => ui::warn(&format!("{:#}; {}", failure.error, failure.hints.join("; "))),
    }
}
