//! `machine uninstall`: undoes what we added to this computer outside our own folders, and names what stays.
//!
//! Enters: nothing. Leaves: no `Include`, no `Host` blocks, no launcher. Machines and their disks are not touched.

use crate::context::Context;
use crate::disk;
use crate::failure::Result;
use crate::record::MachineRecord;
use crate::ssh::{IncludeState, include_state, remove_include};
use crate::ui;
use crate::workspace::Workspace;

/// Options of `uninstall`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Removes our traces.
pub fn run(_args: &Args, context: &Context) -> Result<u8> {
    let layout = &context.layout;
    let (config, hosts, launcher) = (layout.ssh_config(), layout.ssh_hosts(), layout.launcher());
    let text = disk::read_text_if_there(&config)?.unwrap_or_default();
    let has_include = include_state(&text) != IncludeState::Missing;
    let mut done = Vec::new();
    if has_include {
        done.push(format!("`Include config.d/machine` from `{}`", config.display()));
    }
    done.extend(
        [&hosts, &launcher]
            .into_iter()
            .filter(|path| path.exists())
            .map(|path| format!("`{}`", path.display())),
    );
    if context.options.dry_run {
        for what in &done {
            ui::answer(&format!("# would remove {what}"));
        }
    } else {
        remove_include(&config)?;
        disk::remove_file(&hosts)?;
        disk::remove_folder(&launcher)?;
        for what in &done {
            context.ui.say(&format!("removed {what}"));
        }
    }
    tell_what_stays(context);
    Ok(0)
}

fn tell_what_stays(context: &Context) {
    let machines = MachineRecord::load_all(&context.layout);
    if !machines.is_empty() {
        let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
        context.ui.say(&format!(
            "machines stay, with the work in them: {} (`machine destroy NAME` deletes one)",
            names.join(", ")
        ));
    }
    let config = Workspace::load(context).map(|workspace| workspace.located.user.dir);
    let layout = &context.layout;
    let folders =
        [Some(layout.data.clone()), Some(layout.state.clone()), Some(layout.cache.clone()), config.ok()];
    let there: Vec<String> = folders
        .into_iter()
        .flatten()
        .filter(|path| path.exists())
        .map(|path| format!("  {}", path.display()))
        .collect();
    if !there.is_empty() {
        context.ui.say(&format!(
            "these folders stay; delete them when you no longer need what is in them:\n{}",
            there.join("\n")
        ));
    }
    context.ui.say("the program itself is your package manager's: `brew uninstall machine`, or `cargo uninstall machine`");
}
