//! Reads `limactl list`: what Lima knows about its instances, tolerantly.
//!
//! Enters: JSON lines. Leaves: `Instance`s. A field that is missing or new is no error, since Lima changes them.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// Lima's status of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No process.
    Stopped,
    /// A host agent and a driver process exist, no more.
    Running,
    /// Something does not fit together; also seen for moments while starting and stopping (lima#4407).
    Broken,
    /// Anything else, such as `Installing`.
    Other,
}

/// One instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The instance's, and so the machine's, name.
    pub name: String,
    /// Lima's own view.
    pub status: Status,
    /// Its folder.
    pub folder: PathBuf,
    /// The host agent's pid while it runs.
    pub host_agent_pid: Option<i32>,
    /// QEMU's or vz's pid while it runs.
    pub driver_pid: Option<i32>,
    /// What Lima finds wrong.
    pub errors: Vec<String>,
    /// The effective configuration, after Lima's defaults and overrides.
    pub config: Value,
}

#[derive(Deserialize)]
struct Raw {
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    dir: PathBuf,
    #[serde(default, rename = "hostAgentPID")]
    host_agent_pid: i32,
    #[serde(default, rename = "driverPID")]
    driver_pid: i32,
    #[serde(default)]
    errors: Value,
    #[serde(default)]
    config: Value,
}

/// Reads the output of `limactl list --format '{{json .}}'`; lines that are no instance are passed over.
pub fn parse_list(output: &str) -> Vec<Instance> {
    output.lines().filter_map(|line| serde_json::from_str::<Raw>(line).ok()).map(Instance::from).collect()
}

impl From<Raw> for Instance {
    fn from(raw: Raw) -> Self {
        let errors = raw.errors.as_array().into_iter().flatten();
        Self {
            name: raw.name,
            status: match raw.status.as_str() {
                "Stopped" => Status::Stopped,
                "Running" => Status::Running,
                "Broken" => Status::Broken,
                _ => Status::Other,
            },
            folder: raw.dir,
            host_agent_pid: Some(raw.host_agent_pid).filter(|pid| *pid > 0),
            driver_pid: Some(raw.driver_pid).filter(|pid| *pid > 0),
            // Most of Lima's own are `{}` here: an error of Go has no JSON.
            errors: errors.filter_map(|error| error.as_str().map(String::from)).collect(),
            config: raw.config,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, parse_list};

    #[test]
    fn reads_lima_and_tolerates_what_it_does_not_know() {
        let output = concat!(
            r#"{"name":"a","status":"Running","dir":"/l/a","hostAgentPID":7,"driverPID":8,"config":{"cpus":2},"new":[1]}"#,
            "\nstray text\n",
            r#"{"name":"b","status":"Stopped","errors":["x",{"y":1}]}"#,
            "\n",
            r#"{"name":"c"}"#,
            "\n",
            r#"{"status":"Running"}"#,
        );
        let found = parse_list(output);
        let names: Vec<&str> = found.iter().map(|instance| instance.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(found[0].status, Status::Running);
        assert_eq!((found[0].host_agent_pid, found[0].driver_pid), (Some(7), Some(8)));
        assert_eq!(found[1].errors, ["x"]);
        assert_eq!((found[1].status, found[2].status), (Status::Stopped, Status::Other));
        assert_eq!(found[1].host_agent_pid, None);
    }
}
