//! The secrets of a project on their way into the guest, and what the guest says of them.
//!
//! Enters: names and values; the lines of an answer, which a hostile guest may have written. Leaves: one framed secret for
//! the helper's input, its command lines, and a reading of names and ages. No value is ever read back.

use std::collections::BTreeMap;

use crate::model::{EnvName, Secret};

/// Where provisioning installs the helper; its text is templates/guest/secrets.pl.
const HELPER: &str = "/usr/local/lib/machine/secrets";
/// The memory file system has 4 MiB, and holds names and copies of exported values as well.
const TOTAL_LIMIT_BYTES: usize = 1 << 20;

/// The values of a project's secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretValues {
    /// Each with whether sessions get it as a variable.
    pub values: BTreeMap<EnvName, (Secret, bool)>,
    /// What tells this set from another one, by where its values come from.
    pub digest: String,
}

/// What a guest says it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretStatus {
    /// The digest of the set it was given last.
    pub digest: Option<String>,
    /// How many seconds ago each was put there.
    pub ages: BTreeMap<EnvName, u64>,
}

/// Root's command line that takes all secrets from its input and leaves no others: root mounts their place.
pub const fn fill_secrets_line() -> &'static str {
    "/usr/local/lib/machine/secrets fill"
}

/// The command line that removes all of them.
pub fn clear_secrets_line() -> String {
    format!("{HELPER} clear")
}

/// The command line that asks for names and ages; `mark` frames the answer.
pub fn secret_status_line(mark: &str) -> String {
    format!("{HELPER} status {mark}")
}

impl SecretValues {
    /// All of them in one, each with its length before it, so that a connection that is cut leaves nothing half done;
    /// `None` when they are more than the guest has room for.
    pub fn frame(&self) -> Option<Secret> {
        let total: usize = self.values.values().map(|(secret, _)| secret.expose().len()).sum();
        // Names and numbers take less than this, so that the buffer never moves.
        let mut bytes = Vec::with_capacity(total + 512 * (self.values.len() + 1));
        bytes.extend_from_slice(
            format!("machine-secrets 1 {} {}\n", self.digest, self.values.len()).as_bytes(),
        );
        for (name, (secret, export)) in &self.values {
            let head = format!("{name} {} {}\n", u8::from(*export), secret.expose().len());
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(secret.expose());
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(b"end\n");
        let frame = Secret::new(bytes);
        (total <= TOTAL_LIMIT_BYTES).then_some(frame)
    }
}

impl SecretStatus {
    /// Reads an answer; `None` when its end is missing.
    pub fn parse(answer: &str, mark: &str) -> Option<Self> {
        let frame = format!("{mark}\n");
        let mut parts = answer.split(&frame);
        let (_, framed, _) = (parts.next()?, parts.next()?, parts.next()?);
        let mut status = Self::default();
        for line in framed.lines() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["set", digest] => status.digest = Some((*digest).to_string()),
                ["secret", name, age] => {
                    status.ages.extend(name.parse().ok().zip(age.parse().ok()));
                }
                _ => {}
            }
        }
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cmd, Interrupt, Runner};
    use proptest::prelude::*;

    fn values(list: &[(&str, &[u8])]) -> SecretValues {
        let value = |(name, bytes): &(&str, &[u8])| {
            (name.parse().expect("a name"), (Secret::new(bytes.to_vec()), *name == "B"))
        };
        SecretValues { values: list.iter().map(value).collect(), digest: "ab".into() }
    }

    /// What the helper's own reader makes of a frame: its subroutines, run here without touching anything.
    fn read_back(frame: Secret) -> Result<String, String> {
        let script =
            include_str!("../../templates/guest/secrets.pl").replace("getpwnam 'dev'", "getpwuid $<");
        let reader = script.split("my ($verb, @words)").next().expect("the subroutines").to_string()
            + "my ($digest, @frames) = read_frames();\nprint \"$digest\";\n\
               print \" $_->{name} $_->{export} \" . unpack('H*', $_->{value}) for @frames;\n";
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        let cmd = Cmd::new("perl").args(["-e", &reader]).secret_input(frame);
        runner.read(&cmd).map(|finished| finished.text()).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_frame_arrives_whole_or_not_at_all() {
        let frame = values(&[("A", b"it's\n\0\xff"), ("B", b"end\n")]).frame().expect("small");
        assert_eq!(read_back(frame.clone()).as_deref(), Ok("ab A 0 697427730a00ff B 1 656e640a"));
        for length in [0, 1, 20, 30, frame.expose().len() - 5, frame.expose().len() - 1] {
            let cut = Secret::new(frame.expose()[..length].to_vec());
            assert!(read_back(cut).expect_err("cut off").contains("machine: "), "cut at {length}");
        }
    }

    #[test]
    fn too_much_is_not_sent() {
        let big = vec![b'x'; 1 << 19];
        assert!(values(&[("A", &big), ("B", &big)]).frame().is_some());
        assert!(values(&[("A", &big), ("B", &big), ("C", b"x")]).frame().is_none());
    }

    #[test]
    fn only_names_and_ages_are_read() {
        let answer = "motd\nM\nset ab\nsecret A 12\nsecret ../x 1\nsecret B -1\nsecret C\nvalue D\nM\n";
        let status = SecretStatus::parse(answer, "M").expect("framed");
        assert_eq!(status.digest.as_deref(), Some("ab"));
        assert_eq!(
            status.ages.iter().map(|(name, age)| format!("{name} {age}")).collect::<Vec<_>>(),
            ["A 12"]
        );
        assert_eq!(SecretStatus::parse("M\nset ab\n", "M"), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in any::<String>()) {
            let _ = SecretStatus::parse(&answer, "M");
        }

        #[test]
        fn no_frame_shows_its_value(value in prop::collection::vec(any::<u8>(), 1..40)) {
            let values = values(&[("A", &value)]);
            prop_assert_eq!(format!("{values:?}"), r#"SecretValues { values: {EnvName("A"): (***, false)}, digest: "ab" }"#);
        }
    }
}
