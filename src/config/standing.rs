//! What each key may do in a repository's file: load by itself, ask first, or not be there at all.
//!
//! Enters: a table of such a file. Leaves: what it asks for, and a problem for every key that is the user's to give.
//! Must not know what is trusted. A new key needs a line here.

use super::project::{Draft, Judge};
use super::stack::is_bundled;
use super::walk::{Table, Walk};
use super::{Image, Provision};
use crate::model::{Ask, ProfileName, shown};

/// What a key may do; `F` is how it is told what a value asks for.
///
/// A KEY WITHOUT A LINE in the tables below fails a unit test. `Inert` is what reaches nothing but the project's own
/// machine, which holds nothing of the user's. `Asks` reaches further; its function says in a few words what saying yes
/// would mean, one sentence for each thing, none where the value is harmless. `UserOnly` is what names or grants
/// something of the user's own.
#[derive(Clone, Copy)]
pub(super) enum Standing<F> {
    /// Loads by itself.
    Inert,
    /// Loads once the user has said yes.
    Asks(F),
    /// Belongs in the user's own file.
    UserOnly,
}

use Standing::{Asks, Inert, UserOnly};

type OfProject = Standing<fn(&Draft, Judge<'_>) -> Vec<String>>;
type OfProvision = Standing<fn(&Provision) -> Vec<String>>;

/// The keys of a project, also those that have no effect yet.
pub(super) const PROJECT_KEYS: &[(&str, OfProject)] = &[
    ("repos", Asks(other_repositories)),
    ("profiles", Asks(|draft, _| own_profiles(draft.profiles.iter().flatten().map(|(name, _)| name)))),
    ("cpus", Asks(cpus_above_cap)),
    ("memory", Asks(memory_above_cap)),
    ("disk", Asks(disk_above_cap)),
    ("shell", Inert),
    ("env", Inert),
    // Without it there is more that the guest may do in itself, not less.
    ("isolation", Inert),
    ("ports", Asks(ports)),
    ("setup", Inert),
    ("forward_agent", Asks(agent)),
    ("image", Asks(|draft, _| image(draft.image.as_ref()))),
    ("allow", UserOnly),
    ("host_access", UserOnly),
    ("idle", UserOnly),
    ("keep_awake", UserOnly),
    ("lan_access", UserOnly),
    ("secrets", UserOnly),
    ("git", UserOnly),
];

/// Keys that only shape a machine: the user's own table may set them over any repository's. Values of `env` may be secret.
const SHAPES: [&str; 8] = ["profiles", "cpus", "memory", "disk", "shell", "setup", "isolation", "image"];

/// The keys of provision.toml and of profiles, whose scripts run in the project's own machine.
pub(super) const PROVISION_KEYS: &[(&str, OfProvision)] = &[
    ("description", Inert),
    ("requires", Asks(|provision| own_profiles(provision.profile.requires.iter()))),
    ("apt", Inert),
    ("npm", Inert),
    ("uv", Inert),
    ("path", Inert),
    ("env", Inert),
    ("script", Inert),
    ("user_script", Inert),
    ("check", Inert),
    ("max_age", Inert),
    ("apt_repo", Inert),
    ("download", Inert),
    ("image", Asks(|provision| image(provision.image.as_ref()))),
    ("base", Inert),
];

/// Complains about what is the user's to give.
pub(super) fn refuse(table: &Table<'_>, walk: &mut Walk<'_>) {
    for (key, value) in table.entries().into_iter().filter(|(key, _)| is_user_only(key)) {
        let sentence = format!("`{key}` is not a repository's to give: it belongs in your own projects.toml");
        walk.problems.add_untrusted(value.key_span, sentence);
        walk.problems.hint(
            "a table of the same name without `repos` in your own projects.toml lies over the repository's",
        );
    }
}

/// Whether a key is never a repository's.
pub(super) fn is_user_only(key: &str) -> bool {
    PROJECT_KEYS.iter().any(|(known, standing)| *known == key && matches!(standing, UserOnly))
}

/// Whether a key of the user's own table gives the repository below it something: then that is asked, too.
pub(super) fn is_gift(key: &str) -> bool {
    !SHAPES.contains(&key)
}

/// What a table of a repository's projects.toml asks for.
pub(super) fn asks_of(draft: &Draft, judge: Judge<'_>) -> Vec<Ask> {
    let of = |key: &'static str, standing: &OfProject| match standing {
        Asks(told) if draft.has(key) => told(draft, judge),
        _ => Vec::new(),
    };
    collect(PROJECT_KEYS, of)
}

/// What a repository's provision.toml asks for.
pub(super) fn asks_of_provision(provision: &Provision) -> Vec<Ask> {
    let of = |_: &'static str, standing: &OfProvision| match standing {
        Asks(told) => told(provision),
        _ => Vec::new(),
    };
    collect(PROVISION_KEYS, of)
}

fn collect<S>(
    table: &'static [(&'static str, S)],
    told: impl Fn(&'static str, &S) -> Vec<String>,
) -> Vec<Ask> {
    let of = |(key, standing): &'static (&'static str, S)| {
        told(key, standing).into_iter().map(|what| Ask { key, what }).collect::<Vec<_>>()
    };
    table.iter().flat_map(of).collect()
}

fn other_repositories(draft: &Draft, judge: Judge<'_>) -> Vec<String> {
    let own = judge.repository.and_then(|repository| repository.origin.as_ref());
    let address = |url: &crate::model::RepoUrl| (url.normalised(), url.port());
    let others = draft.repos.iter().flatten().filter(|repo| own.map(address) != Some(address(&repo.url)));
    others.map(|repo| format!("`{}` is cloned, with what your ssh-agent may read", repo.url)).collect()
}

fn own_profiles<'p>(names: impl Iterator<Item = &'p ProfileName>) -> Vec<String> {
    let own = names.filter(|name| !is_bundled(name));
    own.map(|name| format!("the profile `{name}` is the repository's own, not one of `machine`")).collect()
}

fn cpus_above_cap(draft: &Draft, judge: Judge<'_>) -> Vec<String> {
    let cap = judge.caps.cpus(judge.host);
    let above = draft.cpus.filter(|cpus| *cpus > cap);
    above.map(|cpus| format!("{cpus} processors are more than the {cap} of your caps")).into_iter().collect()
}

fn memory_above_cap(draft: &Draft, judge: Judge<'_>) -> Vec<String> {
    let cap = judge.caps.memory(judge.host);
    let above = draft.memory.filter(|memory| *memory > cap);
    above
        .map(|size| format!("{} are more than the {} of your caps", size.human(), cap.human()))
        .into_iter()
        .collect()
}

fn disk_above_cap(draft: &Draft, judge: Judge<'_>) -> Vec<String> {
    let cap = judge.caps.disk();
    let above = draft.disk.filter(|disk| *disk > cap);
    above
        .map(|size| format!("{} are more than the {} of your caps", size.human(), cap.human()))
        .into_iter()
        .collect()
}

fn ports(draft: &Draft, _: Judge<'_>) -> Vec<String> {
    let ports = draft.ports.iter().flatten();
    ports
        .map(|port| format!("port {} of this computer leads to port {} of the guest", port.host, port.guest))
        .collect()
}

fn agent(draft: &Draft, _: Judge<'_>) -> Vec<String> {
    let lent = draft.forward_agent == Some(true);
    lent.then(|| "clones and sessions may use your ssh-agent".to_owned()).into_iter().collect()
}

fn image(image: Option<&Image>) -> Vec<String> {
    match image {
        Some(Image::Named(name)) => {
            vec![format!("the machine is made from the image `{}`", shown(&name.to_string()))]
        }
        // A location in a repository's file is an error already.
        Some(Image::Custom(_)) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::profile::{PROFILE, PROVISION};
    use crate::config::project::PROJECT;

    #[test]
    fn every_key_has_its_standing() {
        let known: Vec<&str> = PROJECT_KEYS.iter().map(|(key, _)| *key).collect();
        for key in PROJECT.keys {
            assert!(known.contains(key), "say in PROJECT_KEYS what `{key}` may do in a repository's file");
        }
        for key in &known {
            assert!(
                PROJECT.keys.contains(key) || PROJECT.later.contains(key),
                "`{key}` is no key of a project"
            );
        }
        let known: Vec<&str> = PROVISION_KEYS.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            known, PROVISION.keys,
            "say in PROVISION_KEYS what a new key may do in a repository's file"
        );
        assert!(PROFILE.keys.iter().all(|key| known.contains(key)));
    }
}
