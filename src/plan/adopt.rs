//! Whose machine this is: the record against the configuration, and against the marker in lima.yaml.
//!
//! Enters: a goal, a record, an instance's file. Leaves: the right to go on, or a rebuilt record.

use std::path::Path;
use std::time::Duration;

use super::{Confirm, Goal, Site};
use crate::disk;
use crate::failure::{Failure, Kind, Result};
use crate::lima;
use crate::process::Cmd;
use crate::record::MachineRecord;

/// Refuses a goal that means another machine than the one of that name.
///
/// A user's file that moved is bound anew after one question; while the file of before is still there, `--yes` does not
/// answer it. A repository's file takes over nobody's machine, and nobody is asked.
pub(super) fn check_owner(goal: &Goal, record: &MachineRecord, confirm: &Confirm) -> Result<()> {
    let repository = goal.repository.as_ref();
    if record.is_of(&goal.config_file, repository, &goal.repos) {
        return Ok(());
    }
    let claimed = || record.claimed_by(&goal.config_file, repository);
    // The user's own table may take the place of a repository's that is about the same repository.
    let first = goal.repos.first().map(|repo| repo.url.normalised());
    let is_moved = !record.in_repository || (first.is_some() && record.origin == first);
    if repository.is_some() || !is_moved {
        return Err(claimed());
    }
    let question = format!(
        "The machine `{}` was made from `{}`. Let it follow `{}` from now on?",
        goal.name,
        record.config_file.display(),
        goal.config_file.display()
    );
    let is_gone = !record.config_file.exists();
    if confirm(&question, is_gone) == Some(true) { Ok(()) } else { Err(claimed()) }
}

/// Refuses to take a machine whose record is lost for a repository's, unless somebody says that it is: the instance does
/// not tell whose it is, and the one who says so must not be the file itself.
pub(super) fn check_lost(goal: &Goal, confirm: &Confirm) -> Result<()> {
    let Some(repository) = &goal.repository else { return Ok(()) };
    let (name, identity) = (&goal.name, repository.identity());
    let question = format!(
        "The record of the machine `{name}` is lost, and with it whose it is. Is it that of the repository `{identity}`?"
    );
    if confirm(&question, false) == Some(true) {
        return Ok(());
    }
    let sentence = format!(
        "the record of the machine `{name}` is lost, so it is not known whether it is that of the repository `{identity}`"
    );
    Err(Failure::new(Kind::NotTrusted, sentence)
        .hint(format!("say so on a terminal: `machine up {name}`"))
        .hint(format!("or delete the machine, if nobody wants it: `machine destroy {name}`")))
}

/// Rebuilds a lost record from the instance itself. What only the configuration knows is as for an empty project.
///
/// # Errors
/// When the instance does not carry our marker: it is somebody else's and is left alone.
pub fn rebuild(site: &Site, name: &str) -> Result<MachineRecord> {
    if site.dry_run {
        return Err(Failure::operation(format!(
            "the record of `{name}` is lost, and --dry-run does not rebuild it"
        )));
    }
    let path = site.driver().yaml_path(name);
    let yaml = disk::read_text_if_there(&path)?.unwrap_or_default();
    let foreign = || {
        let sentence = format!("there is an instance `{name}` in Lima's home that `machine` did not make");
        Failure::operation(sentence).hint(format!("look at it: `{}`", path.display()))
    };
    let uuid = lima::uuid_of(&yaml).ok_or_else(foreign)?.to_string();
    let config = lima::parse(&yaml)?;
    let port =
        config["ssh"]["localPort"].as_u64().and_then(|port| u16::try_from(port).ok()).ok_or_else(foreign)?;
    let key = private_key_in(&yaml).ok_or_else(foreign)?;
    write_host_key(site, name, &key)?;
    site.keep_rendered(name, &yaml)?;
    let kernel = &config["images"][0]["kernel"];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    Ok(MachineRecord {
        uuid,
        port,
        host_key: public_key(site, name)?,
        image: text(&config["images"][0]["location"]).into(),
        kernel: kernel.is_object().then(|| {
            let initrd = text(&config["images"][0]["initrd"]["location"]);
            (text(&kernel["location"]).into(), initrd.into(), text(&kernel["cmdline"]))
        }),
        ports: lima::ports_in(&config),
        isolation: lima::isolation_in(&config),
        disk_bytes: text(&config["disk"]).parse().map_or(0, crate::model::ByteSize::bytes),
        answered: true,
        ..MachineRecord::blank(name)
    })
}

/// The private key's lines, without the indentation that YAML gives them.
fn private_key_in(yaml: &str) -> Option<String> {
    const END: &str = "-----END OPENSSH PRIVATE KEY-----";
    let start = yaml.find("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let end = yaml[start..].find(END)? + start + END.len();
    Some(yaml[start..end].lines().map(str::trim).collect::<Vec<_>>().join("\n") + "\n")
}

fn host_key_path(site: &Site, name: &str) -> std::path::PathBuf {
    site.layout.machine(name).join("host_key")
}

fn write_host_key(site: &Site, name: &str, key: &str) -> Result<()> {
    disk::ensure_private_folder(&site.layout.machine(name))?;
    disk::write_atomic(&host_key_path(site, name), key.as_bytes(), 0o600)
}

/// Makes a fresh host key for a machine that is about to be created.
pub(super) fn generate_host_key(site: &Site, name: &str) -> Result<()> {
    let path = host_key_path(site, name);
    disk::ensure_private_folder(&site.layout.machine(name))?;
    disk::remove_file(&path)?;
    site.runner.run(&generate_command(&path, name))?;
    disk::remove_file(&path.with_extension("pub"))
}

/// Makes the key by which this computer is root in a machine that is about to be created, if that is a strict one.
pub(super) fn generate_root_key(site: &Site, record: &MachineRecord) -> Result<()> {
    if !record.isolation.is_strict() {
        return Ok(());
    }
    let path = site.layout.root_key(&record.name);
    disk::remove_file(&path)?;
    site.runner.run(&generate_command(&path, &record.name))
}

/// Its public half, without its comment; `None` for a machine that is not strict.
///
/// # Errors
/// When it is gone: nobody can be root in that machine any more.
pub(super) fn root_public_key(site: &Site, record: &MachineRecord) -> Result<Option<String>> {
    if !record.isolation.is_strict() {
        return Ok(None);
    }
    let (name, path) = (&record.name, site.layout.root_key(&record.name).with_extension("pub"));
    let text = disk::read_text_if_there(&path)?.ok_or_else(|| {
        let sentence = format!("`{}` is gone, and with it the way in for root of `{name}`", path.display());
        Failure::operation(sentence)
            .hint(format!("save your work, then make it anew: `machine rebuild {name}`"))
    })?;
    Ok(Some(text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")))
}

/// As [`generate_host_key`] runs it.
pub(super) fn generate_command(path: &Path, name: &str) -> Cmd {
    let comment = format!("machine-{name}");
    let flags = ["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f"];
    Cmd::new("ssh-keygen").args(flags).arg(path).time_limit(Duration::from_secs(20))
}

/// The private host key, for rendering.
pub(super) fn read_host_key(site: &Site, name: &str) -> Result<String> {
    let path = host_key_path(site, name);
    disk::read_text_if_there(&path)?
        .ok_or_else(|| Failure::operation(format!("`{}` is gone", path.display())))
}

/// The public half, without its comment.
pub(super) fn public_key(site: &Site, name: &str) -> Result<String> {
    let cmd = Cmd::new("ssh-keygen").arg("-y").arg("-f").arg(host_key_path(site, name));
    let text = site.runner.read(&cmd.time_limit(Duration::from_secs(20)))?.text();
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::private_key_in;

    #[test]
    fn finds_the_key_in_an_indented_script() {
        let yaml = "provision:\n- script: |\n    KEY='-----BEGIN OPENSSH PRIVATE KEY-----\n    b3Bl\n    -----END OPENSSH PRIVATE KEY-----'\n";
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";
        assert_eq!(private_key_in(yaml).as_deref(), Some(key));
        assert_eq!(private_key_in("provision: []"), None);
    }
}
