//! `machine boundary`: what crosses between host and guest, each line tried at that moment.
//!
//! Enters: a project. Leaves: a line a channel, or JSON; exit code 1 when something crosses that should not.

use serde_json::{Value, json};

use crate::boundary::{Line, Verdict, assess};
use crate::commands::project_completer;
use crate::context::Context;
use crate::failure::Result;
use crate::ui;
use crate::workspace::observe_boundary;

/// Options of `boundary`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Looks from this computer and from inside the machine, which is started if it is stopped, and takes some seconds. It \
opens listeners on this computer for the guest to try, logs in with the agent lent, and lets the guest listen; all of \
that ends with it, and nothing is changed.

A line says `closed`: tried, nothing came through; `open by KEY in FILE`: it comes through because that says so; \
`crosses, as stated`: it comes through, and README.md says so; `FAILED`: it comes through and should not; `not probed`: \
it could not be tried, and why. Every `closed` has a control: something that must be reached or seen, or it is `not \
probed`. The guest's half is run by the guest: one that lies can hide a way, but not one that this computer sees itself.

Exit code 1 when a line is FAILED, or when the machine does not answer.")]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Print a JSON document
    #[arg(long)]
    pub json: bool,
}

/// Tries every channel.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let observed = observe_boundary(context, args.project.as_deref())?;
    let lines = assess(&observed);
    let failed = lines.iter().any(|line| line.judgement.verdict == Verdict::Failed);
    if args.json {
        let channels: Vec<Value> = lines.iter().map(to_json).collect();
        ui::answer_json(&json!({"project": observed.stated.name, "ok": !failed, "channels": channels}));
    } else {
        for line in &lines {
            ui::answer(&to_text(line));
        }
    }
    Ok(u8::from(failed))
}

fn to_text(line: &Line) -> String {
    let mark = match line.judgement.verdict {
        Verdict::Closed => "✓",
        Verdict::Failed => "✗",
        _ => "·",
    };
    let detail = line.judgement.detail.replace('\n', "; ");
    format!("{mark} {:<18} {}: {detail}", line.channel, line.judgement.verdict)
}

fn to_json(line: &Line) -> Value {
    let verdict = &line.judgement.verdict;
    // Words of the guest may be in it.
    let detail = ui::sanitize(&line.judgement.detail);
    let mut object = json!({"channel": line.channel, "verdict": verdict.name(), "detail": detail});
    if let Verdict::Open { key, file } = verdict {
        object["key"] = key.as_str().into();
        object["file"] = file.display().to_string().into();
    }
    object
}
