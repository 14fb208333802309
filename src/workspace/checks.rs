//! The checks of a machine's profiles, run again as its user runs things: what was installed may have been broken since.
//!
//! Enters: a project and its machine. Leaves: an answer a check. Starts no machine.

use std::ffi::OsString;
use std::time::Duration;

use super::session::reach_running;
use super::trust::load_stack;
use crate::context::Context;
use crate::failure::Result;
use crate::model::{Profile, Project};
use crate::plan::Site;
use crate::record::MachineRecord;
use crate::ssh::Remote;

/// The longest a check may take; a program's first start in an emulated guest takes seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// What a check came to.
pub struct Checked {
    /// The profile, or `provision.toml`.
    pub profile: String,
    /// The check as it is written there.
    pub check: String,
    /// The last lines that it wrote to standard error; `None` when it succeeded.
    pub failed: Option<String>,
}

/// Runs the checks of all profiles of a project, one after the other; `None` when its machine does not run.
///
/// # Errors
/// When the profiles cannot be loaded, or the machine does not answer.
pub fn run_checks(
    context: &Context,
    project: &Project,
    record: MachineRecord,
) -> Result<Option<Vec<Checked>>> {
    let (_, profiles) = load_stack(context, project)?;
    let phase = context.ui.phase("checks");
    reach_running(context, record, "status", &|site, record| {
        let checks =
            profiles.iter().flat_map(|profile| profile.check.iter().map(move |check| (profile, check)));
        checks
            .map(|(profile, check)| {
                phase.now(check);
                run_check(site, record, profile, check)
            })
            .collect()
    })
}

fn run_check(site: &Site, record: &MachineRecord, profile: &Profile, check: &str) -> Result<Checked> {
    let words = ["bash", "-c", check].map(OsString::from).to_vec();
    let line = Remote::Plain(words).command_line("")?;
    let cmd = site.road(record).exec(&line).own_group().time_limit(LIMIT);
    let finished = site.runner.read_any_status(&cmd)?;
    let name = profile.label();
    let failed = (!finished.status.success()).then(|| match finished.tail.join("\n") {
        silent if silent.is_empty() => format!("exit code {}", finished.code()),
        words => words,
    });
    Ok(Checked { profile: name, check: check.to_string(), failed })
}
