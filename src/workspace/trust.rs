//! What a repository's files ask for beyond their own machine, put to the user; no answer is a no.
//!
//! Enters: a project with all that its files say. Leaves: its profiles, once everything is allowed. The question, the
//! answer and what is done then are about the same bytes: nothing is read a second time in between.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::git::repository_at;
use super::select::{folder_of, locate_from, read_repository};
use super::session::reach_running;
use crate::boundary::TrustSeen;
use crate::config::{
    ConfigFolder, find_folder, is_bundled, load_computer, load_provision, profile_stack, repository_root,
};
use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::model::{Ask, Profile, Project, Provision};
use crate::plan::clear_secrets;
use crate::record::{Filled, MachineRecord, TrustStore, Trusted, digest_lines, release};
use crate::ui;

/// More changed lines than this are counted, not shown.
const LINES_SHOWN: usize = 40;

/// What is asked for with one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    asks: Vec<Ask>,
    /// The answer, were it yes.
    pub asked: Trusted,
}

/// Provisioning and profiles of a project. A repository's are handed out once the user has agreed to what they ask for.
///
/// # Errors
/// `NotTrusted` when nobody has agreed, or nobody can be asked. Nothing has been done then.
pub(super) fn load_stack(context: &Context, project: &Project) -> Result<(Provision, Vec<Profile>)> {
    let folder = folder_of(project);
    let provision = load_provision(&folder)?;
    let profiles = profile_stack(project, &provision, &folder)?;
    if let Some(question) = Question::of(project, &provision, &profiles) {
        question.require(context)?;
    }
    Ok((provision, profiles))
}

/// Makes sure that the user has agreed to what a project's files ask for.
///
/// # Errors
/// As [`load_stack`].
pub fn require_trust(context: &Context, project: &Project) -> Result<()> {
    load_stack(context, project).map(drop)
}

impl Question {
    fn of(project: &Project, provision: &Provision, profiles: &[Profile]) -> Option<Self> {
        let repository = project.repository.as_ref()?;
        let asks: Vec<Ask> = project.asks.iter().chain(&provision.asks).cloned().collect();
        if asks.is_empty() {
            return None;
        }
        let own = profiles.iter().filter_map(|profile| {
            let name = profile.name.as_ref().filter(|name| !is_bundled(name))?;
            Some(format!("profiles/{name}: sha256 = {}", digest_lines(&[format!("{profile:?}")])))
        });
        // A file that asks for nothing is free to change.
        let of_provision = provision.lines.iter().filter(|_| !provision.asks.is_empty());
        let lines: Vec<String> = project.lines.iter().chain(of_provision).cloned().chain(own).collect();
        let asked = Trusted {
            file: project.file.canonicalize().unwrap_or_else(|_| project.file.clone()),
            project: project.name.to_string(),
            repository: repository.identity(),
            keys: asks.iter().map(|ask| ask.key.to_owned()).collect(),
            sha256: digest_lines(&lines),
            lines,
            since: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        Some(Self { asks, asked })
    }

    fn require(&self, context: &Context) -> Result<()> {
        let store = TrustStore::load(&context.layout)?;
        if store.trusted.iter().any(|given| given.answers(&self.asked)) {
            return Ok(());
        }
        let text = self.describe(&store);
        let question = format!("{text}\nAllow it, for as long as these files stay as they are?");
        // A dry run changes nothing, also not what is trusted.
        let answer = if context.options.dry_run { None } else { context.ui.confirm(&question, false) };
        let refused = match answer {
            Some(true) => return TrustStore::grant(&context.layout, vec![self.asked.clone()]),
            Some(false) => {
                let file = self.asked.file.display();
                Failure::new(
                    Kind::NotTrusted,
                    format!("`{file}` was not allowed what it asks for; nothing was done"),
                )
            }
            None => Failure::new(Kind::NotTrusted, text),
        };
        Err(refused.hint(format!(
            "to allow it, once you have read it: `machine trust {}`",
            quoted(&self.asked.file)
        )))
    }

    /// What is asked for, and what has changed since an earlier yes.
    pub fn describe(&self, store: &TrustStore) -> String {
        let Trusted { file, project, repository, .. } = &self.asked;
        let file = file.display();
        let mut lines = vec![format!(
            "`{file}` asks for more than the machine of the project `{project}` of `{repository}`:"
        )];
        lines.extend(self.asks.iter().map(|ask| format!("  {}: {}", ask.key, ask.what)));
        if let Some(earlier) = store.trusted.iter().find(|given| given.is_about(&self.asked)) {
            lines.push("what has changed since you allowed it:".into());
            lines.extend(changes(&earlier.lines, &self.asked.lines));
        }
        lines.join("\n")
    }
}

/// Lines that went and came; both lists are without order.
fn changes(before: &[String], now: &[String]) -> Vec<String> {
    let went = before.iter().filter(|line| !now.contains(line)).map(|line| format!("  - {line}"));
    let came = now.iter().filter(|line| !before.contains(line)).map(|line| format!("  + {line}"));
    let mut all: Vec<String> = went.chain(came).collect();
    if all.is_empty() {
        all.push("  what it asks for, or the repository at this place, though not these files".into());
    }
    let more = all.len().saturating_sub(LINES_SHOWN);
    all.truncate(LINES_SHOWN);
    all.extend((more > 0).then(|| format!("  {more} more lines")));
    all
}

/// A path as a word of a shell line.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map_or_else(|_| text.clone(), Into::into)
}

/// Everything that a repository's file asks for, project by project. `path` is that file, or a folder of the repository.
///
/// # Errors
/// When there is no such file, or something is wrong in it.
pub fn questions_at(context: &Context, path: &Path) -> Result<Vec<Question>> {
    let given = context.cwd.join(path);
    let real = given.canonicalize();
    let real =
        real.map_err(|cause| Failure::usage(format!("cannot look at `{}`: {cause}", path.display())))?;
    let none = || {
        Failure::usage(format!(
            "`{}` is no projects.toml of a repository, nor in one that has any",
            path.display()
        ))
    };
    let home = &context.layout.home;
    let (root, dir) = found_at(&given, &real, home).ok_or_else(none)?;
    let user = locate_from(context)?.user;
    if is_same_folder(&dir, &user.dir) {
        return Err(Failure::usage(format!("`{}` is your own, and needs no trust", path.display())));
    }
    let caps = load_computer(&user, home)?.caps;
    let catalog = read_repository(context, &user, caps, &dir, &repository_at(context, &root))?;
    let of_repository = catalog.projects.values().filter(|project| project.repository.is_some());
    let mut questions = Vec::new();
    for project in of_repository {
        let folder = ConfigFolder { dir: dir.clone(), in_repository: true };
        let provision = load_provision(&folder)?;
        let profiles = profile_stack(project, &provision, &folder)?;
        questions.extend(Question::of(project, &provision, &profiles));
    }
    Ok(questions)
}

/// Makes sure that the user has agreed to what the files of a machine's project are given, its secrets above all.
///
/// # Errors
/// As [`load_stack`], or when the files cannot be looked at any more.
pub fn require_trust_of(context: &Context, record: &MachineRecord) -> Result<()> {
    if !record.in_repository {
        return Ok(());
    }
    let questions = questions_at(context, &record.config_file)?;
    let own = questions.into_iter().find(|question| question.asked.project == record.name);
    own.map_or(Ok(()), |question| question.require(context))
}

/// Whether the files of a machine's project are allowed what they are given, asking nobody.
pub(super) fn is_trusted(context: &Context, record: &MachineRecord) -> bool {
    matches!(look_at_trust(context, record), TrustSeen::Own | TrustSeen::Inert | TrustSeen::Allowed { .. })
}

/// Whose word a machine's project is, as things are now.
pub(super) fn look_at_trust(context: &Context, record: &MachineRecord) -> TrustSeen {
    if !record.in_repository {
        return TrustSeen::Own;
    }
    let store = match TrustStore::load(&context.layout) {
        Ok(store) => store,
        Err(failure) => return TrustSeen::Damaged(format!("{:#}", failure.error)),
    };
    let questions = match questions_at(context, &record.config_file) {
        Ok(questions) => questions,
        Err(failure) => return TrustSeen::Unknown(format!("{:#}", failure.error)),
    };
    let Some(Question { asked, .. }) = questions.into_iter().find(|one| one.asked.project == record.name)
    else {
        return TrustSeen::Inert;
    };
    let keys: Vec<String> = asked.keys.iter().cloned().collect();
    if store.trusted.iter().any(|given| given.answers(&asked)) {
        return TrustSeen::Allowed { keys };
    }
    let was_allowed = store.trusted.iter().any(|given| given.is_about(&asked));
    let lent = record.forward_agent && asked.keys.contains("forward_agent") && !was_allowed;
    TrustSeen::Asking { keys, lent }
}

/// Allows a file that we have just written what we have written into it, and says whether that is anything.
pub fn trust_own(context: &Context, file: &Path) -> Result<bool> {
    let mut questions = questions_at(context, file)?;
    // What else asks, such as a provision.toml that was there before, is asked in its time.
    questions.retain(|question| question.asks.iter().all(|ask| ask.key == "forward_agent"));
    let answers: Vec<Trusted> = questions.into_iter().map(|question| question.asked).collect();
    let is_any = !answers.is_empty();
    if is_any {
        TrustStore::grant(&context.layout, answers)?;
    }
    Ok(is_any)
}

/// Root and configuration folder of the repository at a path. A file's own link stays one, to be refused as that.
fn found_at(given: &Path, real: &Path, home: &Path) -> Option<(PathBuf, PathBuf)> {
    if real.is_dir() {
        let root = repository_root(real, home)?;
        let dir = find_folder(real, &root)?;
        return Some((root, dir));
    }
    let dir = given.parent()?.canonicalize().ok()?;
    (given.file_name()? == "projects.toml").then_some(())?;
    Some((repository_root(&dir, home)?, dir))
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    other.canonicalize().is_ok_and(|other| one.canonicalize().is_ok_and(|one| one == other))
}

/// Takes answers back, and what they gave to machines: nobody is lent the agent from now on, secrets go, and the next `up`
/// asks.
pub fn revoke(context: &Context, goes: &[Trusted]) -> Result<()> {
    TrustStore::revoke(&context.layout, goes)?;
    for mut record in MachineRecord::load_all(&context.layout) {
        let file = record.config_file.canonicalize().unwrap_or_else(|_| record.config_file.clone());
        let is_about = |one: &Trusted| one.project == record.name && one.file == file;
        if record.in_repository && goes.iter().any(is_about) {
            record.forward_agent = false;
            record.ready = None;
            record.save(&context.layout)?;
            release(&context.layout, &record.name)?;
            take_secrets(context, record);
        }
    }
    Ok(())
}

/// Empties `/run/secrets` of a machine that runs, if it was ever filled.
fn take_secrets(context: &Context, record: MachineRecord) {
    let name = record.name.clone();
    if Filled::load(&context.layout, &name).is_none() {
        return;
    }
    let taken = reach_running(context, record, "trust revoke", &|site, record| clear_secrets(site, record));
    if let Err(failure) = taken {
        ui::warn(&format!("`{name}` may still have its secrets: {:#}", failure.error));
        context.ui.say(&format!("take them: `machine secrets {name} --clear`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_went_and_came_is_shown() {
        assert_eq!(
            changes(&lines(&["a = 1", "b = 1"]), &lines(&["b = 1", "a = 2"])),
            ["  - a = 1", "  + a = 2"]
        );
        assert_eq!(changes(&lines(&["a"]), &lines(&["a"])).len(), 1);
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(changes(&[], &many).last().map(String::as_str), Some("  60 more lines"));
    }
}
