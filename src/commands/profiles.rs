//! `machine profiles`: lists the profiles that projects can name, and writes new ones.
//!
//! Enters: nothing, or a name. Leaves: a table or JSON; a folder with the files of a profile.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::commands::profile_completer;
use crate::config::{
    ConfigFolder, ListedProfile, files_to_copy, folder_for_new, list_profiles, render_profile_starter,
};
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::model::ProfileName;
use crate::ui;
use crate::ui::render_table;
use crate::workspace::locate_from;

/// Options of `profiles`.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Args {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Write a commented profile, or a copy of one, into `profiles` beside your provision.toml
    New(New),
}

#[derive(clap::Args, Debug)]
struct New {
    /// Its name: lower-case letters, digits and `-`; not that of a bundled one
    #[arg(value_name = "NAME")]
    name: String,
    /// Copy this profile with all its files
    #[arg(long, value_name = "PROFILE", add = profile_completer())]
    from: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Whether the answer is to be JSON.
    pub fn json(&self) -> bool {
        self.json || matches!(&self.action, Some(Action::New(new)) if new.json)
    }

    /// Whether nothing is to be written.
    pub fn dry_run(&self) -> bool {
        matches!(&self.action, Some(Action::New(new)) if new.dry_run)
    }
}

/// Lists, or writes.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let located = locate_from(context)?;
    let folders: Vec<&ConfigFolder> = located.repository.iter().chain([&located.user]).collect();
    match &args.action {
        None => list(args.json, context, &folders),
        Some(Action::New(new)) => write_new(new, context, &located.user, &folders)?,
    }
    Ok(0)
}

fn list(json: bool, context: &Context, folders: &[&ConfigFolder]) {
    let profiles = list_profiles(folders);
    if json {
        ui::answer_json(&Value::Array(profiles.iter().map(to_json).collect()));
        return;
    }
    let mut rows = vec![["PROFILE", "FROM", "DESCRIPTION"].map(String::from).to_vec()];
    rows.extend(profiles.iter().map(|listed| {
        let from = listed.dir.as_ref().and_then(|dir| dir.parent());
        let from = from.map_or_else(|| "bundled".into(), |dir| dir.display().to_string());
        let description = listed.profile.as_ref().map_or("cannot be used", |found| &found.description);
        vec![listed.name.clone(), from, description.to_string()]
    }));
    ui::answer(&render_table(&rows));
    for (listed, problem) in profiles.iter().filter_map(|listed| Some((listed, problem(listed)?))) {
        context.ui.say(&format!("{}: {problem}", listed.name));
    }
}

/// What is wrong with a profile, in the first line of its report.
fn problem(listed: &ListedProfile) -> Option<String> {
    let failure = listed.profile.as_ref().err()?;
    let rendered = failure.rendered.as_deref().and_then(|text| text.lines().next());
    let line = rendered.map_or_else(|| failure.error.to_string(), str::to_owned);
    Some(line.trim_start_matches("error: ").to_owned())
}

fn to_json(listed: &ListedProfile) -> Value {
    let profile = listed.profile.as_ref().ok();
    let requires =
        profile.map(|profile| profile.requires.iter().map(ProfileName::as_str).collect::<Vec<_>>());
    json!({
        "profile": listed.name,
        "bundled": listed.dir.is_none(),
        "folder": listed.dir.as_ref().map(|dir| dir.display().to_string()),
        "description": profile.map(|profile| profile.description.as_str()),
        "requires": requires,
        "problem": problem(listed),
    })
}

fn write_new(new: &New, context: &Context, user: &ConfigFolder, folders: &[&ConfigFolder]) -> Result<()> {
    let name = parse(&new.name, "NAME", "choose another name: `machine profiles new NAME`")?;
    let dir = folder_for_new(&name, user)?;
    let files = match &new.from {
        Some(from) => {
            files_to_copy(&parse(from, "--from", "see which there are: `machine profiles`")?, folders)?
        }
        None => [("profile.toml".to_owned(), render_profile_starter(&name).into_bytes())].into(),
    };
    if context.options.dry_run {
        for (file, bytes) in &files {
            show(&dir.join(file), bytes);
        }
        return Ok(());
    }
    make_parents(user)?;
    disk::create_folder(
        &dir,
        files.iter().map(|(file, bytes)| (file.as_str(), bytes.as_slice(), mode(bytes))),
    )?;
    answer(new, context, &name, &dir, &files);
    let projects = user.projects();
    context.ui.say(&format!("its projects name it in `{}`: `profiles = [\"{name}\"]`", projects.display()));
    Ok(())
}

fn answer(new: &New, context: &Context, name: &ProfileName, dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for file in files.keys() {
        context.ui.say(&format!("wrote `{}`", dir.join(file).display()));
    }
    if new.json {
        let files: Vec<&String> = files.keys().collect();
        ui::answer_json(
            &json!({ "profile": name.as_str(), "folder": dir.display().to_string(), "files": files }),
        );
    }
}

fn parse(text: &str, what: &str, hint: &str) -> Result<ProfileName> {
    text.parse().map_err(|cause| Failure::usage(format!("{what}: {cause}")).hint(hint))
}

/// The user's folder is private; what is in it may be looked at, whatever the umask is.
fn make_parents(user: &ConfigFolder) -> Result<()> {
    if !user.dir.exists() {
        disk::ensure_private_folder(&user.dir)?;
    }
    if !user.profiles_dir().exists() {
        disk::create_folder(&user.profiles_dir(), [])?;
    }
    Ok(())
}

/// A script can be run where it lies.
fn mode(bytes: &[u8]) -> u32 {
    if bytes.starts_with(b"#!") { 0o755 } else { 0o644 }
}

fn show(path: &Path, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ui::answer(&format!("# would write `{}`:\n{text}", path.display())),
        Err(_) => ui::answer(&format!("# would write `{}`: {} bytes\n", path.display(), bytes.len())),
    }
}
