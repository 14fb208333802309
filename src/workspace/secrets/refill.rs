//! Fills a machine that answers, as asked, or because a session finds that its secrets are gone or are others now.
//!
//! Enters: a machine that is reached. Leaves: its secrets, or a warning; a session opens either way.

use super::super::trust::is_trusted;
use super::{digest, read_values, secrets_of};
use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::model::{ProjectName, Secrets};
use crate::plan::{Site, check_secrets, clear_secrets, fill_secrets};
use crate::record::{Filled, MachineRecord};
use crate::ui;

/// Reads all sources and fills the guest, whatever it has; returns how many there are.
///
/// # Errors
/// When a source gives nothing, or the guest refuses them. It then has what it had.
pub fn refill(context: &Context, site: &Site, record: &MachineRecord, secrets: &Secrets) -> Result<usize> {
    let name: ProjectName = record.name.parse().map_err(Failure::usage)?;
    let values = read_values(context, &name, secrets)?;
    fill_secrets(site, record, &values)?;
    Ok(values.values.len())
}

/// `1 secret is`, `2 secrets are`.
pub fn count_secrets(count: usize) -> String {
    if count == 1 { "1 secret is".into() } else { format!("{count} secrets are") }
}

/// Makes sure that a session finds its secrets. As long as the connection is the one over which they were put there,
/// this reads one file and asks nobody.
///
/// # Errors
/// On an interrupt. Whatever else goes wrong is a warning: the machine is as useful as it was.
pub fn refill_session(context: &Context, site: &Site, record: &MachineRecord) -> Result<()> {
    let name = &record.name;
    match try_refill(context, site, record) {
        Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
        Err(failure) if failure.rendered.is_some() => {
            let sentence = "your projects.toml has mistakes, so its secrets were not looked at";
            ui::warn(&format!("{sentence}: `machine up {name}` shows them"));
            Ok(())
        }
        Err(failure) => {
            ui::warn(&format!("{:#}", failure.error));
            let trust = format!("look at them, and say yes: `machine up {name}`");
            let mend = format!("fill them once that is mended: `machine secrets {name}`");
            context.ui.say(if failure.kind == Kind::NotTrusted { &trust } else { &mend });
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn try_refill(context: &Context, site: &Site, record: &MachineRecord) -> Result<()> {
    let secrets = secrets_of(context, record)?;
    match digest(&secrets) {
        None if Filled::load(site.layout, &record.name).is_none() => Ok(()),
        None => clear_secrets(site, record),
        Some(_) if !is_trusted(context, record) => {
            if Filled::load(site.layout, &record.name).is_some() {
                clear_secrets(site, record)?;
            }
            let sentence = format!("the files of `{}` are not allowed to have its secrets", record.name);
            Err(Failure::new(Kind::NotTrusted, sentence))
        }
        Some(digest) if check_secrets(site, record, &digest) => Ok(()),
        Some(_) => {
            let count = refill(context, site, record, &secrets)?;
            context.ui.say(&format!("{} in /run/secrets", count_secrets(count)));
            Ok(())
        }
    }
}
