//! Holds the agent for a machine while no terminal is open: for agents that go on working in it.
//!
//! Enters: a machine and a time. Leaves: a process of ours that serves it, and ends by itself, on a wish, or with its machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::select::site;
use super::session::reach;
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::model::Computer;
use crate::process::Cmd;
use crate::record::{Hold, MachineRecord, held_until, release};

/// How often a process that holds looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);
/// How long it may take to begin.
const BEGIN: Duration = Duration::from_secs(15);

/// Refuses a machine that is lent nothing.
///
/// # Errors
/// When it was last brought up without the agent.
pub fn check_hold(record: &MachineRecord) -> Result<()> {
    if record.forward_agent {
        return Ok(());
    }
    let name = &record.name;
    Err(Failure::operation(format!("`{name}` is lent no key since it was last brought up"))
        .hint(format!("if its files allow it now: `machine up {name}`")))
}

/// Starts a process that holds the agent for `time`, in the place of one that does already.
///
/// # Errors
/// When the machine does not come up, or the process does not begin.
pub fn start_hold(context: &Context, record: MachineRecord, time: Duration) -> Result<()> {
    let name = record.name.clone();
    check_hold(&record)?;
    // Brings it up where need be, and ends the session again at once.
    drop(reach(context, record, "keys hold")?);
    release(&context.layout, &name)?;
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + time;
    let log_path = context.layout.machine(&name).join("hold.log");
    disk::remove_file(&log_path)?;
    let mut child =
        context.runner.detach(&command(context, &name, until.as_secs()), &disk::open_log(&log_path)?)?;
    let deadline = Instant::now() + BEGIN;
    while held_until(&context.layout, &name).is_none() {
        let has_ended = !matches!(child.try_wait(), Ok(None));
        if has_ended || Instant::now() > deadline {
            let words = disk::read_tail(&log_path, 4096);
            return Err(
                Failure::operation(words.trim()).because(format!("failed to hold the keys for `{name}`"))
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// This program, told to hold, with what of our environment it needs.
fn command(context: &Context, name: &str, until: u64) -> Cmd {
    let mut cmd = Cmd::new(&context.binary).args(["keys", "serve", name, "--until"]).arg(until.to_string());
    if let Some(folder) = &context.options.config_dir {
        cmd = cmd.arg("--config").arg(folder);
    }
    let askpass =
        context.askpass.program.iter().map(|program| ("SSH_ASKPASS".to_string(), program.clone().into()));
    let display = context.askpass.display.iter().cloned();
    let agent = context.agent.iter().map(|agent| ("SSH_AUTH_SOCK".to_string(), agent.clone().into()));
    let config =
        context.xdg_config_home.iter().map(|path| ("XDG_CONFIG_HOME".to_string(), path.clone().into()));
    let folders = context.folder_variables.iter().map(|(name, path)| (name.clone(), path.clone().into()));
    let all = askpass.chain(display).chain(agent).chain(config).chain(folders);
    all.fold(cmd, |cmd, (name, value)| cmd.env(name, value))
}

/// Serves until `until`, in seconds since 1970: what the process that [`start_hold`] starts does.
pub fn serve_hold(context: &Context, record: &MachineRecord, until: u64) -> Result<()> {
    crate::process::leave_terminal();
    let say = |_: &str| ();
    let site = site(context, &Computer::default(), &say);
    let name = &record.name;
    let hold = Hold::take(&context.layout, name, until)?;
    let hold = hold.ok_or_else(|| Failure::operation(format!("the keys of `{name}` are held already")))?;
    let end = UNIX_EPOCH + Duration::from_secs(until);
    let running = context.layout.instance(name).join("ha.pid");
    let _server = site.serve_agent(record, Duration::ZERO)?;
    while SystemTime::now() < end
        && !hold.is_over()
        && running.exists()
        && !context.runner.interrupt().is_asked()
    {
        std::thread::sleep(LOOK);
    }
    Ok(())
}
