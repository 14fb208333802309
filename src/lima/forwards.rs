//! The declared ports as Lima has them: static forwards, held by its host agent from a start to the end.
//!
//! Enters: ports. Leaves: a piece of lima.yaml with every value spelt out, since what Lima would use is compared with it.
//! Facts are from hostagent/hostagent.go, `addStaticPortForwardsFromList`: set up once, and never again in that life.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::yaml;
use crate::failure::Result;
use crate::model::PortForward;

const KEY: &str = "portForwards";

/// One rule. Without `guestIP` it would mean the same, but the compared settings would not be the rendered ones.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    #[serde(rename = "guestIP")]
    guest_ip: &'static str,
    guest_port: u16,
    guest_port_range: [u16; 2],
    #[serde(rename = "hostIP")]
    host_ip: &'static str,
    host_port: u16,
    host_port_range: [u16; 2],
    proto: &'static str,
    r#static: bool,
}

/// The rules of these ports.
pub(super) fn rules(ports: &[PortForward]) -> Vec<Rule> {
    let rule = |port: &PortForward| Rule {
        guest_ip: "127.0.0.1",
        guest_port: port.guest,
        guest_port_range: [port.guest; 2],
        host_ip: "127.0.0.1",
        host_port: port.host,
        host_port_range: [port.host; 2],
        proto: "tcp",
        r#static: true,
    };
    ports.iter().map(rule).collect()
}

/// A lima.yaml of ours with these ports in the place of those in it.
///
/// # Errors
/// When the YAML cannot be written, which would be a bug of the serialiser.
pub fn with_ports(lima_yaml: &str, ports: &[PortForward]) -> Result<String> {
    let piece = yaml::write(&BTreeMap::from([(KEY, rules(ports))]))?;
    let is_key = |line: &&str| line.starts_with(KEY) && line[KEY.len()..].starts_with(':');
    let is_below = |line: &&str| line.starts_with([' ', '-']);
    let lines: Vec<&str> = lima_yaml.split_inclusive('\n').collect();
    let start = lines.iter().position(is_key).unwrap_or(lines.len());
    let rest = lines.iter().skip(start + 1).skip_while(|line| is_below(line));
    let before = lines[..start].concat();
    Ok(before + &piece + &rest.copied().collect::<String>())
}

/// The ports in a lima.yaml, read back.
pub fn ports_in(config: &Value) -> Vec<PortForward> {
    let rules = config[KEY].as_array().into_iter().flatten();
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    rules
        .filter_map(|rule| {
            Some(PortForward { host: port(&rule["hostPort"])?, guest: port(&rule["guestPort"])? })
        })
        .collect()
}
