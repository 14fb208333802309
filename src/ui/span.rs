//! Spans of time in words.
//!
//! Enters: seconds. Leaves: words that fit behind a sentence.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `for 7 h 59 min`; a span below a minute is one.
pub fn for_as_long(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60).max(1);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("for {minutes} min"),
        (hours, 0) => format!("for {hours} h"),
        (hours, minutes) => format!("for {hours} h {minutes} min"),
    }
}

/// How long ago a time is, which is in seconds since 1970: `5 minutes ago`.
pub fn ago(then: u64) -> String {
    let then = UNIX_EPOCH + Duration::from_secs(then);
    match SystemTime::now().duration_since(then).unwrap_or_default().as_secs() {
        0..=119 => "just now".into(),
        passed @ 120..=7_199 => format!("{} minutes ago", passed / 60),
        passed @ 7_200..=172_799 => format!("{} hours ago", passed / 3600),
        passed => format!("{} days ago", passed / 86_400),
    }
}

/// `45 s`, `30 min`, `2 h`, `3 d`, rounded down.
pub fn briefly(seconds: u64) -> String {
    match seconds {
        0 => "0 min".into(),
        1..60 => format!("{seconds} s"),
        60..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::{briefly, for_as_long};

    #[test]
    fn a_few_characters_are_enough() {
        let spans = [0, 45, 90, 7_199, 7_200, 172_800].map(briefly);
        assert_eq!(spans, ["0 min", "45 s", "1 min", "119 min", "2 h", "2 d"]);
    }

    #[test]
    fn minutes_and_hours() {
        assert_eq!(
            [0, 61, 28_800, 28_799 - 60].map(for_as_long),
            ["for 1 min", "for 2 min", "for 8 h", "for 7 h 59 min"]
        );
    }
}
