//! `[network] proxy`: the http proxy that leads out of a company's network, for machines behind it.
//!
//! Enters: text such as `http://proxy.corp:3128`. Leaves: a door, and the address by which the guest's programs know it.

use std::fmt;
use std::str::FromStr;

use super::access::{Door, HOST, Place};
use super::refused::{Refused, shown};

const EXPECTED: &str = "an address such as `http://proxy.corp:3128`";

/// A proxy that is spoken to in plain http, as most are: what goes through it to an https server is encrypted all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    place: Place,
    port: u16,
}

impl Proxy {
    /// The one way that it needs.
    pub fn door(&self) -> Door {
        Door { place: self.place.clone(), port: Some(self.port) }
    }
}

/// As the guest's programs know it: one of this computer's own is at 192.168.5.2 for them.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.door())
    }
}

impl FromStr for Proxy {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if let Some((before, after)) = text.rsplit_once('@') {
            let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
            return Err(Refused::new(
                "a log-in has no place here: every program of every machine would have it",
            )
            .masked(Some(format!("{scheme}***@{after}"))));
        }
        let expected = || Refused::new(format!("expected {EXPECTED}, got `{}`", shown(text)));
        let address = text.strip_prefix("http://").ok_or_else(expected)?;
        let door: Door = address.strip_suffix('/').unwrap_or(address).parse()?;
        let port = door.port.ok_or_else(|| Refused::new(format!("`{}` names no port", shown(text))))?;
        let place = match door.place {
            Place::Network(network) if !network.is_address() => return Err(expected()),
            Place::Network(network) if network.is_loopback() => Place::Network(HOST.into()),
            Place::Name(name) if name == "localhost" => Place::Network(HOST.into()),
            place => place,
        };
        Ok(Self { place, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match text.parse::<Proxy>() {
            Ok(proxy) => format!("{proxy} by {}", proxy.door()),
            Err(refused) => format!("refused: {refused} {}", refused.masked_value().unwrap_or_default()),
        }
    }

    #[test]
    fn a_name_or_an_address_with_a_port() {
        assert_eq!(read("http://Proxy.Corp:3128"), "http://proxy.corp:3128 by proxy.corp:3128");
        assert_eq!(read("http://10.1.2.3:80/"), "http://10.1.2.3:80 by 10.1.2.3:80");
    }

    #[test]
    fn this_computers_own_is_where_a_guest_finds_it() {
        for text in ["http://localhost:3128", "http://127.0.0.1:3128", "http://127.9.0.1:3128/"] {
            assert_eq!(read(text), "http://192.168.5.2:3128 by 192.168.5.2:3128");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let expected = |text: &str| format!("refused: expected {EXPECTED}, got `{text}` ");
        for text in ["proxy.corp:3128", "https://proxy.corp:3128", "socks5://a:1", "http://10.0.0.0/8:80", ""]
        {
            assert_eq!(read(text), expected(text));
        }
        assert_eq!(read("http://proxy.corp"), "refused: `http://proxy.corp` names no port ");
        assert_eq!(read("http://proxy.corp:0"), "refused: `0` is no port, in `proxy.corp:0` ");
        assert!(read("http://proxy.corp:3128/x").starts_with("refused: "));
        assert!(read("http://[::1]:3128").contains("IPv4 only"));
    }

    #[test]
    fn a_log_in_is_refused_and_never_shown() {
        let sentence = "refused: a log-in has no place here: every program of every machine would have it";
        assert_eq!(
            read("http://me:hunter2@proxy.corp:3128"),
            format!("{sentence} http://***@proxy.corp:3128")
        );
        assert_eq!(read("me:hunter2@proxy.corp"), format!("{sentence} ***@proxy.corp"));
        assert_eq!(read("http://me:hunter@2@proxy.corp:1"), format!("{sentence} http://***@proxy.corp:1"));
    }
}
