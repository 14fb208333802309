//! For how long the agent is held, in minutes, hours or days.
//!
//! Enters: text such as `8h`. Leaves: a time. Knows no clock.

use std::str::FromStr;
use std::time::Duration;

use super::refused::{Refused, shown};

/// A week: longer is no hold any more but a habit.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// How long; at least a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTime(Duration);

impl HoldTime {
    /// The time.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for HoldTime {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let time = parse_time(text, &[("m", 60), ("h", 3600), ("d", 86_400)], LONGEST);
        time.map(Self).ok_or_else(|| {
            Refused::new(format!(
                "expected a time such as `30m` or `8h`, `7d` at most, got `{}`",
                shown(text)
            ))
        })
    }
}

/// Reads a whole number above zero with one of the units, each with its seconds.
pub(super) fn parse_time(text: &str, units: &[(&str, u64)], longest: Duration) -> Option<Duration> {
    let read = |(unit, seconds): &(&str, u64)| {
        let digits = text.strip_suffix(unit)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count: u64 = digits.parse().ok().filter(|_| is_number)?;
        Some(Duration::from_secs(count.checked_mul(*seconds)?))
    };
    units.iter().find_map(read).filter(|time| !time.is_zero() && *time <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_hours_and_days_up_to_a_week() {
        let seconds = |text: &str| text.parse::<HoldTime>().map(|time| time.duration().as_secs()).ok();
        assert_eq!((seconds("90m"), seconds("8h"), seconds("7d")), (Some(5400), Some(28_800), Some(604_800)));
        for bad in [
            "",
            "h",
            "0h",
            "8",
            "-1h",
            "+1h",
            "1.5h",
            "8 h",
            "8H",
            "8d",
            "169h",
            "99999999999999999999m",
            "٣h",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
