//! How old something may become, in days.
//!
//! Enters: text such as `30d`. Leaves: a number of days. Knows no clock.

use std::str::FromStr;

use super::refused::{Refused, shown};

/// Ten years: older than any box will be.
const LONGEST_DAYS: u64 = 3650;

/// After how many days a box is called old; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaxAge(u64);

impl MaxAge {
    /// What counts where no profile says otherwise.
    pub const DEFAULT: Self = Self(30);

    /// The days.
    pub const fn days(self) -> u64 {
        self.0
    }
}

impl FromStr for MaxAge {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let digits = text.strip_suffix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let days = digits.and_then(|digits| digits.parse().ok());
        days.filter(|days| (1..=LONGEST_DAYS).contains(days)).map(Self).ok_or_else(|| {
            let shown = shown(text);
            Refused::new(format!("expected days, `1d` to `{LONGEST_DAYS}d`, such as `30d`, got `{shown}`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MaxAge;

    #[test]
    fn days_only() {
        assert_eq!("30d".parse::<MaxAge>().unwrap(), MaxAge::DEFAULT);
        assert_eq!(
            ("1d".parse::<MaxAge>().unwrap().days(), "3650d".parse::<MaxAge>().unwrap().days()),
            (1, 3650)
        );
        for text in [
            "",
            "d",
            "0d",
            "30",
            "-1d",
            "+1d",
            "1.5d",
            "30D",
            "30 d",
            "3651d",
            "2w",
            "99999999999999999999d",
            "٣d",
        ] {
            let refused = text.parse::<MaxAge>().unwrap_err().to_string();
            assert!(refused.ends_with(&format!("such as `30d`, got `{text}`")), "{refused}");
        }
    }
}
