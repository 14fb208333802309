//! Whether open sessions may end: a verb that would cut them off asks first.
//!
//! Enters: a machine and the verb. Leaves: an agreement, or exit code 4 where nobody can be asked.

use std::time::Duration;

use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::record::open_sessions;

/// A verb that ends sessions.
pub struct Ending<'a> {
    /// The machine.
    pub name: &'a str,
    /// The verb, for the hint.
    pub verb: &'a str,
    /// What is asked.
    pub question: &'a str,
    /// `--force`.
    pub force: bool,
}

/// Lists the sessions that are open on a machine and asks, unless there are none or the option has answered.
///
/// # Errors
/// When the answer is no, or nobody can be asked (exit code 4). Nothing has ended then.
pub fn agree_to_end_sessions(context: &Context, ending: &Ending) -> Result<()> {
    let Ending { name, verb, question, force } = ending;
    let mut open = open_sessions(&context.layout, name);
    // An ssh that has just ended may still have its ProxyCommand for a moment.
    for _ in 0..10 {
        if *force || open.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        open = open_sessions(&context.layout, name);
    }
    if *force || open.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = open.iter().map(|session| format!("  {}", session.label)).collect();
    context.ui.say(&format!("these sessions are open on `{name}`:\n{}", list.join("\n")));
    match context.ui.confirm(question, false) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::operation(format!("`{name}` stays as it is"))),
        None => Err(Failure::new(Kind::Busy, format!("`{name}` has open sessions"))
            .hint(format!("end them, or: `machine {verb} {name} --force`"))),
    }
}
