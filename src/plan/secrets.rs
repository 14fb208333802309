//! Puts a project's secrets into its guest, and knows whether they are there.
//!
//! Enters: values that the caller has read, a machine that answers. Leaves: `/run/secrets` with these and no others, and a
//! note of it. A connection that is still the same one needs no question; another one may be that of another boot.

use std::time::Duration;

use super::Site;
use super::execute::Work;
use super::observe::random_hex;
use super::report::Reporter;
use crate::failure::{Context, Failure, Result};
use crate::guest::{SecretStatus, SecretValues, clear_secrets_line, fill_secrets_line, secret_status_line};
use crate::process::Cmd;
use crate::record::{Filled, MachineRecord};
use crate::ssh::Road;

/// How long the guest may take to answer; it does nothing but write to memory.
const LIMIT: Duration = Duration::from_secs(60);

/// Step `secrets`.
pub(super) fn secrets(work: &mut Work, reporter: &mut Reporter) -> Result<()> {
    let phase = reporter.phase("secrets");
    work.site.reach(&mut work.record, true)?;
    let values = &work.goal.secret_values;
    let detail = if work.goal.secrets.is_some() {
        fill_secrets(work.site, &work.record, values)?;
        format!("{} in /run/secrets", values.values.len())
    } else {
        clear_secrets(work.site, &work.record)?;
        "none any more".to_string()
    };
    reporter.done(phase, &detail);
    Ok(())
}

/// The command that fills the guest.
///
/// # Errors
/// When they are more than the guest has room for. Nothing has been sent then.
pub(super) fn fill_command(road: &Road, values: &SecretValues) -> Result<Cmd> {
    let frame = values.frame().ok_or_else(|| {
        Failure::usage("all secrets of a project together may have 1 MiB, and these have more")
    })?;
    Ok(road.exec_root(fill_secrets_line()).secret_input(frame).time_limit(LIMIT))
}

/// Fills a guest that answers: what is not among `values` is removed.
///
/// # Errors
/// When the guest refuses them. It then has what it had before, or a part of the new ones.
pub fn fill_secrets(site: &Site, record: &MachineRecord, values: &SecretValues) -> Result<()> {
    let (road, name) = (site.road(record), record.name.as_str());
    Filled::forget(site.layout, name)?;
    let sentence = || format!("failed to put the secrets of `{name}` into `/run/secrets`");
    site.runner
        .run(&fill_command(&road, values)?)
        .because(sentence)
        .map_err(|failure| advise(failure, name))?;
    note(site, record, &values.digest)
}

fn advise(failure: Failure, name: &str) -> Failure {
    // What sudo and shells say of a program that is not there.
    let words = format!("{:#}", failure.error);
    if words.contains("sudo: command not found") || words.contains("sudo: No such file") {
        return failure.hint(format!(
            "its `sudo` is gone, and with it the way to be root there: `machine rebuild {name}` makes a fresh machine"
        ));
    }
    if words.contains("command not found") {
        return failure
            .hint(format!("`{name}` is from before secrets: bring it up to date by `machine up {name}`"));
    }
    failure
}

fn note(site: &Site, record: &MachineRecord, digest: &str) -> Result<()> {
    match site.road(record).connection() {
        Some(connection) => Filled { digest: digest.to_string(), connection }.save(site.layout, &record.name),
        None => Filled::forget(site.layout, &record.name),
    }
}

/// Removes all secrets from a guest that answers.
pub fn clear_secrets(site: &Site, record: &MachineRecord) -> Result<()> {
    Filled::forget(site.layout, &record.name)?;
    site.runner.run(&site.road(record).exec(&clear_secrets_line()).time_limit(LIMIT))
}

/// Asks a guest that answers what it has.
pub fn secret_status(site: &Site, record: &MachineRecord) -> Result<SecretStatus> {
    let mark = random_hex();
    let answer = site.road(record).read(site.runner, &secret_status_line(&mark), "", LIMIT)?.text();
    SecretStatus::parse(&answer, &mark).ok_or_else(|| Failure::operation("the guest's answer was cut off"))
}

/// Whether the guest has the set of this digest, as far as is known without asking it.
pub fn has_secrets(site: &Site, record: &MachineRecord, digest: &str) -> bool {
    let connection = site.road(record).connection();
    let filled = Filled::load(site.layout, &record.name);
    filled.is_some_and(|filled| filled.digest == digest && Some(filled.connection) == connection)
}

/// Whether a guest that answers has the set of this digest: known, or asked for.
pub fn check_secrets(site: &Site, record: &MachineRecord, digest: &str) -> bool {
    if has_secrets(site, record, digest) {
        return true;
    }
    let has = secret_status(site, record).is_ok_and(|status| status.digest.as_deref() == Some(digest));
    // Without the note it is only asked again the next time.
    has && note(site, record, digest).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sudo_that_is_gone_is_no_sign_of_an_old_machine() {
        let hint = |words: &str| advise(Failure::operation(words.to_string()), "blog").hints.join("\n");
        assert!(hint("bash: line 1: sudo: command not found").contains("`machine rebuild blog`"));
        assert!(
            hint("sudo: /usr/local/lib/machine/secrets: command not found").contains("`machine up blog`")
        );
        assert_eq!(hint("broken pipe"), "");
    }
}
