//! `machine secrets`: fills the guest's `/run/secrets`, empties it, or says what is in it.
//!
//! Enters: a project. Leaves: values in the guest's memory; names and ages on stdout, never a value.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::lima::Status;
use crate::model::{EnvName, Secrets};
use crate::plan::{Site, clear_secrets, secret_status};
use crate::record::MachineRecord;
use crate::ui;
use crate::ui::render_table;
use crate::workspace::{
    Workspace, check_token, count_secrets, find_record, reach_running, refill, require_trust_of,
    secrets_file, secrets_of, site,
};

/// Options of `secrets`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Sources are in the table `secrets` of a project in your own projects.toml. Values go from them into the memory of the \
guest, one file each in /run/secrets, and are gone when the machine stops. `up`, `ssh` and `run` fill them again; this \
command reads every source anew. Whoever is the guest's user can read them.")]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Remove all of them from the guest
    #[arg(long, conflicts_with = "status")]
    clear: bool,
    /// List names, sources, and since when the guest has them; never values
    #[arg(long)]
    status: bool,
    /// Print what would be read and written, and do nothing
    #[arg(long, conflicts_with = "status")]
    pub dry_run: bool,
    /// With `--status`: print a JSON array
    #[arg(long, requires = "status")]
    pub json: bool,
}

/// Fills, clears or lists.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = find_record(context, args.project.as_deref())?;
    let secrets = secrets_of(context, &record)?;
    check_token(&secrets_file(context, &record)?, &record.name, &secrets)?;
    if args.status {
        return status(args, context, record, &secrets);
    }
    if !args.clear && secrets.wanted.is_empty() {
        let name = &record.name;
        return Err(Failure::usage(format!("the project `{name}` has no secrets")).hint(format!(
            "name some in your projects.toml, below `[{name}.secrets]`: `NAME = \"op://…\"`"
        )));
    }
    if !args.clear {
        require_trust_of(context, &record)?;
    }
    if args.dry_run {
        return show(args, context, &record, &secrets);
    }
    let name = record.name.clone();
    let done = reach_running(context, record, "secrets", &|site, record| {
        if args.clear {
            clear_secrets(site, record)?;
            return Ok(format!("`{name}` has no secrets any more"));
        }
        let count = refill(context, site, record, &secrets)?;
        Ok(format!("{} in /run/secrets of `{name}`", count_secrets(count)))
    })?;
    match done {
        Some(sentence) => context.ui.say(&sentence),
        None => tell_at_rest(args, context, &name)?,
    }
    Ok(0)
}

/// What comes of a machine that does not run.
fn tell_at_rest(args: &Args, context: &Context, name: &str) -> Result<()> {
    if args.clear {
        context.ui.say(&format!("`{name}` does not run, so it has no secrets"));
        return Ok(());
    }
    Err(Failure::operation(format!("`{name}` does not run"))
        .hint(format!("start it, which fills them: `machine up {name}`")))
}

/// Prints what would be done. No source is asked, and neither is the guest.
fn show(args: &Args, context: &Context, record: &MachineRecord, secrets: &Secrets) -> Result<u8> {
    let name = &record.name;
    let computer = Workspace::load(context)?.computer;
    let say = |text: &str| context.ui.say(text);
    let found = site(context, &computer, &say).driver().find(name)?;
    if found.is_none_or(|instance| instance.status != Status::Running) {
        tell_at_rest(args, context, name)?;
    } else if args.clear {
        ui::answer(&format!("# empty /run/secrets of `{name}`"));
    } else {
        for (secret, spec) in &secrets.wanted {
            ui::answer(&format!("# read `{secret}` from {}", spec.source));
        }
        ui::answer(&format!("# write all of them into /run/secrets of `{name}`"));
    }
    Ok(0)
}

fn status(args: &Args, context: &Context, record: MachineRecord, secrets: &Secrets) -> Result<u8> {
    let ask = |site: &Site, record: &MachineRecord| secret_status(site, record);
    let there = reach_running(context, record, "secrets", &ask)?.unwrap_or_default().ages;
    let rows = rows(secrets, &there);
    if args.json {
        ui::answer_json(&Value::Array(rows.iter().map(Row::to_json).collect()));
    } else if rows.is_empty() {
        context.ui.say("no secrets are configured, and none are there");
    } else {
        let head = ["NAME", "SOURCE", "EXPORT", "AGE"].map(String::from).to_vec();
        let rows = rows.iter().map(Row::cells);
        ui::answer(&render_table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    }
    Ok(0)
}

/// One secret, wanted or found.
struct Row {
    name: String,
    source: Option<String>,
    export: bool,
    age_seconds: Option<u64>,
}

fn rows(secrets: &Secrets, there: &BTreeMap<EnvName, u64>) -> Vec<Row> {
    let mut names: Vec<&EnvName> = secrets.wanted.keys().chain(there.keys()).collect();
    names.sort();
    names.dedup();
    let row = |name: &EnvName| {
        let spec = secrets.wanted.get(name);
        Row {
            name: name.to_string(),
            source: spec.map(|spec| spec.source.to_string()),
            export: spec.is_some_and(|spec| spec.export),
            age_seconds: there.get(name).copied(),
        }
    };
    names.into_iter().map(row).collect()
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let source = self.source.clone().unwrap_or_else(|| "not configured any more".into());
        let export = if self.export { "yes" } else { "-" };
        vec![self.name.clone(), source, export.into(), self.age_seconds.map_or_else(|| "missing".into(), age)]
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "source": self.source,
            "export": self.export,
            "present": self.age_seconds.is_some(),
            "age_seconds": self.age_seconds,
        })
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
