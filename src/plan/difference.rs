//! What a machine is made of against what the configuration says now; pure.
//!
//! Enters: what was remembered of a machine, a goal. Leaves: the differences, each with what it takes to apply it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Goal;
use crate::guest::Layer;
use crate::model::{ByteSize, Idle, PortForward};
use crate::record::{Built, BuiltLayer, MachineRecord};

/// What it takes to apply a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// It counts already, or concerns new machines only.
    Nothing,
    /// It counts from the next start.
    Restart,
    /// The next `up` does it.
    Reprovision,
    /// Only a fresh machine has it.
    Rebuild,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Restart => "restart",
            Self::Reprovision => "re-provision",
            Self::Rebuild => "rebuild",
        })
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// A key, or a profile.
    pub what: String,
    /// What is different about it.
    pub detail: String,
    /// What it takes.
    pub needs: Needs,
}

impl Difference {
    /// Whether `up` refuses a machine that has it.
    pub fn stops_up(&self) -> bool {
        self.needs == Needs::Rebuild && ["disk", "isolation"].contains(&self.what.as_str())
    }
}

/// Lists the differences, in the order of the configuration.
pub fn differences(record: &MachineRecord, goal: &Goal) -> Vec<Difference> {
    // A record of an earlier version, or a rebuilt one, does not know.
    let Some(built) = &record.built else { return vec![unknown()] };
    let mut all = Vec::new();
    let mut add = |what: &str, detail: String, needs| {
        all.push(Difference { what: what.into(), detail, needs });
    };
    if let Some(detail) = changed_image(built, goal) {
        add("image", detail, Needs::Rebuild);
    }
    if record.isolation != goal.isolation {
        add("isolation", format!("{} → {}", record.isolation, goal.isolation), Needs::Rebuild);
    }
    for (what, has, wants) in sizes(record, built, goal) {
        if has != wants {
            let shrinks = what == "disk" && goal.disk.bytes() < record.disk_bytes;
            add(what, format!("{has} → {wants}"), if shrinks { Needs::Rebuild } else { Needs::Restart });
        }
    }
    for layer in &goal.layers {
        let has = built.layers.iter().find(|has| has.name == layer.name);
        let steps: Vec<(String, String)> =
            layer.steps.iter().map(|step| (step.name.clone(), step.stamp.clone())).collect();
        if let Some(detail) = changed_steps(has, &steps) {
            add(&layer.name, detail, Needs::Reprovision);
        }
    }
    let removed = still_there(built, goal);
    if !removed.is_empty() {
        add("removed", format!("{}: no longer listed, still installed", removed.join(", ")), Needs::Rebuild);
    }
    if let Some(detail) = changed_names(&built.env, &goal.env) {
        add("env", detail, Needs::Reprovision);
    }
    if built.access != goal.access {
        let has = if built.access.is_empty() { "no floor" } else { &built.access };
        add("access", format!("{has} → {}", goal.access), Needs::Reprovision);
    }
    if let Some(detail) = changed_ports(&record.ports, &goal.ports) {
        add("ports", detail, Needs::Reprovision);
    }
    for (what, has, wants) in kept(record, goal) {
        if has != wants {
            add(what, format!("{has} → {wants}"), Needs::Reprovision);
        }
    }
    // The record does not have all that `up` brings about, but it does have whether it would do anything.
    if all.is_empty() && record.ready.as_ref().is_some_and(|ready| ready.wanted != goal.digest()) {
        all.push(something_else());
    }
    let newer = built.box_key.as_ref().zip(goal.levels.last()).filter(|(has, level)| **has != level.key);
    if let Some((_, level)) = newer.filter(|_| all.is_empty()) {
        let detail = format!("a new machine would start from another `{}`", level.name);
        all.push(Difference { what: "box".into(), detail, needs: Needs::Nothing });
    }
    all
}

fn unknown() -> Difference {
    let detail = "it is not known what this machine was made from; `up` finds out".to_string();
    Difference { what: "record".into(), detail, needs: Needs::Reprovision }
}

fn something_else() -> Difference {
    let detail = "something else that the next `up` applies".to_string();
    Difference { what: "configuration".into(), detail, needs: Needs::Reprovision }
}

/// Another image, by its name or by what is behind the same one; `None` also where an older record does not know.
fn changed_image(built: &Built, goal: &Goal) -> Option<String> {
    if !built.image.is_empty() && built.image != goal.image_name {
        return Some(format!("{} → {}", built.image, goal.image_name));
    }
    let is_another = !built.image_origin.is_empty() && built.image_origin != goal.image.origin();
    is_another.then(|| format!("{} → another one", built.image))
}

fn sizes(record: &MachineRecord, built: &Built, goal: &Goal) -> [(&'static str, String, String); 3] {
    let human = |bytes: u64| ByteSize::from_bytes(bytes).human();
    [
        ("cpus", built.cpus.to_string(), goal.cpus.to_string()),
        ("memory", human(built.memory_bytes), goal.memory.human()),
        ("disk", human(record.disk_bytes), goal.disk.human()),
    ]
}

/// What the record keeps of the configuration beside the machine itself.
fn kept(record: &MachineRecord, goal: &Goal) -> [(&'static str, String, String); 4] {
    let folder = |below: &str| format!("~/{below}").trim_end_matches('/').to_string();
    let idle = |idle: Option<Idle>| {
        idle.map_or("none".into(), |idle| format!("{} after {}", idle.action, exactly(idle.after_seconds)))
    };
    [
        ("repos", folder(&record.folder), folder(&goal.folder())),
        ("forward_agent", record.forward_agent.to_string(), goal.forward_agent.to_string()),
        ("idle", idle(record.idle), idle(goal.idle)),
        ("keep_awake", record.keep_awake.to_string(), goal.keep_awake.to_string()),
    ]
}

/// A time as the configuration says it: another one never looks the same.
fn exactly(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let (length, unit) =
        units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length)).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / length)
}

/// Which steps of a profile would run; `None` when none.
fn changed_steps(has: Option<&BuiltLayer>, wants: &[(String, String)]) -> Option<String> {
    let done: BTreeSet<&String> = has.iter().flat_map(|has| &has.steps).map(|(_, stamp)| stamp).collect();
    let missing: Vec<&str> =
        wants.iter().filter(|(_, stamp)| !done.contains(stamp)).map(|(name, _)| name.as_str()).collect();
    match (missing.is_empty(), has) {
        (true, _) => None,
        (false, None) => Some("new".into()),
        (false, Some(_)) => Some(missing.join("; ")),
    }
}

/// The steps of each profile as they are remembered.
pub(super) fn built_layers(goal: &Goal) -> Vec<BuiltLayer> {
    let note = |layer: &Layer| BuiltLayer {
        name: layer.name.clone(),
        steps: layer.steps.iter().map(|step| (step.name.clone(), step.stamp.clone())).collect(),
        items: layer.items.clone(),
    };
    goal.layers.iter().filter(|layer| !layer.steps.is_empty()).map(note).collect()
}

/// What was installed at some time and is not wanted any more.
pub(super) fn still_there(built: &Built, goal: &Goal) -> Vec<String> {
    let wanted: BTreeSet<&String> = goal.layers.iter().flat_map(|layer| &layer.items).collect();
    let installed = built.layers.iter().flat_map(|layer| &layer.items).chain(&built.left);
    let left: BTreeSet<&String> = installed.filter(|item| !wanted.contains(item)).collect();
    left.into_iter().cloned().collect()
}

/// `+NEW, -GONE, CHANGED`; `None` when both are the same. Values are the project's business.
fn changed_names(has: &BTreeMap<String, String>, wants: &BTreeMap<String, String>) -> Option<String> {
    let names: BTreeSet<&String> = has.keys().chain(wants.keys()).collect();
    let changed = names.into_iter().filter_map(|name| match (has.get(name), wants.get(name)) {
        (None, Some(_)) => Some(format!("+{name}")),
        (Some(_), None) => Some(format!("-{name}")),
        (has, wants) if has != wants => Some(name.clone()),
        _ => None,
    });
    let changed: Vec<String> = changed.collect();
    (!changed.is_empty()).then(|| changed.join(", "))
}

/// `+5173, -3000`; `None` when both are the same.
fn changed_ports(has: &[PortForward], wants: &[PortForward]) -> Option<String> {
    let added = wants.iter().filter(|port| !has.contains(port)).map(|port| format!("+{port}"));
    let removed = has.iter().filter(|port| !wants.contains(port)).map(|port| format!("-{port}"));
    let changed: Vec<String> = added.chain(removed).collect();
    (!changed.is_empty()).then(|| changed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{SecretValues, Stack};
    use crate::model::{Arch, ImageSource, Isolation, Profile, Setup};
    use crate::plan::BoxUse;
    use crate::record::Ready;

    fn layers(packages: &[&str]) -> Vec<Layer> {
        let apt = packages.iter().map(ToString::to_string).collect();
        let profiles = [Profile { name: "python".parse().ok(), apt, ..Profile::default() }];
        let isolation = Isolation::Standard;
        Stack { profiles: &profiles, ca_certs: &BTreeMap::new(), arch: Arch::Amd64, isolation }.layers()
    }

    fn goal(packages: &[&str]) -> Goal {
        Goal {
            name: "blog".parse().expect("a name"),
            config_file: "/c".into(),
            repository: None,
            cpus: 2,
            memory: ByteSize::from_gib(4),
            disk: ByteSize::from_gib(40),
            image: ImageSource { location: "/i".into(), digest: None, kernel: None },
            image_name: "debian-13".into(),
            levels: Vec::new(),
            bakes: None,
            box_use: BoxUse::Cached,
            box_disk: ByteSize::from_gib(16),
            has_ca_certs: false,
            headline: String::new(),
            steps: Vec::new(),
            layers: layers(packages),
            env: BTreeMap::new(),
            starts_with_base: false,
            again: String::new(),
            repos: Vec::new(),
            git_hosts: Vec::new(),
            setup: Setup::None,
            ports: Vec::new(),
            forward_agent: false,
            access: "closed".into(),
            isolation: Isolation::Standard,
            openings: crate::model::Openings::default(),
            proxy: None,
            addresses: BTreeMap::new(),
            signing_key: None,
            secrets: None,
            secret_values: SecretValues::default(),
            idle: None,
            keep_awake: false,
        }
    }

    fn record(packages: &[&str]) -> MachineRecord {
        let layers = layers(packages);
        let built = Built {
            image: "debian-13".into(),
            layers: layers
                .iter()
                .map(|layer| BuiltLayer {
                    name: layer.name.clone(),
                    steps: layer.steps.iter().map(|step| (step.name.clone(), step.stamp.clone())).collect(),
                    items: layer.items.clone(),
                })
                .collect(),
            cpus: 2,
            memory_bytes: 4 << 30,
            access: "closed".into(),
            ..Built::default()
        };
        MachineRecord { built: Some(built), disk_bytes: 40 << 30, ..MachineRecord::blank("blog") }
    }

    fn shown(record: &MachineRecord, goal: &Goal) -> Vec<String> {
        let all = differences(record, goal).into_iter();
        all.map(|one| format!("{}: {}: {}", one.what, one.detail, one.needs)).collect()
    }

    #[test]
    fn nothing_changed_is_no_difference() {
        assert_eq!(shown(&record(&["python3"]), &goal(&["python3"])), Vec::<String>::new());
    }

    #[test]
    fn every_kind_says_what_it_takes() {
        let wants = Goal {
            cpus: 4,
            memory: ByteSize::from_gib(6),
            disk: ByteSize::from_gib(60),
            image_name: "ubuntu-24.04".into(),
            isolation: Isolation::Strict,
            env: [("A".to_string(), "1".to_string())].into(),
            access: "host_access, gitlab.corp:22".into(),
            ports: vec!["8080:80".parse().expect("a port")],
            ..goal(&["python3"])
        };
        let expected = [
            "image: debian-13 → ubuntu-24.04: rebuild",
            "isolation: standard → strict: rebuild",
            "cpus: 2 → 4: restart",
            "memory: 4 GiB → 6 GiB: restart",
            "disk: 40 GiB → 60 GiB: restart",
            "env: +A: re-provision",
            "access: closed → host_access, gitlab.corp:22: re-provision",
            "ports: +8080:80: re-provision",
        ];
        assert_eq!(shown(&record(&["python3"]), &wants), expected);
    }

    #[test]
    fn another_image_of_the_same_name_takes_a_fresh_machine() {
        let mut record = record(&["python3"]);
        let image = |location: &str| Goal {
            image: ImageSource { location: location.into(), digest: None, kernel: None },
            ..goal(&["python3"])
        };
        // A record that does not say which one it was.
        assert_eq!(shown(&record, &image("/other")), Vec::<String>::new());
        record.built.get_or_insert_default().image_origin = image("/i").image.origin();
        assert_eq!(shown(&record, &image("/i")), Vec::<String>::new());
        assert_eq!(shown(&record, &image("/other")), ["image: debian-13 → another one: rebuild"]);
    }

    #[test]
    fn what_the_record_keeps_is_named_and_the_rest_is_not_passed_over() {
        let idle = Some(Idle { after_seconds: 1800, action: crate::model::IdleAction::Down });
        let wants = Goal { forward_agent: true, idle, keep_awake: true, ..goal(&["python3"]) };
        let expected = [
            "forward_agent: false → true: re-provision",
            "idle: none → down after 30m: re-provision",
            "keep_awake: false → true: re-provision",
        ];
        assert_eq!(shown(&record(&["python3"]), &wants), expected);
        let host_agent = crate::record::HostAgent { pid: 1, since: 1 };
        let ready = |goal: &Goal| Some(Ready { host_agent: host_agent.clone(), wanted: goal.digest() });
        let as_left = MachineRecord { ready: ready(&goal(&["python3"])), ..record(&["python3"]) };
        assert_eq!(shown(&as_left, &goal(&["python3"])), Vec::<String>::new());
        let wants = Goal { secrets: Some("others".into()), ..goal(&["python3"]) };
        let expected = ["configuration: something else that the next `up` applies: re-provision"];
        assert_eq!(shown(&as_left, &wants), expected);
    }

    #[test]
    fn a_smaller_disk_takes_a_fresh_machine() {
        let wants = Goal { disk: ByteSize::from_gib(20), cpus: 4, ..goal(&["python3"]) };
        let expected = ["cpus: 2 → 4: restart", "disk: 40 GiB → 20 GiB: rebuild"];
        assert_eq!(shown(&record(&["python3"]), &wants), expected);
        let stops: Vec<bool> =
            differences(&record(&["python3"]), &wants).iter().map(Difference::stops_up).collect();
        assert_eq!(stops, [false, true]);
    }

    #[test]
    fn an_added_package_is_installed_and_a_removed_one_stays() {
        let added = shown(&record(&["python3"]), &goal(&["python3", "jq"]));
        assert_eq!(added, ["python: apt: python3, jq: re-provision"]);
        let removed = shown(&record(&["python3", "jq"]), &goal(&["python3"]));
        let expected = [
            "python: apt: python3: re-provision",
            "removed: apt jq: no longer listed, still installed: rebuild",
        ];
        assert_eq!(removed, expected);
    }

    #[test]
    fn what_stayed_is_remembered_until_it_is_wanted_again() {
        let mut record = record(&["python3"]);
        record.built.get_or_insert_default().left = vec!["apt jq".into()];
        assert_eq!(shown(&record, &goal(&["python3"])).len(), 1);
        let again = shown(&record, &goal(&["python3", "jq"]));
        assert_eq!(again, ["python: apt: python3, jq: re-provision"]);
    }
}
