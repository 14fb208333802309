//! What a guest has of its host without asking for it: files, names, variables, a way to the terminal.
//!
//! Enters: the guest's answer and Lima's settings. Leaves: judgements. Every one needs something that must be in the
//! answer: an empty one is no good news.

use super::Judgement;
use super::observed::Observed;
use crate::model::{Isolation, Proxy};

/// Filesystems that come from the host.
const SHARED: [&str; 4] = ["9p", "virtiofs", "fuse.sshfs", "vboxsf"];

pub(super) fn files(seen: &Observed) -> Judgement {
    let mounts = seen.settings.config.get("mounts").and_then(serde_json::Value::as_array);
    if let Some(mount) = mounts.and_then(|mounts| mounts.first()) {
        return Judgement::failed(format!("Lima mounts {}", mount.get("location").unwrap_or(mount)));
    }
    let all = &seen.guest.mounts;
    if let Some((kind, at)) = all.iter().find(|(kind, _)| SHARED.contains(&kind.as_str())) {
        return Judgement::failed(format!("the guest has a `{kind}` filesystem at `{at}`"));
    }
    if !all.iter().any(|(_, at)| at == "/") {
        return Judgement::not_probed("the guest did not say what is mounted");
    }
    Judgement::closed(format!("no folder of this computer is among the guest's {} filesystems", all.len()))
}

pub(super) fn identity(seen: &Observed) -> Judgement {
    let (account, hostname) = (&seen.guest.account, &seen.guest.hostname);
    if account.is_empty() || hostname.is_empty() {
        return Judgement::not_probed("the guest did not say who it is");
    }
    // Its full name, which a user of the host would have there, is empty.
    if !account.starts_with("dev:x:1000:1000::/home/dev:") {
        return Judgement::failed(format!("the guest's user is not the one that was asked for: `{account}`"));
    }
    Judgement::crosses(format!(
        "the guest is called `{hostname}`, its user `dev`: the project's name, nothing of yours"
    ))
}

pub(super) fn environment(seen: &Observed) -> Judgement {
    let variables = &seen.guest.variables;
    if !variables.lines().any(|line| line == "HOME=/home/dev") {
        return Judgement::not_probed("the guest did not say what its environment is");
    }
    if let Some(found) = seen.private.iter().find(|private| variables.contains(&private.text)) {
        return Judgement::failed(format!("{} is in the guest's environment", found.what));
    }
    let is_proxy = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default().to_ascii_lowercase();
        name.ends_with("_proxy") && name != "no_proxy" && !line.ends_with('=')
    };
    match variables.lines().filter(is_proxy).find_map(|line| line.split_once('=')) {
        Some((name, value)) if is_named(seen, value) => Judgement::crosses(format!(
            "the guest knows the proxy of your config.toml, `{value}`, by `{name}`; nothing else of this computer's environment"
        )),
        Some((name, _)) => Judgement::crosses(format!(
            "the guest has a proxy of its own, in `{name}`; it is not this computer's"
        )),
        None => Judgement::closed("nothing of this computer's environment or proxies is in the guest's"),
    }
}

/// Whether a door is open to this proxy.
fn is_named(seen: &Observed, value: &str) -> bool {
    value.parse().is_ok_and(|proxy: Proxy| seen.stated.doors.contains(&proxy.door().to_string()))
}

/// Whether the login user is root, or as good as that.
pub(super) fn root(seen: &Observed) -> Judgement {
    let ways = seen.guest.ways.join(", ");
    if seen.guest.account.is_empty() {
        return Judgement::not_probed("the guest did not say who it is");
    }
    match (seen.stated.isolation, ways.is_empty()) {
        (Isolation::Strict, false) => {
            Judgement::failed(format!("the login user is as good as root in the guest, by: {ways}"))
        }
        (Isolation::Strict, true) => Judgement::closed(
            "the login user is not root in the guest: neither `sudo` nor Docker's socket made it that, and the floor's \
             and sshd's files are not its own",
        ),
        (Isolation::Standard, false) => Judgement::crosses(format!(
            "the login user is root in the guest, by: {ways}; `isolation = \"strict\"` makes machines without that"
        )),
        (Isolation::Standard, true) => Judgement::closed("the login user was not root in the guest"),
    }
}

pub(super) fn x11(seen: &Observed) -> Judgement {
    let ssh =
        |key: &str| seen.settings.config.pointer(&format!("/ssh/{key}")).and_then(serde_json::Value::as_bool);
    let asked = ["forwardX11", "forwardX11Trusted"].into_iter().find(|key| ssh(key) == Some(true));
    if let Some(key) = asked {
        return Judgement::failed(format!("Lima forwards X11: `ssh.{key}`"));
    }
    if seen.guest.variables.lines().any(|line| line.starts_with("DISPLAY=")) {
        return Judgement::failed("a session in the guest has a display");
    }
    match seen.ssh_option("forwardx11") {
        Some("no") => Judgement::closed("neither Lima's settings nor `ssh machine-…` forward it"),
        Some(other) => Judgement::failed(format!("`ssh machine-…` has ForwardX11 {other}")),
        None => Judgement::not_probed("your ssh does not know this machine's host"),
    }
}

pub(super) fn terminal(seen: &Observed) -> Judgement {
    let steers = |text: &str| text.chars().any(char::is_control);
    if !steers(&seen.guest.escape) {
        return Judgement::not_probed("the guest's escape sequences did not arrive");
    }
    if steers(&seen.cleaned) {
        return Judgement::failed("an escape sequence of the guest would reach your terminal");
    }
    Judgement::crosses(
        "raw in `ssh` and `run`, as with any ssh; cleaned in everything that `machine` says, as was tried",
    )
}
