//! Asks a key's owner, by the program that ssh itself would ask with.
//!
//! Enters: a question. Leaves: yes, or why not. Never on the terminal: there the guest has the word.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::policy::Refusal;
use crate::model::KeyAsk;
use crate::process::{Cmd, Runner};

/// How long the owner has.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks, and remembers to what the owner said yes.
pub(super) struct Asker {
    runner: Runner,
    confirmed: Mutex<BTreeSet<String>>,
}

impl Asker {
    pub fn new(runner: Runner) -> Self {
        Self { runner, confirmed: Mutex::default() }
    }

    /// Asks `question` by `program`, as often as `ask` wants it.
    pub fn confirm(&self, ask: KeyAsk, program: Option<&Cmd>, question: &str) -> Result<(), Refusal> {
        let confirmed = || self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if ask == KeyAsk::Never || (ask == KeyAsk::First && confirmed().contains(question)) {
            return Ok(());
        }
        let cmd = program.ok_or(Refusal::NobodyToAsk)?.clone().arg(question).own_group().time_limit(PATIENCE);
        let answer = self.runner.read_any_status(&cmd).map_err(|_unasked| Refusal::Declined)?;
        if !answer.status.success() {
            return Err(Refusal::Declined);
        }
        confirmed().insert(question.to_string());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Interrupt;

    #[test]
    fn the_owner_is_asked_as_often_as_wanted() {
        let asker = Asker::new(Runner::new(
            vec![("PATH".into(), "/usr/bin:/bin".into())],
            Interrupt::default(),
            None,
        ));
        let (yes, no) = (Cmd::new("true"), Cmd::new("false"));
        let confirm = |ask, program| asker.confirm(ask, program, "May it?");
        assert_eq!(confirm(KeyAsk::Never, None), Ok(()));
        assert_eq!(confirm(KeyAsk::First, None), Err(Refusal::NobodyToAsk));
        assert_eq!(confirm(KeyAsk::First, Some(&no)), Err(Refusal::Declined));
        assert_eq!(confirm(KeyAsk::First, Some(&yes)), Ok(()));
        assert_eq!(confirm(KeyAsk::First, Some(&no)), Ok(()));
        assert_eq!(confirm(KeyAsk::Always, Some(&no)), Err(Refusal::Declined));
        assert_eq!(confirm(KeyAsk::Always, Some(&Cmd::new("no-such-program"))), Err(Refusal::Declined));
    }
}
