//! `host_access`, `lan_access` and `allow`: what a machine may reach of the computer it runs on.
//!
//! Enters: values of a project's table. Leaves: flags and doors. A file in a repository opens nothing: whoever wrote it
//! does not know the computer that it lands on.

use super::project::Judge;
use super::walk::{Value, Walk};
use crate::model::Door;

/// Reads `host_access` or `lan_access`.
pub(super) fn read_opening(value: &Value<'_>, judge: Judge<'_>, walk: &mut Walk<'_>) -> Option<bool> {
    is_users_own(value, judge, walk).then(|| value.flag(walk)).flatten()
}

/// Reads `allow`.
pub(super) fn read_allow(value: &Value<'_>, judge: Judge<'_>, walk: &mut Walk<'_>) -> Option<Vec<Door>> {
    let expected = "a door such as `gitlab.corp:22` or `10.2.0.0/16`";
    let doors = is_users_own(value, judge, walk).then(|| value.parse_all(expected, walk))?;
    Some(doors.into_iter().map(|(door, _)| door).collect())
}

fn is_users_own(value: &Value<'_>, judge: Judge<'_>, walk: &mut Walk<'_>) -> bool {
    if judge.repository.is_some() {
        value.fault("what a machine may reach is yours to say: it belongs in your own projects.toml", walk);
    }
    judge.repository.is_none()
}
