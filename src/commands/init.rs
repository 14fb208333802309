//! `machine init`: writes a commented configuration, and lets ssh know our hosts.
//!
//! Enters: where to write. Leaves: projects.toml and provision.toml; files that are there stay as they are.

use std::path::Path;

use crate::commands::doctor;
use crate::config::{guess_profiles, render_repository_starter, render_starter};
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::model::ProjectName;
use crate::ui;
use crate::workspace::{Workspace, add_include, trust_own, usable_origin};

/// Options of `init`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write into the current repository, filled from its git remote and its lock files
    #[arg(long)]
    here: bool,
    /// The project's name, with `--here`; default: the repository's
    #[arg(long, value_name = "NAME", requires = "here")]
    name: Option<String>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Writes the files.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    if args.here {
        write_here(args, context, &workspace)?;
    } else {
        let folder = &workspace.located.user;
        let (projects, provision) = render_starter(None);
        if !context.options.dry_run {
            disk::ensure_private_folder(&folder.dir)?;
        }
        write(context, &folder.projects(), &projects)?;
        write(context, &folder.provision(), &provision)?;
    }
    if context.options.dry_run {
        return Ok(0);
    }
    add_include(context, &context.layout.ssh_config());
    // What it finds is advice here: the files are written.
    doctor::report(context, &workspace.computer);
    Ok(0)
}

fn write_here(args: &Args, context: &Context, workspace: &Workspace) -> Result<()> {
    let outside = || Failure::usage("`--here` needs a git repository, and the current folder is in none");
    let repository = workspace.repository.as_ref().ok_or_else(outside)?;
    let root = &repository.root;
    let origin = usable_origin(context, repository)?.ok_or_else(|| {
        Failure::usage(format!("the repository `{}` has no remote `origin`", root.display()))
            .hint("add one: `git remote add origin git@host:you/name.git`")
    })?;
    let name = args.name.clone().unwrap_or_else(|| origin.default_dir().to_lowercase());
    let name: ProjectName = name.parse().map_err(|cause| {
        Failure::usage(format!("NAME: {cause}")).hint("name it: `machine init --here --name NAME`")
    })?;
    let profiles = guess_profiles(&disk::names_in(root));
    let (_, provision) = render_starter(None);
    let folder = root.join(".machine");
    if !context.options.dry_run {
        std::fs::create_dir_all(&folder)
            .map_err(|cause| Failure::operation(format!("failed to make `{}`: {cause}", folder.display())))?;
    }
    let projects = folder.join("projects.toml");
    let is_ours = write(context, &projects, &render_repository_starter(&name, &origin, &profiles))?;
    write(context, &folder.join("provision.toml"), &provision)?;
    if is_ours && trust_own(context, &projects)? {
        context.ui.say("the project may use your ssh-agent, as that file says; to take it back: `machine trust revoke PATH`");
    }
    Ok(())
}

/// Writes a file that is not there, and says whether it did.
fn write(context: &Context, path: &Path, text: &str) -> Result<bool> {
    if path.exists() {
        context.ui.say(&format!("`{}` is there and stays as it is", path.display()));
        return Ok(false);
    }
    if context.options.dry_run {
        ui::answer(&format!("# would write `{}`:\n{text}", path.display()));
        return Ok(false);
    }
    disk::write_atomic(path, text.as_bytes(), 0o644)?;
    context.ui.say(&format!("wrote `{}`", path.display()));
    Ok(true)
}
