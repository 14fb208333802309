//! The table: every channel between host and guest, and what judges it.
//!
//! Enters: observations. Leaves: one line a channel, in the order of the table, whatever was seen or not.

use super::observed::Observed;
use super::{Judgement, Line, engine, given, guest, host, network};

type Judge = fn(&Observed) -> Judgement;

/// The channels; their names are part of `--json` and stay.
const CHANNELS: [(&str, Judge); 26] = [
    ("files", guest::files),
    ("lima-settings", host::settings),
    ("lima-data", host::cidata),
    ("identity", guest::identity),
    ("environment", guest::environment),
    ("guest-root", guest::root),
    ("agent-in-a-session", host::agent_in_session),
    ("agent-at-rest", host::agent_at_rest),
    ("lima-connection", host::lima_master),
    ("secrets", given::secrets),
    ("repository-file", given::repository_file),
    ("host-127.0.0.1", network::loopback4),
    ("host-::1", network::loopback6),
    ("host-address", network::address4),
    ("host-address-v6", network::address6),
    ("lan", network::lan),
    ("cloud-metadata", network::metadata),
    ("other-machines", network::neighbours),
    ("dns", network::dns),
    ("guest-ports", host::guest_ports),
    ("host-key", host::host_key),
    ("ssh-options", host::ssh_options),
    ("x11", guest::x11),
    ("terminal", guest::terminal),
    ("host-files", host::modes),
    ("hypervisor", engine::judge),
];

/// Channels that no probe can speak for, and why.
const UNPROBED: [(&str, &str); 1] = [(
    "editors",
    "what an editor does over Remote-SSH is the editor's: a hostile guest can run code on its side, and it forwards \
     ports by itself",
)];

/// Judges everything.
pub fn assess(observed: &Observed) -> Vec<Line> {
    let probed = CHANNELS.iter().map(|(channel, judge)| Line { channel, judgement: judge(observed) });
    let rest = UNPROBED.iter().map(|(channel, why)| Line { channel, judgement: Judgement::not_probed(*why) });
    probed.chain(rest).collect()
}

#[cfg(test)]
#[path = "channels_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "standing_tests.rs"]
mod standing_tests;
