//! What becomes of a machine that nobody uses: after how long, and what.
//!
//! Enters: text such as `30m` and `sleep`. Leaves: values. Knows no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hold_time::parse_time;
use super::refused::{Refused, shown};

/// Longer is no rest any more: `machine prune` is for machines that were left.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// `idle` of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Seconds without anybody or anything at work in it; at least 1.
    pub after_seconds: u64,
    /// What happens then.
    pub action: IdleAction,
}

/// `idle.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdleAction {
    /// As `machine sleep`; where QEMU runs machines.
    Sleep,
    /// As `machine down`.
    Down,
    /// Nothing: takes back what `[defaults]` says.
    None,
}

/// How long; one second to 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTime(Duration);

impl Idle {
    /// How long a machine has to be idle.
    pub const fn after(self) -> Duration {
        Duration::from_secs(self.after_seconds)
    }
}

impl IdleTime {
    /// In whole seconds.
    pub const fn seconds(self) -> u64 {
        self.0.as_secs()
    }
}

impl FromStr for IdleTime {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let time = parse_time(text, &[("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)], LONGEST);
        time.map(Self).ok_or_else(|| {
            let shown = shown(text);
            Refused::new(format!("expected a time such as `30m` or `2h`, `30d` at most, got `{shown}`"))
        })
    }
}

impl FromStr for IdleAction {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        match text {
            "sleep" => Ok(Self::Sleep),
            "down" => Ok(Self::Down),
            "none" => Ok(Self::None),
            other => {
                let shown = shown(other);
                Err(Refused::new(format!("expected `sleep`, `down` or `none`, got `{shown}`")))
            }
        }
    }
}

impl fmt::Display for IdleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sleep => "sleep",
            Self::Down => "down",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        let seconds = |text: &str| text.parse::<IdleTime>().map(IdleTime::seconds).ok();
        assert_eq!((seconds("90s"), seconds("30m"), seconds("2h"), seconds("30d")), {
            (Some(90), Some(1800), Some(7200), Some(2_592_000))
        });
        for bad in ["", "30", "0m", "-1m", "1.5h", "30 m", "31d", "m", "30M", "99999999999999999999h"] {
            let refused = bad.parse::<IdleTime>().expect_err("refused").to_string();
            assert!(refused.ends_with(&format!("got `{bad}`")), "{refused}");
        }
    }

    #[test]
    fn an_action_reads_as_it_is_written() {
        for action in [IdleAction::Sleep, IdleAction::Down, IdleAction::None] {
            assert_eq!(action.to_string().parse(), Ok(action));
        }
        assert!("hibernate".parse::<IdleAction>().is_err());
    }
}
