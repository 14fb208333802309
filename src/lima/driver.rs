//! Instances as a set: listing, creating, comparing with what was rendered, removing.
//!
//! Enters: names and YAML. Leaves: instances. A failed create leaves nothing behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limactl::Limactl;
use super::list::{Instance, Status, parse_list};
use super::verify::{culprit, foreign_settings};
use super::{version, yaml};
use crate::disk;
use crate::failure::{Failure, Kind, Result};
use crate::layout::Layout;
use crate::model::Host;
use crate::process::Runner;

/// How long Lima's `Broken` may last before it is believed: it also shows for moments while starting and stopping.
const BROKEN_DEBOUNCE: Duration = Duration::from_secs(5);

/// Lima in our private home.
pub struct Driver<'a> {
    /// Its command lines.
    pub limactl: Limactl,
    /// What runs them.
    pub runner: &'a Runner,
    /// Where our files are.
    pub layout: &'a Layout,
    /// What differs between hosts.
    pub host: &'a Host,
    /// Whether what is learnt about Lima may be written down.
    pub remembers: bool,
}

impl Driver<'_> {
    /// Makes sure that there is a Lima new enough. Its answer is remembered by the program's path, size and time.
    pub fn check_version(&self, accept_unknown: bool) -> Result<()> {
        let Some(program) = self.runner.find("limactl") else {
            return Err(version::not_installed(self.host.os));
        };
        let print = fingerprint(&program);
        let memory = self.layout.lima_version();
        let remembered = disk::read_text_if_there(&memory)?.unwrap_or_default();
        if let Some(output) = remembered.strip_prefix(&format!("{print}\n")) {
            return version::judge(output, accept_unknown, self.host.os);
        }
        let output = self.runner.read(&self.limactl.version())?.text();
        version::judge(&output, accept_unknown, self.host.os)?;
        if !self.remembers {
            return Ok(());
        }
        disk::ensure_private_folder(&self.layout.state)?;
        disk::write_atomic(&memory, format!("{print}\n{output}").as_bytes(), 0o600)
    }

    /// All instances of our home, by one `limactl`.
    pub fn list(&self) -> Result<Vec<Instance>> {
        if !self.limactl.home().is_dir() {
            return Ok(Vec::new());
        }
        Ok(parse_list(&self.runner.read(&self.limactl.list())?.text()))
    }

    /// One instance; a Broken one is looked at again until it is something else or stays so.
    pub fn find(&self, name: &str) -> Result<Option<Instance>> {
        let started = std::time::Instant::now();
        loop {
            let found = self.list()?.into_iter().find(|instance| instance.name == name);
            let broken = found.as_ref().is_some_and(|instance| instance.status == Status::Broken);
            if !broken || started.elapsed() > BROKEN_DEBOUNCE {
                return Ok(found);
            }
            self.runner.check_interrupt()?;
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The instance's own copy of lima.yaml.
    pub fn yaml_path(&self, name: &str) -> PathBuf {
        self.layout.instance(name).join("lima.yaml")
    }

    /// Creates an instance from `yaml`, which holds a private key and so is never readable by others.
    ///
    /// # Errors
    /// When Lima cannot, or the path is too long for a socket. Nothing is left behind then.
    pub fn create(&self, name: &str, yaml: &str) -> Result<()> {
        self.check_path_budget(name)?;
        disk::ensure_private_folder(self.limactl.home())?;
        disk::ensure_private_folder(&self.layout.machine(name))?;
        let file = self.layout.machine(name).join("lima.yaml");
        disk::write_atomic(&file, yaml.as_bytes(), 0o600)?;
        let created = self.runner.run(&self.limactl.create(name, &file)).map_err(explain);
        disk::remove_file(&file)?;
        if let Err(failure) = created {
            self.remove_half_made(name)?;
            return Err(failure);
        }
        // Lima writes its copy readable for everybody, below a folder that is not.
        disk::write_atomic(&self.yaml_path(name), yaml.as_bytes(), 0o600)
    }

    /// What a failed or interrupted create left: `delete` refuses a folder without lima.yaml.
    pub fn remove_half_made(&self, name: &str) -> Result<()> {
        let folder = self.layout.instance(name);
        if folder.join("lima.yaml").exists() {
            // After an interrupt no child would be allowed to run; the folder goes all the same.
            let _ = self.runner.run(&self.limactl.delete(name));
        }
        disk::remove_folder(&folder)
    }

    /// Replaces the lima.yaml of an instance that does not run.
    pub fn rewrite(&self, name: &str, yaml: &str) -> Result<()> {
        disk::write_atomic(&self.yaml_path(name), yaml.as_bytes(), 0o600)
    }

    /// Refuses to go on when Lima would start the instance with any setting that is not ours.
    ///
    /// # Errors
    /// Exit code 5: the foreign settings, each with the file it came from. Nothing has been started.
    pub fn verify(&self, name: &str, config: &serde_json::Value, rendered: &str) -> Result<()> {
        let folder = self.limactl.home().join("_config");
        let yaml = self.yaml_path(name);
        let ours = yaml::parse(rendered)?;
        let foreign = foreign_settings(&ours, config, |key| culprit(&folder, &yaml, key));
        if foreign.is_empty() {
            return refuse_merged_files(name, &folder);
        }
        let list: Vec<String> = foreign.iter().map(ToString::to_string).collect();
        let sentence =
            format!("will not start `{name}`: Lima would use settings that `machine` did not write");
        let failure = Failure::new(Kind::NotTrusted, list.join("\n")).because(sentence);
        Err(failure.hint("remove those settings from the named files, then run the command again"))
    }

    /// Deletes a stopped instance and checks that it is gone.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.runner.run(&self.limactl.delete(name)).map_err(explain)?;
        disk::remove_folder(&self.layout.instance(name))
    }

    fn check_path_budget(&self, name: &str) -> Result<()> {
        // Lima's longest file in an instance's folder has 25 characters (filenames.go, `LongestSock`).
        let home = self.limactl.home();
        let needed = home.as_os_str().len() + 1 + name.len() + 1 + 25;
        let limit = self.host.socket_path_limit();
        if needed <= limit {
            return Ok(());
        }
        let room = (limit + name.len()).saturating_sub(needed);
        let sentence = format!(
            "the name `{name}` is too long for a socket below `{}`: {room} characters fit there",
            home.display()
        );
        Err(Failure::usage(sentence).hint("set XDG_DATA_HOME to a shorter folder, or take a shorter name"))
    }
}

/// Refuses files that Lima merges into every machine of a home: this one is private to us, so nobody has reason to put
/// them there. In plain mode some of what they say has no effect, which is no reason to let them be.
fn refuse_merged_files(name: &str, folder: &Path) -> Result<()> {
    for file in ["default.yaml", "override.yaml", "base.yaml"].map(|file| folder.join(file)) {
        let text = disk::read_text_if_there(&file)?.unwrap_or_default();
        let says_something = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if let Some(line) = text.lines().find(|line| says_something(line)) {
            let sentence = format!("will not start `{name}`: Lima would merge `{}` into it", file.display());
            return Err(Failure::new(Kind::NotTrusted, format!("it begins with `{}`", line.trim()))
                .because(sentence)
                .hint("remove that file, then run the command again"));
        }
    }
    Ok(())
}

/// Lima's JSON log lines as sentences.
pub(super) fn explain(failure: Failure) -> Failure {
    let mut causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
    for cause in &mut causes {
        *cause = cause.lines().map(log_message).collect::<Vec<_>>().join("\n");
    }
    let mut chain = causes.into_iter().rev();
    let innermost = anyhow::anyhow!("{}", chain.next().unwrap_or_default());
    Failure { error: chain.fold(innermost, anyhow::Error::context), ..failure }
}

/// The message of one log line; other lines are themselves.
pub(super) fn log_message(line: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(line).ok();
    let message = parsed.and_then(|value| value.get("msg")?.as_str().map(String::from));
    message.unwrap_or_else(|| line.to_string())
}

/// Path, size and time of a program: a new version of Lima differs in one of them.
fn fingerprint(program: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(program);
    let (size, time) =
        metadata.map_or((0, 0), |metadata| (metadata.len(), metadata.mtime_nsec() + metadata.mtime()));
    format!("{} {size} {time}", program.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_lima_would_merge_is_refused_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("override.yaml");
        disk::write_atomic(&file, b"# only a comment\n\n", 0o600).expect("written");
        assert!(refuse_merged_files("blog", folder.path()).is_ok());
        disk::write_atomic(&file, b"# x\nmounts:\n- location: /\n", 0o600).expect("written");
        let failure = refuse_merged_files("blog", folder.path()).expect_err("refused");
        assert_eq!(failure.kind, Kind::NotTrusted);
        assert!(format!("{:#}", failure.error).contains("override.yaml"), "{failure:?}");
    }
}
