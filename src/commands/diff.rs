//! `machine diff`: what a machine was made from against what the configuration says now.
//!
//! Enters: a project. Leaves: a table, or JSON. Asks nobody but our own record: no Lima, no guest.

use serde_json::{Value, json};

use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::Result;
use crate::plan::{BoxUse, Difference, Needs, differences};
use crate::ui;
use crate::ui::render_table;
use crate::workspace::{Workspace, goal_of};

/// Options of `diff`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The last column says what it takes: `nothing`; `restart`, which is `machine down` and `machine up`; `re-provision`, \
which the next `machine up` does; `rebuild`, which is `machine rebuild`.")]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// Compares.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let (project, record) = workspace.choose_machine(context, args.project.as_deref())?;
    let goal = goal_of(context, &workspace, &project, BoxUse::Cached)?;
    let found = differences(&record, &goal);
    if args.json {
        ui::answer_json(&Value::Array(found.iter().map(to_json).collect()));
    } else if found.is_empty() {
        context.ui.say(&format!("`{}` is what its configuration says", record.name));
    } else {
        ui::answer(&table(&found));
        advise(context, &record.name, &found);
    }
    Ok(0)
}

fn table(found: &[Difference]) -> String {
    let head = ["WHAT", "DIFFERENCE", "NEEDS"].map(String::from).to_vec();
    let rows = found.iter().map(|one| vec![one.what.clone(), one.detail.clone(), one.needs.to_string()]);
    render_table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// The commands that apply what was found.
fn advise(context: &Context, name: &str, found: &[Difference]) {
    let needs = |needs| found.iter().any(|one| one.needs == needs);
    if found.iter().any(Difference::stops_up) {
        context.ui.say(&format!("`up` refuses this; apply all: `machine rebuild {name}`"));
        return;
    }
    if needs(Needs::Restart) {
        context.ui.say(&format!("apply: `machine down {name} && machine up {name}`"));
    } else if needs(Needs::Reprovision) {
        context.ui.say(&format!("apply: `machine up {name}`"));
    }
    if needs(Needs::Rebuild) {
        context.ui.say(&format!("apply all: `machine rebuild {name}`"));
    }
}

fn to_json(one: &Difference) -> Value {
    json!({"what": one.what, "difference": one.detail, "needs": one.needs.to_string()})
}
