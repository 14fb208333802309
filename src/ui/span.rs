//! Spans of time in words.
//!
//! Enters: seconds. Leaves: words that fit behind a sentence.

/// `for 7 h 59 min`; a span below a minute is one.
pub fn for_as_long(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60).max(1);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("for {minutes} min"),
        (hours, 0) => format!("for {hours} h"),
        (hours, minutes) => format!("for {hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::for_as_long;

    #[test]
    fn minutes_and_hours() {
        assert_eq!(
            [0, 61, 28_800, 28_799 - 60].map(for_as_long),
            ["for 1 min", "for 2 min", "for 8 h", "for 7 h 59 min"]
        );
    }
}
