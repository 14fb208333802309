//! `machine box`: the cache of boxes seen, filled, emptied, carried to another computer.
//!
//! Enters: boxes or projects. Leaves: the cache changed as asked. Machines made from a box have copies: none is touched.

use std::path::PathBuf;

use clap::Subcommand;

use crate::boxes::{Archive, CachedBox, Store, pack_command, save};
use crate::commands::{project_completer, waiting};
use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::model::{ByteSize, MaxAge, Project, Refused};
use crate::plan::{BoxUse, Reporter, prepare_box, show_box};
use crate::record::ProjectLock;
use crate::ui;
use crate::workspace::{Workspace, box_table, find_box, goal_of, prune_boxes, site};

/// Options of `box`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the cached boxes; with -v also what is installed in each
    List(ListArgs),
    /// Build the box of a project's stack ahead of its machine, and keep it warm for machines of its size
    Bake(BakeArgs),
    /// Remove boxes that were not used for long, damaged ones, and builds that were cut off
    Prune(PruneArgs),
    /// Write a box into a folder that can be carried to another computer
    Save(SaveArgs),
    /// Put a saved box into the cache, after showing what it is
    Load(LoadArgs),
}

#[derive(clap::Args, Debug)]
struct ListArgs {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Options of `bake`.
#[derive(clap::Args, Debug)]
pub struct BakeArgs {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Build it anew although it is cached, with the newest packages
    #[arg(long)]
    refresh: bool,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct PruneArgs {
    /// Remove boxes that no machine was made from for this long, such as `30d`
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = days)]
    unused_for: u64,
    /// Remove every box
    #[arg(long, conflicts_with = "unused_for")]
    all: bool,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct SaveArgs {
    /// The folder, empty or to be made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The box of this project's stack; default: the current repository's project, or the only one
    #[arg(long, value_name = "PROJECT", conflicts_with = "key", add = project_completer())]
    project: Option<String>,
    /// The box whose key begins like this
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct LoadArgs {
    /// The folder that `box save` wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Load it without a question if this is its digest, as `box save` printed it
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
    /// Print what would be loaded, and load nothing
    #[arg(long)]
    dry_run: bool,
}

/// As of `machine prune --older-than`; a number alone is days, too.
fn days(text: &str) -> std::result::Result<u64, Refused> {
    match text.parse() {
        Ok(days) => Ok(days),
        Err(_) => text.parse::<MaxAge>().map(MaxAge::days),
    }
}

impl Args {
    /// Whether `--json` and `--dry-run` were given.
    pub const fn answers(&self) -> (bool, bool) {
        match &self.verb {
            Verb::List(args) => (args.json, false),
            Verb::Bake(args) => (false, args.dry_run),
            Verb::Prune(args) => (false, args.dry_run),
            Verb::Save(args) => (false, args.dry_run),
            Verb::Load(args) => (false, args.dry_run),
        }
    }
}

/// Runs the verb.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    match &args.verb {
        Verb::List(args) => {
            list(args, context);
            Ok(0)
        }
        Verb::Bake(args) => bake(args, context),
        Verb::Prune(args) => prune(args, context),
        Verb::Save(args) => save_box(args, context),
        Verb::Load(args) => load(args, context),
    }
}

fn list(args: &ListArgs, context: &Context) {
    let table = box_table(context);
    if args.json {
        ui::answer_json(&table.to_json());
    } else if table.is_empty() {
        context.ui.say("no boxes yet; `machine up` builds them, and `machine box bake`");
    } else {
        ui::answer(&table.render(context.options.loudness == ui::Loudness::Verbose));
    }
}

fn project(context: &Context, workspace: &Workspace, name: Option<&str>) -> Result<Project> {
    workspace.choose(context, name)
}

/// Builds a project's box; also `machine bake`.
pub fn bake(args: &BakeArgs, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let project = project(context, &workspace, args.project.as_deref())?;
    let say = |text: &str| context.ui.say(text);
    let site = site(context, &workspace.computer, &say);
    let box_use = if args.refresh { BoxUse::Refreshed } else { BoxUse::Cached };
    let mut goal = goal_of(context, &workspace, &project, box_use)?;
    goal.again = format!("machine box bake {}", project.name);
    if args.dry_run {
        ui::answer(&show_box(&site, &goal)?);
        return Ok(0);
    }
    site.driver().check_version(site.accept_unknown_lima)?;
    prepare_box(&site, &goal, &mut Reporter::new(&context.ui))?;
    Ok(0)
}

fn prune(args: &PruneArgs, context: &Context) -> Result<u8> {
    let unused_for_days = if args.all { None } else { Some(args.unused_for) };
    let pruned = prune_boxes(context, unused_for_days, args.dry_run)?;
    let say = |text: &str| if args.dry_run { ui::answer(text) } else { context.ui.say(text) };
    for line in &pruned.lines {
        say(line);
    }
    let freed = ByteSize::from_bytes(pruned.freed_bytes).human();
    let said = match (pruned.lines.is_empty(), args.dry_run) {
        (true, _) => "nothing to remove".to_string(),
        (false, true) => format!("{freed} would be free"),
        (false, false) => format!("{freed} are free"),
    };
    say(&said);
    Ok(0)
}

fn save_box(args: &SaveArgs, context: &Context) -> Result<u8> {
    let cached = match &args.key {
        Some(key) => find_box(context, key)?,
        None => box_of_project(context, args.project.as_deref())?,
    };
    if cached.manifest.has_ca_certs {
        return Err(Failure::usage(format!("the box `{}` trusts the `ca_certs` of this computer", cached.manifest.name))
            .hint("on a network without them, leave `ca_certs` out of config.toml and build it anew: `machine box bake`"));
    }
    let folder = context.cwd.join(&args.folder);
    if args.dry_run {
        ui::answer(&pack_command(&cached.folder.join("disk"), &folder.join("disk.zst")).to_string());
        return Ok(0);
    }
    let _lock = ProjectLock::shared(
        &context.layout,
        &cached.manifest.machine(),
        &waiting(context, &|text| context.ui.say(text)),
    )?;
    let phase = context.ui.phase("save");
    phase.now("packing its disk");
    let digest = save(&cached, &folder, &context.runner)?;
    phase.done(&format!("{} → {}", cached.manifest.name, folder.display()));
    ui::answer(&format!("sha256:{digest}"));
    Ok(0)
}

fn box_of_project(context: &Context, name: Option<&str>) -> Result<CachedBox> {
    let workspace = Workspace::load(context)?;
    let project = project(context, &workspace, name)?;
    let goal = goal_of(context, &workspace, &project, BoxUse::Cached)?;
    let key = goal.levels.last().map(|level| level.key.clone()).unwrap_or_default();
    find_box(context, &key).map_err(|failure| {
        let name = &project.name;
        Failure { hints: vec![format!("build it: `machine box bake {name}`")], ..failure }
    })
}

fn load(args: &LoadArgs, context: &Context) -> Result<u8> {
    let folder = context.cwd.join(&args.folder);
    let phase = context.ui.phase("check");
    phase.now("comparing it with its checksums");
    let archive = Archive::open(&folder)?;
    drop(phase);
    let described = describe(&archive);
    if args.dry_run {
        ui::answer(&described);
        return Ok(0);
    }
    if args.digest.is_some() {
        context.ui.say(&described);
    } else {
        // It is what the question is about.
        context.ui.show(&described);
    }
    agree(args, context, &archive)?;
    let (store, manifest) = (Store::new(&context.layout), &archive.manifest);
    let say = |text: &str| context.ui.say(text);
    let _lock =
        ProjectLock::exclusive(&context.layout, &manifest.machine(), "box load", &waiting(context, &say))?;
    let phase = context.ui.phase("load");
    phase.now("unpacking its disk");
    archive.load(&store, &context.runner)?;
    phase.done(&manifest.name);
    Ok(0)
}

/// What a box says of itself, and last, right above the question, what nobody can forge.
fn describe(archive: &Archive) -> String {
    let manifest = &archive.manifest;
    let packages = archive.packages.lines().count();
    format!(
        "{}  {} · {} · {packages} packages · disk {}\nkey     {}\nsteps   {}\ndigest  sha256:{}",
        manifest.name,
        manifest.image,
        manifest.arch,
        ByteSize::from_bytes(manifest.disk.bytes).human(),
        manifest.key,
        manifest.steps.join("\n        "),
        archive.digest
    )
}

/// Whoever made a box is root in every machine made from it.
fn agree(args: &LoadArgs, context: &Context, archive: &Archive) -> Result<()> {
    if let Some(expected) = &args.digest {
        if expected.strip_prefix("sha256:").unwrap_or(expected) == archive.digest {
            return Ok(());
        }
        let sentence = format!("its digest is sha256:{}, not `{expected}`", archive.digest);
        return Err(Failure::new(Kind::NotTrusted, sentence));
    }
    let question =
        "Whoever made it can do anything in machines made from it. Is that the digest you were told?";
    match context.ui.confirm(question, false) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::operation("nothing was loaded")),
        None => {
            Err(Failure::new(Kind::NotTrusted, "nobody can be asked here whether this box is to be trusted")
                .hint(format!(
                    "if its digest is the one you were told: `machine box load {} --digest sha256:…`",
                    args.folder.display()
                )))
        }
    }
}
