//! `state/trust.json`: what the user has allowed repositories' files, each answer bound to what the file said.
//!
//! Enters: answers. Leaves: the same, for as long as file, content and keys are those of the question.
//! Must not decide what needs an answer.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk::{self, Lock};
use crate::failure::{Failure, Kind, Result};
use crate::layout::Layout;
use crate::model::hex;

/// The version of the file's meaning; any other is refused.
const SCHEMA: u32 = 1;

/// One yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The repository's projects.toml, without links.
    pub file: PathBuf,
    /// The project in it.
    pub project: String,
    /// The repository's identity.
    pub repository: String,
    /// The keys that asked.
    pub keys: BTreeSet<String>,
    /// What the files said, as sorted lines.
    pub lines: Vec<String>,
    /// Of these lines.
    pub sha256: String,
    /// When it was said, in seconds since 1970.
    pub since: u64,
}

impl Trusted {
    /// Whether the answer was given to this question. Fewer keys than then ask for less.
    pub fn answers(&self, asked: &Self) -> bool {
        let same = self.is_about(asked) && self.repository == asked.repository;
        same && self.sha256 == asked.sha256 && self.keys.is_superset(&asked.keys)
    }

    /// Whether it is about the same project of the same file, whatever that says.
    pub fn is_about(&self, other: &Self) -> bool {
        self.file == other.file && self.project == other.project
    }
}

/// The SHA-256 of lines, none of which has an end of line in it.
pub fn digest_lines(lines: &[String]) -> String {
    let digest = Sha256::digest(lines.join("\n"));
    hex(&digest)
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustStore {
    schema: u32,
    /// Every answer, in order of their files.
    pub trusted: Vec<Trusted>,
}

impl TrustStore {
    /// Reads it; nothing is trusted when there is none.
    ///
    /// # Errors
    /// `NotTrusted` when it cannot be read, is damaged, or others could have written it. It is left as it is.
    pub fn load(layout: &Layout) -> Result<Self> {
        let path = layout.trust();
        let Some(bytes) = disk::read_if_there(&path)? else {
            return Ok(Self { schema: SCHEMA, trusted: Vec::new() });
        };
        check_private(&path)?;
        let found: Self =
            serde_json::from_slice(&bytes).map_err(|cause| damaged(&path, &cause.to_string()))?;
        if found.schema != SCHEMA {
            return Err(damaged(&path, &format!("it has schema {}", found.schema)));
        }
        Ok(found)
    }

    /// Adds answers, each in the place of the earlier one about the same.
    pub fn grant(layout: &Layout, answers: Vec<Trusted>) -> Result<()> {
        Self::change(layout, |trusted| {
            trusted.retain(|old| !answers.iter().any(|new| new.is_about(old)));
            trusted.extend(answers);
            trusted.sort_by(|a, b| (&a.file, &a.project).cmp(&(&b.file, &b.project)));
        })
    }

    /// Takes answers back.
    pub fn revoke(layout: &Layout, goes: &[Trusted]) -> Result<()> {
        Self::change(layout, |trusted| trusted.retain(|one| !goes.contains(one)))
    }

    fn change(layout: &Layout, change: impl FnOnce(&mut Vec<Trusted>)) -> Result<()> {
        disk::ensure_private_folder(&layout.state)?;
        let _lock = Lock::wait_exclusive(&layout.global_lock())?;
        let mut store = Self::load(layout)?;
        change(&mut store.trusted);
        let text = serde_json::to_vec_pretty(&store);
        let text =
            text.map_err(|cause| Failure::operation(format!("failed to write what is trusted: {cause}")))?;
        disk::write_atomic(&layout.trust(), &text, 0o600)
    }
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::NotTrusted, format!("`{}` is damaged: {why}", path.display()))
        .hint(format!("delete it, and everything is asked again: `rm {}`", path.display()))
}

/// Who can write here can say yes in the user's name.
fn check_private(path: &Path) -> Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let user = rustix::process::geteuid().as_raw();
    if !metadata.is_file() || metadata.uid() != user || metadata.mode() & 0o022 != 0 {
        let sentence = format!("`{}` could have been written by somebody else", path.display());
        return Err(Failure::new(Kind::NotTrusted, sentence)
            .hint(format!("look at it, then: `rm {}`; everything is asked again", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn answer(project: &str, keys: &[&str], lines: &[&str]) -> Trusted {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        Trusted {
            file: "/r/projects.toml".into(),
            project: project.into(),
            repository: "h/you/blog".into(),
            keys: keys.iter().map(ToString::to_string).collect(),
            sha256: digest_lines(&lines),
            lines,
            since: 1,
        }
    }

    #[test]
    fn an_answer_is_for_its_question_only() {
        let given = answer("blog", &["ports", "repos"], &["a = 1"]);
        assert!(given.answers(&answer("blog", &["ports"], &["a = 1"])));
        assert!(!given.answers(&answer("blog", &["forward_agent", "ports"], &["a = 1"])));
        assert!(!given.answers(&answer("blog", &["ports"], &["a = 2"])));
        assert!(!given.answers(&answer("shop", &["ports"], &["a = 1"])));
        let elsewhere = Trusted { file: "/copy/projects.toml".into(), ..given.clone() };
        assert!(!given.answers(&elsewhere));
        assert!(!given.answers(&Trusted { repository: "h/evil/x".into(), ..given.clone() }));
    }

    #[test]
    fn answers_are_kept_replaced_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), |_| None);
        assert_eq!(TrustStore::load(&layout).unwrap().trusted, []);
        let (old, new, shop) =
            (answer("blog", &["a"], &["1"]), answer("blog", &["a"], &["2"]), answer("shop", &["a"], &["1"]));
        TrustStore::grant(&layout, vec![old, shop.clone()]).unwrap();
        TrustStore::grant(&layout, vec![new.clone()]).unwrap();
        assert_eq!(TrustStore::load(&layout).unwrap().trusted, [new.clone(), shop.clone()]);
        assert_eq!(layout.trust().metadata().unwrap().mode() & 0o777, 0o600);
        TrustStore::revoke(&layout, &[new]).unwrap();
        assert_eq!(TrustStore::load(&layout).unwrap().trusted, [shop]);
    }

    #[test]
    fn a_damaged_or_open_store_trusts_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), |_| None);
        TrustStore::grant(&layout, vec![answer("blog", &["a"], &["1"])]).unwrap();
        let whole = std::fs::read(layout.trust()).unwrap();
        for cut in 0..whole.len() {
            disk::write_atomic(&layout.trust(), &whole[..cut], 0o600).unwrap();
            assert_eq!(TrustStore::load(&layout).unwrap_err().kind, Kind::NotTrusted, "cut at {cut}");
        }
        disk::write_atomic(&layout.trust(), &whole, 0o600).unwrap();
        for mode in [0o620, 0o602] {
            std::fs::set_permissions(layout.trust(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(TrustStore::load(&layout).unwrap_err().kind, Kind::NotTrusted);
        }
    }
}
