//! The key `ports`: which ports of the guest appear on the host's 127.0.0.1.
//!
//! Enters: the value of `ports`. Leaves: forwards, each port of the host and of the guest once. Must not know who listens.

use super::walk::{Value, Walk};
use crate::model::PortForward;

const EXPECTED: &str = "a port such as `3000`, or `\"8080:80\"` for HOST:GUEST";

/// Reads `ports`; `None` when that is no list.
pub(super) fn read_ports(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Vec<PortForward>> {
    let mut found: Vec<(PortForward, Value<'_>)> = Vec::new();
    for item in value.items("a list of ports such as `[3000, \"8080:80\"]`", walk)? {
        let Some(port) = read_port(&item, walk) else { continue };
        match found.iter().find_map(|(earlier, at)| Some((clash(*earlier, port)?, at))) {
            Some((clash, at)) => {
                let (line, column) = walk.source.position(at.span.start);
                item.fault(&format!("{clash} is declared at {line}:{column} already"), walk);
            }
            None => found.push((port, item)),
        }
    }
    Some(found.into_iter().map(|(port, _)| port).collect())
}

/// What two forwards cannot both have. Lima leads each port of the guest to one of the host's only (hostagent/port.go,
/// `forwardingAddresses`: the first rule that matches).
fn clash(earlier: PortForward, later: PortForward) -> Option<String> {
    if earlier.host == later.host {
        return Some(format!("port {} of this computer", later.host));
    }
    (earlier.guest == later.guest).then(|| format!("port {} of the guest", later.guest))
}

fn read_port(item: &Value<'_>, walk: &mut Walk<'_>) -> Option<PortForward> {
    if item.as_text().is_some() {
        return item.parse(EXPECTED, walk);
    }
    match item.integer(EXPECTED, walk)?.to_string().parse() {
        Ok(port) => Some(port),
        Err(refused) => {
            walk.problems.refuse(item.span.clone(), &item.name, &refused);
            None
        }
    }
}
