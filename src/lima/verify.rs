//! Compares the configuration Lima would use with the one we rendered, before every start.
//!
//! Enters: our YAML as JSON, Lima's effective one, what lies in `_config`. Leaves: the foreign settings, each with
//! the file it came from. Lima merges `_config/default.yaml` and `override.yaml` at start, not at create.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Everything through which a host crosses into a guest, or back; other keys are Lima's business.
const GUARDED: [&str; 29] = [
    "plain",
    "mounts",
    "mountTypesUnsupported",
    "networks",
    "portForwards",
    "copyToHost",
    "additionalDisks",
    "probes",
    "provision",
    "containerd",
    "hostResolver",
    "dns",
    "propagateProxyEnv",
    "env",
    "param",
    "user",
    "ssh",
    "images",
    "vmType",
    "vmOpts",
    "arch",
    "caCerts",
    "upgradePackages",
    "nestedVirtualization",
    "video",
    "audio",
    "firmware",
    "base",
    "message",
];

/// What Lima fills in by itself and does no harm.
const FILLED_IN: [&str; 6] = [
    "containerd.archives",
    "ssh.overVsock",
    "images.0.kernel.arch",
    "images.0.initrd.arch",
    "vmOpts.vz.rosetta",
    "vmOpts.vz.diskImageFormat",
];

/// A setting that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its path, such as `mounts.0.location`.
    pub key: String,
    /// Lima's value, shortened; `None` when ours is missing there.
    pub found: Option<String>,
    /// The file it came from.
    pub file: PathBuf,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(f, "`{}` is {found}, from `{}`", self.key, self.file.display()),
            None => write!(f, "`{}` is missing, because of `{}`", self.key, self.file.display()),
        }
    }
}

/// Lists every guarded setting in which `effective` differs from `rendered`.
///
/// `culprit` is the file to blame for a difference in a top-level key.
pub fn foreign_settings(
    rendered: &Value,
    effective: &Value,
    culprit: impl Fn(&str) -> PathBuf,
) -> Vec<Foreign> {
    let ours = leaves_of(rendered);
    let theirs = leaves_of(effective);
    let foreign = |key: &String, found: Option<String>| Foreign {
        key: key.clone(),
        found,
        file: culprit(key.split('.').next().unwrap_or(key)),
    };
    let changed = theirs
        .iter()
        .filter(|(key, value)| ours.get(*key) != Some(value) && !is_filled_in(key))
        .map(|(key, value)| foreign(key, Some(shorten(value))));
    let missing = ours.keys().filter(|key| !theirs.contains_key(*key)).map(|key| foreign(key, None));
    changed.chain(missing).collect()
}

fn is_filled_in(key: &str) -> bool {
    FILLED_IN
        .iter()
        .any(|known| key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The guarded leaves that say something: an empty or false value is the same as none.
fn leaves_of(config: &Value) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for key in GUARDED {
        if let Some(value) = config.get(key) {
            collect(key, value, &mut leaves);
        }
    }
    leaves
}

fn collect(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| collect(&format!("{path}.{name}"), field, leaves));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| collect(&format!("{path}.{index}"), item, leaves));
        }
        Value::Null | Value::Bool(false) => {}
        // An empty variable of ours takes the place of one that Lima would bring along, such as a proxy of the host's.
        Value::String(text) if text.is_empty() && !path.starts_with("env.") => {}
        leaf => {
            leaves.insert(path.to_string(), leaf.clone());
        }
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    // A script may hold the host key: what it is says enough.
    if text.contains("PRIVATE KEY") {
        return "a script with a private key".into();
    }
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain(['…']).collect() }
}

/// The file to blame for a foreign `key`: an override before a default, both before the instance's own file.
pub fn culprit(config_folder: &Path, instance_yaml: &Path, key: &str) -> PathBuf {
    let mentions = |file: &PathBuf| {
        let text = crate::disk::read_text_if_there(file).ok().flatten().unwrap_or_default();
        text.lines().any(|line| line.trim_start().trim_start_matches(['"', '\'']).starts_with(key))
    };
    let candidates = ["override.yaml", "default.yaml"].map(|name| config_folder.join(name));
    candidates.into_iter().find(mentions).unwrap_or_else(|| instance_yaml.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(effective: &Value) -> Vec<String> {
        let rendered = json!({"plain": true, "mounts": [], "ssh": {"localPort": 20000, "forwardAgent": false},
            "provision": [{"mode": "system", "script": "x"}], "cpus": 2, "env": {"http_proxy": ""}});
        let found = foreign_settings(&rendered, effective, |key| PathBuf::from(key));
        found.into_iter().map(|foreign| foreign.to_string()).collect()
    }

    #[test]
    fn limas_own_defaults_are_no_difference() {
        let effective = json!({"plain": true, "ssh": {"localPort": 20000, "forwardX11": false, "overVsock": true},
            "provision": [{"mode": "system", "script": "x"}], "cpus": 4, "rosetta": {}, "video": {"vnc": {}},
            "env": {"http_proxy": ""}, "audio": {"device": "", "interface": ""},
            "containerd": {"system": false, "archives": [{"location": "https://x"}]}});
        assert_eq!(keys(&effective), Vec::<String>::new());
    }

    #[test]
    fn every_way_across_is_named() {
        let ours = json!({"plain": true, "ssh": {"localPort": 20000}, "env": {"http_proxy": ""},
            "provision": [{"mode": "system", "script": "x"}]});
        let cases = [
            (json!({"mounts": [{"location": "~"}]}), "`mounts.0.location` is \"~\", from `mounts`"),
            (
                json!({"ssh": {"localPort": 20000, "forwardAgent": true}}),
                "`ssh.forwardAgent` is true, from `ssh`",
            ),
            (
                json!({"portForwards": [{"guestPort": 1}]}),
                "`portForwards.0.guestPort` is 1, from `portForwards`",
            ),
            (json!({"networks": [{"lima": "user-v2"}]}), "`networks.0.lima` is \"user-v2\", from `networks`"),
            (json!({"plain": false}), "`plain` is missing, because of `plain`"),
            (json!({"env": {"http_proxy": "", "X": "1"}}), "`env.X` is \"1\", from `env`"),
            (json!({"env": {}}), "`env.http_proxy` is missing, because of `env`"),
            (json!({"audio": {"device": "pa"}}), "`audio.device` is \"pa\", from `audio`"),
        ];
        for (change, expected) in cases {
            let mut effective = ours.clone();
            for (key, value) in change.as_object().expect("an object") {
                effective[key] = value.clone();
            }
            assert_eq!(keys(&effective), [expected]);
        }
    }

    #[test]
    fn an_added_script_is_found_and_a_key_is_not_shown() {
        let effective = json!({"plain": true, "ssh": {"localPort": 20000}, "env": {"http_proxy": ""}, "provision":
            [{"mode": "system", "script": "-----BEGIN OPENSSH PRIVATE KEY-----"}]});
        assert_eq!(
            keys(&effective),
            ["`provision.0.script` is a script with a private key, from `provision`"]
        );
    }
}
