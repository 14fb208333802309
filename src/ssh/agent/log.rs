//! Every request of a machine to the agent, one JSON object a line.
//!
//! Enters: what was asked and what came of it. Leaves: the file, private and bounded, and its lines read again.
//! A request that cannot be written down is not answered.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::policy::Refusal;
use crate::disk;
use crate::failure::{Context, Result};

/// The file is moved aside, over an older one, when it has this many bytes.
const LOG_LIMIT: u64 = 1024 * 1024;

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in UTC: `2026-01-31T12:00:00.000Z`.
    pub time: String,
    /// The machine's name.
    pub machine: String,
    /// The process of ours that served it.
    pub pid: u32,
    /// The host's ssh process that brought it, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_pid: Option<i32>,
    /// `connect`, `bind`, `list`, `sign`, or `other`.
    pub request: String,
    /// The key that was asked to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where a login leads to: the name of a granted host, else the fingerprint of the host's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The user of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What for: `login`, `commit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// `allowed` or `refused`.
    pub verdict: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Appends to one machine's log.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub path: PathBuf,
    pub machine: String,
}

impl Log {
    /// Writes a request down with what came of it.
    pub fn note(&self, entry: Entry, refusal: Option<&Refusal>) -> Result<()> {
        let entry = Entry {
            time: timestamp(SystemTime::now()),
            machine: self.machine.clone(),
            pid: std::process::id(),
            verdict: if refusal.is_some() { "refused" } else { "allowed" }.into(),
            reason: refusal.map(ToString::to_string),
            ..entry
        };
        let failed = || format!("failed to write `{}`", self.path.display());
        let mut line = serde_json::to_vec(&entry).map_err(std::io::Error::from).because(failed)?;
        line.push(b'\n');
        let mut file = disk::open_log(&self.path)?;
        if file.metadata().is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
            std::fs::rename(&self.path, older(&self.path)).because(failed)?;
            file = disk::open_log(&self.path)?;
        }
        // In one call, so that lines of several processes do not mix.
        file.write_all(&line).because(failed)
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// All requests that are remembered, the oldest first. Lines that are none are left out.
pub fn read_log(path: &Path) -> Vec<Entry> {
    let texts = [older(path), path.to_owned()].map(|path| disk::read_text_if_there(&path).ok().flatten());
    let lines = texts.iter().flatten().flat_map(|text| text.lines());
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The distinct reasons for which requests were refused since `time`, with how often each.
pub fn refused_since(path: &Path, time: &str) -> Vec<(String, usize)> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    let recent = read_log(path).into_iter().filter(|entry| entry.time.as_str() >= time);
    for reason in recent.filter_map(|entry| entry.reason) {
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons
}

/// A moment in UTC, in a form whose order as text is that of time.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day since 1970, by counting from a March (Hinnant, `civil_from_days`).
const fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    #[test]
    fn moments_are_dates() {
        let at = |seconds: u64| timestamp(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7));
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400 + 86_399), "2000-02-29T23:59:59.007Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.007Z");
    }

    #[test]
    fn the_file_is_private_bounded_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log { path: folder.path().join("agent.log"), machine: "blog".into() };
        let wide = "x".repeat(60_000);
        let entry =
            |request: &str| Entry { request: request.into(), user: Some(wide.clone()), ..Entry::default() };
        for _ in 0..40 {
            log.note(entry("list"), None).expect("written");
        }
        log.note(entry("sign"), Some(&Refusal::Opaque)).expect("written");
        let size = |path: &Path| std::fs::metadata(path).expect("a file").len();
        assert!(size(&log.path) <= LOG_LIMIT + 61_000 && size(&older(&log.path)) <= LOG_LIMIT + 61_000);
        let mode = std::fs::metadata(&log.path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let entries = read_log(&log.path);
        assert!(entries.len() > 18, "{}", entries.len());
        let last = entries.last().expect("an entry");
        assert_eq!(
            (last.request.as_str(), last.verdict.as_str(), last.machine.as_str()),
            ("sign", "refused", "blog")
        );
        let reason = Refusal::Opaque.to_string();
        assert_eq!(refused_since(&log.path, &last.time), [(reason, 1)]);
        assert!(refused_since(&log.path, "9999").is_empty());
    }
}
