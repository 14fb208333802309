//! What the user gives a machine beyond what all have: secrets, and a yes to what a repository's file asks for.
//!
//! Enters: the configuration's word and what was seen. Leaves: judgements.

use super::Judgement;
use super::observed::{Observed, TrustSeen};
use crate::guest::Place;

/// What the memory file system of secrets must be mounted with.
const OPTIONS: [&str; 3] = ["nosuid", "nodev", "noexec"];

pub(super) fn secrets(seen: &Observed) -> Judgement {
    let (Some(place), Some(stated)) = (&seen.guest.secrets, &seen.secrets) else {
        return Judgement::not_probed(
            "the guest, or your projects.toml, did not say which secrets there are",
        );
    };
    if let Some(name) = exported_unasked(seen, stated) {
        return Judgement::failed(format!(
            "`{name}` is a variable of every session, without `export = true`"
        ));
    }
    let Place::Folder { kind, options, access, count, others, swaps } = place else {
        return match stated.len() {
            0 => Judgement::closed("this project has no secrets, and the guest has nothing at /run/secrets"),
            all => Judgement::not_probed(format!("the guest has none of its {all} secrets at the moment")),
        };
    };
    let has = |option: &str| options.iter().any(|found| found == option);
    let lacks = OPTIONS.into_iter().find(|option| !has(option));
    let wrong = if kind != "tmpfs" {
        Some(format!("is no memory file system: `{kind}`"))
    } else if access != "700 dev" || *others == Some(true) {
        Some(format!("can be entered by others: `{access}`"))
    } else if *swaps && !has("noswap") {
        Some("may be written to the guest's swap space".into())
    } else {
        lacks.map(|option| format!("is mounted without `{option}`"))
    };
    if let Some(wrong) = wrong {
        return Judgement::failed(format!("/run/secrets {wrong}"));
    }
    let exported = stated.iter().filter(|(_, is_exported)| *is_exported).count();
    Judgement::crosses(format!(
        "{count} in a memory file system that the guest's user and root alone enter; {exported} of them for the \
         environment of sessions"
    ))
}

/// A secret that is a variable in the guest, though that was not asked for.
fn exported_unasked<'a>(seen: &Observed, stated: &'a [(String, bool)]) -> Option<&'a str> {
    let is_variable = |name: &str| {
        let is_it = |line: &str| line.split_once('=').is_some_and(|(found, _)| found == name);
        seen.guest.variables.lines().any(is_it)
    };
    let mut names = stated.iter().filter(|(_, is_exported)| !is_exported).map(|(name, _)| name.as_str());
    names.find(|name| is_variable(name))
}

pub(super) fn repository_file(seen: &Observed) -> Judgement {
    match &seen.trust {
        TrustSeen::Own => {
            Judgement::closed("the project is in a file of your own: no repository's file has a say")
        }
        TrustSeen::Inert => Judgement::closed(
            "the repository's file asks for nothing beyond this machine; more would be asked first",
        ),
        TrustSeen::Allowed { keys } => Judgement::open(
            &keys.join(", "),
            &seen.stated.file,
            "a file of the repository, which you have allowed; `machine trust list` shows it",
        ),
        TrustSeen::Asking { keys, lent: true } => Judgement::failed(format!(
            "the repository's file asks for {}, nobody has said yes, and the agent is lent",
            keys.join(", ")
        )),
        TrustSeen::Asking { keys, .. } => Judgement::closed(format!(
            "the repository's file asks for {}, which `up` refuses until you have said yes",
            keys.join(", ")
        )),
        TrustSeen::Damaged(why) => Judgement::failed(why.clone()),
        TrustSeen::Unknown(why) => Judgement::not_probed(why.clone()),
    }
}
