//! The key `allow`: what a machine may reach of the computer it runs on and of the networks around it.
//!
//! Enters: the value of `allow`. Leaves: doors. Must not know whose file it is; `standing` does.

use super::walk::{Value, Walk};
use crate::model::Door;

/// Reads `allow`.
pub(super) fn read_allow(value: &Value<'_>, walk: &mut Walk<'_>) -> Vec<Door> {
    let doors: Vec<(Door, _)> = value.parse_all("a door such as `gitlab.corp:22` or `10.2.0.0/16`", walk);
    for (door, span) in &doors {
        if let Some(host) = door.instead() {
            let sentence = format!(
                "`{door}` leads nowhere: in a machine, this computer is `{}`; did you mean `{host}`?",
                host.place
            );
            walk.problems.add(span.clone(), sentence);
        }
    }
    doors.into_iter().map(|(door, _)| door).collect()
}
