//! `machine list`: every project and machine with what it takes, by one `limactl`.
//!
//! Enters: nothing. Leaves: a table, or JSON.

use serde_json::Value;

use crate::context::Context;
use crate::failure::Result;
use crate::model::{ByteSize, list_ports};
use crate::ui;
use crate::ui::{ago, briefly, for_as_long, render_table};
use crate::workspace::{Overview, Workspace, overviews};

/// Options of `list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Columns:
  STATE      of a machine that sleeps, with its memory's size on the disk
  MEMORY     what the guest may use
  RESIDENT   memory of this computer that its process takes now (macOS: may
             lack what was compressed)
  DISK       the size that the guest sees
  IDLE       of one that runs: since when nobody has used it; where it is to
             rest when it is idle, also since when nothing was at work in it
  ALLOCATED  what the machine's files take on this computer's disk; blocks
             shared with other files count
  PORTS      what leads into it from 127.0.0.1; `machine ports PROJECT` says
             more

--json: an array of objects with project, state, cpus, memory_bytes, resident_bytes (null unless it runs), disk_bytes, \
disk_used_bytes (what is allocated), image_bytes (null unless it is asleep), last_used (seconds since 1970), idle_seconds \
(null unless it runs without a session; as IDLE), sessions, keys_held_until (seconds since 1970, null unless they are), \
ports, isolation, configured, note")]
pub struct Args {
    /// Print a JSON array; sizes are bytes
    #[arg(long)]
    pub json: bool,
}

/// Lists.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let rows = overviews(context, &workspace)?;
    if args.json {
        ui::answer_json(&Value::Array(rows.iter().map(Overview::to_json).collect()));
        return Ok(0);
    }
    if rows.is_empty() {
        context.ui.say("no projects yet; make one: `machine up NAME`");
        return Ok(0);
    }
    ui::answer(&table(&rows));
    for row in &rows {
        if let Some(seconds) = row.keys_held_seconds() {
            context.ui.say(&format!("{}: its keys are held {}", row.name, for_as_long(seconds)));
        }
    }
    for row in &rows {
        if let Some(note) = &row.note {
            context.ui.say(&format!("{}: {note}", row.name));
        }
    }
    Ok(0)
}

fn table(rows: &[Overview]) -> String {
    let mut lines = vec![
        [
            "PROJECT",
            "STATE",
            "CPUS",
            "MEMORY",
            "RESIDENT",
            "DISK",
            "ALLOCATED",
            "SESSIONS",
            "IDLE",
            "LAST USED",
            "PORTS",
        ]
        .map(String::from)
        .to_vec(),
    ];
    let size = |bytes: Option<u64>, show: fn(ByteSize) -> String| {
        bytes.map(ByteSize::from_bytes).map_or_else(|| "-".to_string(), show)
    };
    lines.extend(rows.iter().map(|row| {
        vec![
            row.name.clone(),
            row.shown_state(),
            row.cpus.map_or_else(|| "-".to_string(), |cpus| cpus.to_string()),
            size(row.memory_bytes, ByteSize::human),
            size(row.resident_bytes, ByteSize::approximate),
            size(row.disk_bytes, ByteSize::human),
            size(row.disk_used_bytes, ByteSize::approximate),
            row.sessions.len().to_string(),
            row.idle_seconds.map_or_else(|| "-".to_string(), |seconds| briefly(seconds / 60 * 60)),
            row.last_used.map_or_else(|| "-".to_string(), ago),
            list_ports(&row.ports),
        ]
    }));
    render_table(&lines)
}
