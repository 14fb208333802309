//! A port of the guest that appears on the host's 127.0.0.1, as `3000` or `HOST:GUEST`.
//!
//! Enters: text. Leaves: two ports that may be declared. Must not know who listens on them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::refused::{Refused, shown};

/// Ports of 127.0.0.1 that reach the machines' own sshd: above the system's own ranges and below the ephemeral one.
pub const SSH_PORTS: RangeInclusive<u16> = 20_000..=29_999;
/// Below, Linux and macOS let only root listen on 127.0.0.1.
const FIRST_HOST_PORT: u16 = 1024;
/// The guest's sshd.
const SSHD: u16 = 22;

/// Where programs of the host expect somebody they trust, without asking who answers: databases, debuggers that run what
/// they are sent, and the log-ins of agents.
const WELL_KNOWN: [(u16, &str); 16] = [
    (1433, "SQL Server"),
    (1455, "the log-in of Codex"),
    (2375, "Docker"),
    (2376, "Docker"),
    (3306, "MySQL"),
    (5037, "adb"),
    (5432, "PostgreSQL"),
    (6379, "Redis"),
    (6443, "Kubernetes"),
    (8976, "the log-in of Wrangler"),
    (9222, "the debugger of Chrome"),
    (9229, "the debugger of Node"),
    (11211, "memcached"),
    (11434, "Ollama"),
    (27017, "MongoDB"),
    (54545, "the log-in of Claude"),
];

/// A port of the host's 127.0.0.1 that leads to a port of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForward {
    /// Of the host, 1024 to 65535 without [`SSH_PORTS`].
    pub host: u16,
    /// Of the guest, 1 to 65535 without sshd's.
    pub guest: u16,
}

impl PortForward {
    /// Why a person should think twice about the host's port; `None` when it is nobody's in particular.
    pub fn doubt(self) -> Option<String> {
        let (port, owner) = WELL_KNOWN.iter().find(|(port, _)| *port == self.host)?;
        Some(format!(
            "port {port} of this computer is usually for {owner}, and programs that look for that would reach the guest"
        ))
    }
}

impl FromStr for PortForward {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (host, guest) = text.split_once(':').unwrap_or((text, text));
        let (Some(host), Some(guest)) = (parse_port(host), parse_port(guest)) else {
            let expected = "expected a port from 1 to 65535 such as `3000`, or `8080:80` for HOST:GUEST";
            return Err(Refused::new(format!("{expected}, got `{}`", shown(text))));
        };
        if host < FIRST_HOST_PORT {
            let sentence = format!("only root may listen on port {host} of this computer");
            return Err(Refused::new(sentence).instead(format!("{}:{guest}", host + 8000)));
        }
        if SSH_PORTS.contains(&host) {
            let (first, last) = (SSH_PORTS.start(), SSH_PORTS.end());
            let sentence =
                format!("port {host} is kept for ssh: {first} to {last} reach the machines' own sshd");
            return Err(Refused::new(sentence));
        }
        if guest == SSHD {
            return Err(Refused::new("port 22 of the guest is sshd's, which `ssh machine-NAME` reaches"));
        }
        Ok(Self { host, guest })
    }
}

/// A decimal number as people write ports: no sign, no leading zero.
fn parse_port(text: &str) -> Option<u16> {
    let is_plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, guest } = self;
        if host == guest { write!(f, "{host}") } else { write!(f, "{host}:{guest}") }
    }
}

/// Ports as a list for a sentence: `3000, 8080:80`.
pub fn list_ports(ports: &[PortForward]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<PortForward, String> {
        text.parse().map_err(|refused: Refused| refused.to_string())
    }

    #[test]
    fn one_number_is_both_ports() {
        assert_eq!(parse("3000"), Ok(PortForward { host: 3000, guest: 3000 }));
        assert_eq!(parse("8080:80"), Ok(PortForward { host: 8080, guest: 80 }));
        assert_eq!(parse("65535:1"), Ok(PortForward { host: 65535, guest: 1 }));
    }

    #[test]
    fn what_is_no_port_is_refused_by_its_value() {
        for text in
            ["", "0", "65536", "-1", "+80", "03000", "3000:", ":80", "1:2:3", "3000/udp", " 3000", "٣"]
        {
            let sentence = parse(text).expect_err(text);
            assert!(sentence.ends_with(&format!("got `{text}`")), "{sentence}");
        }
    }

    #[test]
    fn ports_that_cannot_be_had_say_why_and_what_instead() {
        let refused = |text| parse(text).expect_err(text);
        assert_eq!(
            refused("443"),
            "only root may listen on port 443 of this computer; did you mean `8443:443`?"
        );
        assert!(refused("20000:80").contains("20000 to 29999"));
        assert!(refused("29999").contains("kept for ssh"));
        assert!(refused("2222:22").contains("sshd's"));
    }

    #[test]
    fn a_port_that_programs_trust_names_whose_it_is() {
        let doubt = parse("5432").expect("a port").doubt().expect("a doubt");
        assert!(doubt.starts_with("port 5432 of this computer is usually for PostgreSQL, and"), "{doubt}");
        assert_eq!(parse("15432:5432").expect("a port").doubt(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_shown_is_read_again(text in ".{0,12}|[0-9]{1,6}(:[0-9]{1,6})?") {
            if let Ok(port) = parse(&text) {
                prop_assert_eq!(parse(&port.to_string()), Ok(port));
            }
        }
    }
}
