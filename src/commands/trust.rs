//! `machine trust`: what repositories' files may have beyond their own machines: granted, listed, taken back.
//!
//! Enters: a path, or nothing. Leaves: an answer that is remembered, a table, or JSON.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::record::{TrustStore, Trusted};
use crate::ui;
use crate::ui::render_table;
use crate::workspace::{questions_at, revoke};

/// Options of `trust`.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
With PATH: shows what that repository's projects.toml asks for beyond its own machine, asks, and remembers a yes for as \
long as the file says the same at the same place. Without a terminal the command itself is the yes; `--yes` is none. \
Without anything: as `trust list`."
)]
pub struct Args {
    /// A repository's projects.toml, or a folder of the repository
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    path: Option<PathBuf>,
    /// Print what would be trusted, and trust nothing
    #[arg(long, requires = "path")]
    dry_run: bool,
    /// Without anything else: print a JSON array
    #[arg(long, conflicts_with = "path")]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

/// What else there is to do.
#[derive(clap::Subcommand, Debug)]
enum Action {
    /// List what is trusted, and whether it still says what it said
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Take trust back: the agent is not lent any more, and the next `up` asks
    Revoke {
        /// A projects.toml, or a folder: everything in it
        #[arg(value_name = "PATH", required_unless_present = "all", value_hint = clap::ValueHint::AnyPath)]
        path: Option<PathBuf>,
        /// Everything
        #[arg(long, conflicts_with = "path")]
        all: bool,
        /// Print what would be taken back, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

impl Args {
    /// `--json` and `--dry-run`.
    pub fn answers(&self) -> (bool, bool) {
        match self.action {
            Some(Action::List { json }) => (json, false),
            Some(Action::Revoke { dry_run, .. }) => (false, dry_run),
            None => (self.json, self.dry_run),
        }
    }
}

/// Grants, lists or revokes.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    match (&args.action, &args.path) {
        (Some(Action::Revoke { path, .. }), _) => take_back(context, path.as_deref()),
        (None, Some(path)) => grant(context, path),
        _ => list(context),
    }
}

fn grant(context: &Context, path: &Path) -> Result<u8> {
    let questions = questions_at(context, path)?;
    let store = TrustStore::load(&context.layout)?;
    let is_new = |asked: &Trusted| !store.trusted.iter().any(|given| given.answers(asked));
    let open: Vec<_> = questions.iter().filter(|question| is_new(&question.asked)).collect();
    if open.is_empty() {
        let why =
            if questions.is_empty() { "asks for nothing that needs trust" } else { "is trusted already" };
        context.ui.say(&format!("`{}` {why}", path.display()));
        return Ok(0);
    }
    let text = open.iter().map(|question| question.describe(&store)).collect::<Vec<_>>().join("\n");
    if context.options.dry_run {
        ui::answer(&text);
        return Ok(0);
    }
    match context
        .ui
        .confirm(&format!("{text}\nAllow it, for as long as these files stay as they are?"), false)
    {
        Some(true) => {}
        Some(false) => return Err(Failure::new(Kind::NotTrusted, "nothing was allowed")),
        None => context.ui.say(&text),
    }
    TrustStore::grant(&context.layout, open.iter().map(|question| question.asked.clone()).collect())?;
    context.ui.say("allowed; to take it back: `machine trust revoke PATH`");
    Ok(0)
}

fn list(context: &Context) -> Result<u8> {
    let trusted = TrustStore::load(&context.layout)?.trusted;
    let rows: Vec<(&Trusted, &str)> = trusted.iter().map(|one| (one, state(context, one))).collect();
    if context.options.json {
        ui::answer_json(&Value::Array(rows.iter().map(|(one, state)| to_json(one, state)).collect()));
    } else if rows.is_empty() {
        context.ui.say("no repository's file is trusted with more than its own machine");
    } else {
        let mut table =
            vec![["PROJECT", "REPOSITORY", "ASKS FOR", "STATE", "FILE"].map(String::from).to_vec()];
        table.extend(rows.iter().map(|(one, state)| {
            let keys = one.keys.iter().cloned().collect::<Vec<_>>().join(", ");
            let file = one.file.display().to_string();
            vec![one.project.clone(), one.repository.clone(), keys, (*state).to_owned(), file]
        }));
        ui::answer(&render_table(&table));
    }
    Ok(0)
}

/// Whether the file still is what the answer was given for.
fn state(context: &Context, one: &Trusted) -> &'static str {
    if !one.file.exists() {
        return "gone";
    }
    match questions_at(context, &one.file) {
        Ok(questions) if questions.iter().any(|question| one.answers(&question.asked)) => "trusted",
        Ok(_) => "changed",
        Err(_) => "unreadable",
    }
}

fn to_json(one: &Trusted, state: &str) -> Value {
    json!({
        "project": one.project,
        "repository": one.repository,
        "file": one.file,
        "keys": one.keys,
        "sha256": one.sha256,
        "since": one.since,
        "state": state,
    })
}

fn take_back(context: &Context, path: Option<&Path>) -> Result<u8> {
    let trusted = TrustStore::load(&context.layout)?.trusted;
    let place = path.map(|path| {
        let given = context.cwd.join(path);
        given.canonicalize().unwrap_or(given)
    });
    let is_there = |one: &Trusted| place.as_ref().is_none_or(|place| one.file.starts_with(place));
    let goes: Vec<Trusted> = trusted.into_iter().filter(is_there).collect();
    if goes.is_empty() {
        return Err(Failure::operation("nothing is trusted there").hint("see what is: `machine trust list`"));
    }
    if !context.options.dry_run {
        revoke(context, &goes)?;
    }
    for one in &goes {
        ui::answer(&format!("{}  {}", one.project, one.file.display()));
    }
    if !context.options.dry_run {
        context.ui.say("no longer trusted: its machines are lent no key, and what of your secrets they had is taken from them");
    }
    Ok(0)
}
