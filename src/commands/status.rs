//! `machine status`: one project and its machine, all that is known of it; on demand its profiles' checks.
//!
//! Enters: a project. Leaves: lines, or JSON. Changes nothing.

use std::path::Path;

use serde_json::{Value, json};

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::Result;
use crate::model::{ByteSize, Project, list_ports};
use crate::plan::{BoxUse, differences};
use crate::record::MachineRecord;
use crate::ui;
use crate::ui::{ago, briefly, for_as_long, render_table};
use crate::workspace::{Checked, Overview, Workspace, find_record, goal_of, overview_of, run_checks};

/// Options of `status`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
--check runs each `check` of the project's profiles again, as the machine's user, in a machine that runs; with a failed \
one, or where the machine does not run, the exit code is 1.

--json: the object that `list --json` has for the project, with up_seconds (null unless it runs), open_sessions, ssh_host, \
ssh_port, config_file, image, made (seconds since 1970), from_box, differences (how many `machine diff` has), and with \
--check also checks: an array of objects with profile, check, failed (null, or its last words)")]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Run the checks of its profiles
    #[arg(long)]
    check: bool,
    /// Print a JSON document
    #[arg(long)]
    pub json: bool,
}

/// What there is to tell.
struct Told {
    overview: Overview,
    project: Option<Project>,
    record: Option<MachineRecord>,
    /// `None` where there is nothing to compare.
    differences: Option<usize>,
    checks: Option<Vec<Checked>>,
}

/// Tells.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let told = look(args, context, &workspace)?;
    let not_run = args.check && told.checks.is_none();
    let failed = told.checks.iter().flatten().any(|checked| checked.failed.is_some());
    if args.json {
        ui::answer_json(&to_json(&told));
    } else {
        ui::answer(&render_table(&lines(&told)));
        if not_run {
            context.ui.say(&format!("`{}` does not run, so nothing was checked", told.overview.name));
        }
    }
    Ok(u8::from(not_run || failed))
}

fn look(args: &Args, context: &Context, workspace: &Workspace) -> Result<Told> {
    let name = args.project.as_deref();
    let (project, record) = match workspace.choose(context, name) {
        Ok(project) => {
            let record = MachineRecord::load(&context.layout, project.name.as_str())?;
            (Some(project), record)
        }
        // A machine whose project is gone from the configuration is one still.
        Err(unknown) => match name.map(|_| find_record(context, name)) {
            Some(Ok(record)) => (None, Some(record)),
            _ => return Err(unknown),
        },
    };
    let name = project.as_ref().map(|project| project.name.to_string());
    let name = name.or_else(|| record.as_ref().map(|record| record.name.clone())).unwrap_or_default();
    let overview = overview_of(context, workspace, &name, project.as_ref())?;
    let own = project
        .as_ref()
        .zip(record.as_ref())
        .filter(|(project, record)| record.is_of(&project.file, project.repository.as_ref(), &project.repos));
    let goal = own.map(|(project, _)| goal_of(context, workspace, project, BoxUse::Cached)).transpose()?;
    let differences = own.zip(goal).map(|((_, record), goal)| differences(record, &goal).len());
    let checks = match own.filter(|_| args.check) {
        Some((project, record)) => run_checks(context, project, record.clone())?,
        None => None,
    };
    Ok(Told { overview, project, record, differences, checks })
}

fn lines(told: &Told) -> Vec<Vec<String>> {
    let overview = &told.overview;
    let size = |bytes: Option<u64>| bytes.map(|bytes| ByteSize::from_bytes(bytes).approximate());
    let whole =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".into(), |bytes| ByteSize::from_bytes(bytes).human());
    let mut lines =
        vec![line("project", with(&overview.name, config_file(told).map(|file| file.display().to_string())))];
    let up = overview.up_seconds.map(for_as_long);
    lines.push(line("state", with(&overview.shown_state(), up)));
    let cpus = overview.cpus.map_or_else(|| "-".into(), |cpus| cpus.to_string());
    let sizes = format!(
        "{cpus} cpus, {} of memory, {} of disk",
        whole(overview.memory_bytes),
        whole(overview.disk_bytes)
    );
    lines.push(line("size", sizes));
    let taken = [(size(overview.resident_bytes), "memory"), (size(overview.disk_used_bytes), "disk")];
    let taken: Vec<String> =
        taken.into_iter().filter_map(|(size, what)| Some(format!("{} of {what}", size?))).collect();
    if !taken.is_empty() {
        lines.push(line("takes", taken.join(", ")));
    }
    if let Some(built) = told.record.as_ref().and_then(|record| record.built.as_ref()) {
        let from = if built.box_key.is_some() { ", from a box" } else { "" };
        lines.push(line("made", format!("{}{from}, {}", built.image, ago(built.created))));
    }
    for repo in told.project.iter().flat_map(|project| &project.repos) {
        lines.push(line("repository", format!("{} in ~/code/{}", repo.url, repo.dir)));
    }
    if let Some(record) = &told.record {
        lines.push(line("ssh", format!("machine-{}, 127.0.0.1:{}", record.name, record.port)));
    }
    for session in &overview.sessions {
        lines.push(line("session", session.label.clone()));
    }
    if let Some(seconds) = overview.keys_held_seconds() {
        lines.push(line("keys", format!("held {}", for_as_long(seconds))));
    }
    if overview.isolation.is_strict() {
        lines.push(line("isolation", "strict: its user is not root in it"));
    }
    if !overview.ports.is_empty() {
        lines.push(line("ports", list_ports(&overview.ports)));
    }
    if let Some(used) = overview.last_used {
        lines.push(line("last used", ago(used)));
    }
    lines.extend(rest_of(told));
    if let Some(count) = told.differences {
        lines.push(line("config", differs(&overview.name, count)));
    }
    lines.extend(overview.note.iter().map(|note| line("note", note.clone())));
    lines.extend(told.checks.iter().flatten().map(check_line));
    lines
}

/// What becomes of it when it is idle, and for how long it is.
fn rest_of(told: &Told) -> Option<Vec<String>> {
    let record = told.record.as_ref()?;
    let idle = record.idle?;
    let now = told.overview.idle_seconds.map(|seconds| format!("for {}, ", briefly(seconds)));
    let then = if record.keep_awake {
        "kept awake".to_owned()
    } else {
        format!("`{}` after {}", idle.action, briefly(idle.after_seconds))
    };
    Some(line("idle", now.unwrap_or_default() + &then))
}

fn line(what: &str, text: impl Into<String>) -> Vec<String> {
    vec![what.into(), text.into()]
}

/// Two facts on one line.
fn with(text: &str, more: Option<String>) -> String {
    more.map_or_else(|| text.to_string(), |more| format!("{text}, {more}"))
}

fn config_file(told: &Told) -> Option<&Path> {
    let of_record = || told.record.as_ref().map(|record| record.config_file.as_path());
    told.project.as_ref().map(|project| project.file.as_path()).or_else(of_record)
}

fn differs(name: &str, count: usize) -> String {
    match count {
        0 => "the machine is what it says".into(),
        1 => format!("one difference: `machine diff {name}`"),
        more => format!("{more} differences: `machine diff {name}`"),
    }
}

fn check_line(checked: &Checked) -> Vec<String> {
    let Checked { profile, check, failed } = checked;
    line(
        "check",
        match failed {
            None => format!("✓ {profile}: {check}"),
            Some(words) => format!("✗ {profile}: {check}: {words}"),
        },
    )
}

fn to_json(told: &Told) -> Value {
    let Value::Object(mut object) = told.overview.to_json() else { return Value::Null };
    let record = told.record.as_ref();
    let built = record.and_then(|record| record.built.as_ref());
    let sessions: Vec<&str> = told.overview.sessions.iter().map(|session| session.label.as_str()).collect();
    let more = [
        ("up_seconds", json!(told.overview.up_seconds)),
        ("open_sessions", json!(sessions)),
        ("ssh_host", json!(record.map(|record| format!("machine-{}", record.name)))),
        ("ssh_port", json!(record.map(|record| record.port))),
        ("config_file", json!(config_file(told))),
        ("image", json!(built.map(|built| &built.image))),
        ("made", json!(built.map(|built| built.created))),
        ("from_box", json!(built.map(|built| built.box_key.is_some()))),
        ("differences", json!(told.differences)),
    ];
    object.extend(more.map(|(key, value)| (key.to_string(), value)));
    if let Some(checks) = &told.checks {
        let checks = checks
            .iter()
            .map(|one| json!({"profile": one.profile, "check": one.check, "failed": one.failed}));
        object.insert("checks".into(), checks.collect());
    }
    Value::Object(object)
}
