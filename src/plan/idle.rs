//! Whether a machine is idle, and for how long: a pure judgement of what was seen of it from outside.
//!
//! Enters: looks, each with its time on a clock that stands still while the computer sleeps. Leaves: a span of time. What
//! was not seen counts as work, and any work ends an idle time.

use std::fmt;
use std::time::{Duration, Instant};

use crate::lima::Taken;
use crate::process::moved;

/// A look, at the least often, and at the most.
const LONGEST: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(1);
/// Processor time that makes a machine one at work, in hundredths of one processor. A guest at rest takes less than 10 of
/// them under software emulation, and 2 or so with KVM; a build takes 100.
const PROCESSOR: u128 = 20;
/// Bytes in half a minute that do: more than clocks, name look-ups and signs of life of open connections.
const NETWORK: u128 = 8 * 1024;

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// When.
    pub at: Instant,
    /// Whether somebody uses it: a session, a command, a connection on one of its ports.
    pub in_use: bool,
    /// What it has taken so far; `None` where that cannot be told.
    pub taken: Option<Taken>,
}

/// The course of one machine's idleness.
#[derive(Clone, Debug)]
pub struct Idleness {
    busy: Instant,
    last: Option<(Instant, Taken)>,
    peak: Rate,
}

/// What a machine took from one look to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rate {
    /// Hundredths of one processor.
    processor: u128,
    /// Bytes in half a minute.
    network: u128,
}

impl Idleness {
    /// Begins with a machine that was at work until now.
    pub const fn new(now: Instant) -> Self {
        Self { busy: now, last: None, peak: Rate { processor: 0, network: 0 } }
    }

    /// Takes a look into account; for how long the machine has been idle.
    pub fn note(&mut self, look: Look) -> Duration {
        let rate = self.rate(&look);
        let is_at_rest = rate.filter(|rate| !look.in_use && rate.is_rest());
        match is_at_rest {
            Some(rate) => {
                self.peak.processor = self.peak.processor.max(rate.processor);
                self.peak.network = self.peak.network.max(rate.network);
            }
            None => self.restart(look.at),
        }
        self.last = look.taken.map(|taken| (look.at, taken));
        look.at.saturating_duration_since(self.busy)
    }

    /// Lets its idle time begin anew.
    pub fn restart(&mut self, now: Instant) {
        self.busy = now;
        self.peak = Rate::default();
    }

    /// Counters that went back are those of something else.
    fn rate(&self, look: &Look) -> Option<Rate> {
        let ((then, before), after) = (self.last.as_ref()?, look.taken.as_ref()?);
        let passed = look.at.saturating_duration_since(*then).as_millis().max(1);
        let processor = after.processor.checked_sub(before.processor)?.as_millis();
        let network = u128::from(moved(&before.network, &after.network));
        Some(Rate { processor: processor * 100 / passed, network: network * LONGEST.as_millis() / passed })
    }
}

impl Rate {
    const fn is_rest(self) -> bool {
        self.processor < PROCESSOR && self.network < NETWORK
    }
}

/// What was seen during the idle time, for the log.
impl fmt::Display for Idleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rate { processor, network } = self.peak;
        write!(
            f,
            "no session, no connection on its ports, at most {processor} % of a processor and {network} bytes in 30 s"
        )
    }
}

/// When to look next at a machine that has been idle for so long, and rests after `after`.
pub fn next_look(idle: Duration, after: Duration) -> Duration {
    let often = (after / 4).clamp(SHORTEST, LONGEST);
    after.saturating_sub(idle).clamp(SHORTEST, often)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that was looked at each half minute.
    struct Course {
        idleness: Idleness,
        now: Instant,
        taken: Taken,
    }

    impl Course {
        fn new() -> Self {
            let now = Instant::now();
            let mut course = Self { idleness: Idleness::new(now), now, taken: Taken::default() };
            assert_eq!(course.look(0, 0, false), 0);
            course
        }

        /// Half a minute later; the seconds of idleness.
        fn look(&mut self, milliseconds: u64, bytes: u64, in_use: bool) -> u64 {
            self.now += LONGEST;
            self.taken.processor += Duration::from_millis(milliseconds);
            *self.taken.network.entry("uplink".into()).or_default() += bytes;
            let taken = Some(self.taken.clone());
            self.idleness.note(Look { at: self.now, in_use, taken }).as_secs()
        }
    }

    #[test]
    fn rest_adds_up_and_any_work_ends_it() {
        let mut course = Course::new();
        assert_eq!([course.look(600, 300, false), course.look(2000, 4000, false)], [30, 60]);
        let said = course.idleness.to_string();
        assert!(said.ends_with("at most 6 % of a processor and 4000 bytes in 30 s"), "{said}");
        assert_eq!(course.look(600, 300, true), 0, "somebody uses it");
        assert_eq!(course.look(600, 300, false), 30);
        assert_eq!(course.look(6000, 0, false), 0, "a build");
        assert_eq!(course.look(600, 300, false), 30);
        assert_eq!(course.look(600, 8192, false), 0, "an agent that is told something");
        assert_eq!([course.look(0, 0, false), course.look(0, 0, false)], [30, 60]);
    }

    #[test]
    fn what_cannot_be_seen_is_work() {
        let mut course = Course::new();
        assert_eq!(course.look(0, 0, false), 30);
        course.now += LONGEST;
        let blind = Look { at: course.now, in_use: false, taken: None };
        assert_eq!(course.idleness.note(blind), Duration::ZERO);
        assert_eq!(course.look(0, 0, false), 0, "there is nothing to compare it with");
        assert_eq!(course.look(0, 0, false), 30);
        let mut other = Course::new();
        other.look(9000, 0, true);
        other.taken = Taken::default();
        assert_eq!(other.look(0, 0, false), 0, "the counters of another process");
    }

    #[test]
    fn a_wish_begins_anew() {
        let mut course = Course::new();
        course.look(0, 0, false);
        course.idleness.restart(course.now);
        assert_eq!(course.look(0, 0, false), 30);
    }

    #[test]
    fn a_look_comes_when_it_can_matter() {
        let seconds = |idle: u64, after: u64| {
            next_look(Duration::from_secs(idle), Duration::from_secs(after)).as_secs()
        };
        assert_eq!((seconds(0, 1800), seconds(1790, 1800), seconds(1900, 1800)), (30, 10, 1));
        assert_eq!((seconds(0, 60), seconds(0, 8), seconds(0, 1)), (15, 2, 1));
    }
}
