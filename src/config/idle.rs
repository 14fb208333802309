//! The key `idle`: what becomes of a machine that nobody uses.
//!
//! Enters: the value of `idle`. Leaves: an `Idle`; asleep only where this computer's machines can sleep. Must not know
//! how idleness is judged.

use super::walk::{Schema, Table, Value, Walk};
use crate::model::{Host, Idle, IdleAction, IdleTime};

const IDLE: Schema = Schema { what: "`idle`", keys: &["after", "action"], later: &[], elsewhere: &[] };
const TIME: &str = "a time such as `30m`";
const ACTION: &str = "`sleep`, `down` or `none`";

/// Reads `idle`; `none` needs no time.
pub(super) fn read_idle(value: &Value<'_>, host: &Host, walk: &mut Walk<'_>) -> Option<Idle> {
    let table = value.table("a table such as `{ after = \"30m\", action = \"sleep\" }`", walk)?;
    table.check_keys(&IDLE, walk);
    let action = required(&table, "action", ACTION, value, walk)
        .and_then(|given| Some((given.parse::<IdleAction>(ACTION, walk)?, given)));
    if let Some((IdleAction::Sleep, given)) = &action
        && !host.can_sleep()
    {
        given.fault("sleeping needs QEMU, which runs machines on Linux only: `vz` has no such thing", walk);
        walk.problems.hint("`action = \"down\"` gives the memory back as well; the next start is a cold one");
        return None;
    }
    let action = action.map(|(action, _)| action);
    let after = match table.get("after") {
        None if action == Some(IdleAction::None) => Some(0),
        _ => required(&table, "after", TIME, value, walk)
            .and_then(|given| given.parse::<IdleTime>(TIME, walk))
            .map(IdleTime::seconds),
    };
    Some(Idle { after_seconds: after?, action: action? })
}

fn required<'t>(
    table: &Table<'t>,
    key: &str,
    expected: &str,
    whole: &Value<'_>,
    walk: &mut Walk<'_>,
) -> Option<Value<'t>> {
    let found = table.get(key);
    if found.is_none() {
        whole.fault(&format!("`{key}` is missing: {expected}"), walk);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;
    use crate::config::syntax::parse;
    use crate::config::testing::{host, judge};
    use crate::model::HostOs;

    /// What a value is read as, and the complaints about it.
    fn read(text: &str, os: HostOs) -> (Option<Idle>, String) {
        let host = Host { os, ..host() };
        let mut found = None;
        let complaints = judge(&format!("idle = {text}"), |source: &Source, problems| {
            let mut walk = Walk { source, problems: std::mem::take(problems) };
            if let Some(tree) = parse(source, &mut walk.problems) {
                let value = Table::root(&tree).get("idle").expect("the key");
                found = read_idle(&value, &host, &mut walk);
            }
            *problems = walk.problems;
        });
        (found, complaints)
    }

    #[test]
    fn a_time_and_an_action() {
        let idle = |after_seconds, action| (Some(Idle { after_seconds, action }), String::new());
        let sleep = "{ after = \"30m\", action = \"sleep\" }";
        assert_eq!(read(sleep, HostOs::Linux), idle(1800, IdleAction::Sleep));
        for os in [HostOs::Linux, HostOs::MacOs] {
            assert_eq!(read("{ after = \"2h\", action = \"down\" }", os), idle(7200, IdleAction::Down));
            assert_eq!(read("{ action = \"none\" }", os), idle(0, IdleAction::None));
        }
    }

    #[test]
    fn a_mac_says_what_it_cannot_do() {
        let (found, complaint) = read("{ after = \"30m\", action = \"sleep\" }", HostOs::MacOs);
        assert_eq!(found, None);
        assert!(complaint.contains("idle.action: sleeping needs QEMU"), "{complaint}");
        assert!(complaint.contains("action = \"down\""), "{complaint}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str, words: &str| {
            let (found, complaint) = read(text, HostOs::Linux);
            assert_eq!(found, None, "{text}");
            assert!(complaint.contains(words), "{text}: {complaint}");
        };
        said("true", "idle: expected a table such as");
        said("{ after = \"30m\" }", "idle: `action` is missing");
        said("{ action = \"sleep\" }", "idle: `after` is missing");
        said("{ after = 30, action = \"sleep\" }", "idle.after: expected a time such as `30m`, got `30`");
        said("{ after = \"soon\", action = \"sleep\" }", "idle.after: expected a time");
        said(
            "{ after = \"30m\", action = \"nap\" }",
            "idle.action: expected `sleep`, `down` or `none`, got `nap`",
        );
        let (_, complaint) = read("{ after = \"30m\", action = \"down\", acton = 1 }", HostOs::Linux);
        assert!(complaint.contains("did you mean `action`"), "{complaint}");
    }
}
