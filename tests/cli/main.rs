//! The built binary among scripted programs: `limactl`, `ssh`, `git` and their kin play a state machine and write down
//! in which order they were called.
//!
//! Output is asserted whole, as the reader sees it: exit code, stdout and stderr in one inline snapshot, with temporary
//! paths, times and random names masked. Beside it stands what was effected, in order.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts the program under test and reads its own surroundings"
)]

#[path = "../boundary/agent.rs"]
mod agent_filter;
#[path = "../boundary/grants.rs"]
mod agent_grants;
mod bad_input;
mod bad_keys;
mod boundary;
mod boxes;
#[cfg(target_os = "linux")]
mod budget;
mod carried;
mod claims;
mod clean;
mod connect;
mod destroy;
mod dry_run;
mod effects;
#[cfg(target_os = "linux")]
#[path = "../boundary/enclosure.rs"]
mod enclosed;
#[cfg(target_os = "linux")]
mod enclosure;
mod export;
mod files;
mod first_up;
mod floor;
mod folders;
mod identity;
#[cfg(target_os = "linux")]
mod idle;
mod interrupts;
mod keys;
mod lima_trouble;
mod list;
mod mask;
mod outcome;
mod ports;
mod ports_at_once;
mod profiles;
mod rebuild;
mod reclaim;
mod register;
mod secret_sources;
mod secrets;
mod secrets_given;
mod sessions;
mod setup;
#[cfg(target_os = "linux")]
mod sleep;
#[cfg(target_os = "linux")]
mod sleep_faults;
#[cfg(target_os = "linux")]
mod sleeper;
mod ssh_config;
mod status;
mod strict;
mod terminal;
mod trust;
mod up_again;
mod warm;
mod world;
