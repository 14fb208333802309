//! What a guest does before it falls asleep and after it woke, and when it goes on from a warm box.
//!
//! Enters: the time, random bytes. Leaves: root's scripts for standard input, and the command lines that read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Root's script before a sleep; [`BEFORE_SLEEP_LINE`] reads it.
pub const BEFORE_SLEEP: &str = include_str!("../../templates/guest/before-sleep.sh");
/// Root's command line; safe for every login shell.
pub const BEFORE_SLEEP_LINE: &str = "bash -s sleep";
/// Root's script after waking; [`after_wake_line`] reads it.
pub const AFTER_WAKE: &str = include_str!("../../templates/guest/after-wake.sh");

/// Root's script before a memory is kept for others; [`BEFORE_WARM_LINE`] reads it.
pub const BEFORE_WARM: &str = include_str!("../../templates/guest/before-warm.sh");
/// Root's command line; safe for every login shell.
pub const BEFORE_WARM_LINE: &str = "bash -s warm";
const BECOME: &str = include_str!("../../templates/guest/become.sh");

/// Root's script that makes a machine of its own of one that went on from a warm box; [`become_line`] reads it. `seed` is
/// random bytes in hexadecimal digits, which go nowhere else.
pub fn become_script(seed: &str) -> String {
    format!("seed={seed}\n{BECOME}")
}

/// Root's command line that reads [`become_script`], and sets the guest's clock to `now`. Safe for every login shell.
pub fn become_line(now: SystemTime) -> String {
    format!("bash -s become {}", seconds(now))
}

/// Root's command line that reads [`AFTER_WAKE`], and sets the guest's clock to `now`. Safe for every login shell.
pub fn after_wake_line(now: SystemTime) -> String {
    format!("bash -s {}", seconds(now))
}

fn seconds(now: SystemTime) -> String {
    let since: Duration = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Interrupt, Runner};

    #[test]
    fn bash_parses_every_script_to_its_end() {
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        for script in [BEFORE_SLEEP, AFTER_WAKE, BEFORE_WARM, &become_script("0f")] {
            runner.read(&Cmd::new("bash").arg("-n").input(script)).expect("parsed");
        }
    }

    #[test]
    fn the_time_is_a_word_that_every_shell_leaves_alone() {
        let now = UNIX_EPOCH + Duration::new(1_795_715_434, 5_000);
        assert_eq!(after_wake_line(now), "bash -s 1795715434.000005000");
        assert_eq!(become_line(now), "bash -s become 1795715434.000005000");
    }
}
