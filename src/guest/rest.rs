//! What a guest does before it falls asleep and after it woke.
//!
//! Enters: the time. Leaves: root's scripts for standard input, and the command lines that read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Root's script before a sleep; [`BEFORE_SLEEP_LINE`] reads it.
pub const BEFORE_SLEEP: &str = include_str!("../../templates/guest/before-sleep.sh");
/// Safe for every login shell.
pub const BEFORE_SLEEP_LINE: &str = "sudo -n bash -s sleep";
/// Root's script after waking; [`after_wake_line`] reads it.
pub const AFTER_WAKE: &str = include_str!("../../templates/guest/after-wake.sh");

/// The command line that reads [`AFTER_WAKE`], and sets the guest's clock to `now`. Safe for every login shell.
pub fn after_wake_line(now: SystemTime) -> String {
    let since: Duration = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("sudo -n bash -s {}.{:09}", since.as_secs(), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_a_word_that_every_shell_leaves_alone() {
        let now = UNIX_EPOCH + Duration::new(1_795_715_434, 5_000);
        assert_eq!(after_wake_line(now), "sudo -n bash -s 1795715434.000005000");
    }
}
