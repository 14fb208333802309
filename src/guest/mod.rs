//! All that happens inside the machine: named steps, repositories, secrets, what would be lost.
//!
//! Enters: profiles and project as values, what the guest answered. Leaves: scripts, and readings of answers.
//! Runs nothing itself: the scripts go over `ssh`. What a guest says is data, never a path or a command on the host.

mod answer;
mod environment;
mod export;
mod floor;
mod identity;
mod inventory;
mod isolation;
mod probe;
mod repositories;
mod rest;
mod seal;
mod secrets;
mod shell;
mod stack;
mod step;
mod steps;

pub use answer::{Observation, observe_script};
pub use environment::Environment;
pub use export::export;
pub use floor::floor_step;
pub use identity::{GitLogins, is_pinned, pinned_known_hosts};
pub use inventory::{Inventory, inventory_script};
pub use probe::{Place, Probed, Question, Target, Tried, probe_script};
pub use repositories::{clone_script, setup_script};
pub use rest::{
    AFTER_WAKE, BEFORE_SLEEP, BEFORE_SLEEP_LINE, BEFORE_WARM, BEFORE_WARM_LINE, after_wake_line, become_line,
    become_script,
};
pub use seal::{BootFile, boot_command_line, seal_script};
pub use secrets::{SecretStatus, SecretValues, clear_secrets_line, fill_secrets_line, secret_status_line};
pub use stack::{Layer, Stack, Wanted, list_steps, packages_script};
pub use step::Step;
