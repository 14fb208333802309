//! The verbs, one file each: its arguments on top, `run` below.
//!
//! Enters: parsed arguments and the context. Leaves: an exit code. No logic here that another verb needs.

pub mod boundary;
pub mod boxes;
pub mod completions;
pub mod connect;
pub mod destroy;
pub mod diff;
pub mod doctor;
pub mod down;
pub mod export;
pub mod init;
pub mod keys;
pub mod lima;
pub mod list;
pub mod man;
pub mod ports;
pub mod profiles;
pub mod prune;
pub mod rebuild;
pub mod run;
pub mod secrets;
pub mod sleep;
pub mod ssh;
pub mod status;
pub mod trust;
pub mod uninstall;
pub mod up;
pub mod watch;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::context::Context;
use crate::record::Waiting;

/// Completes project names.
fn project_completer() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &std::ffi::OsStr| {
        let current = current.to_string_lossy();
        let names = crate::workspace::completion_names().into_iter();
        names.filter(|name| name.starts_with(&*current)).map(CompletionCandidate::new).collect()
    })
}

/// Completes names of profiles.
fn profile_completer() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &std::ffi::OsStr| {
        let current = current.to_string_lossy();
        let names = crate::workspace::completion_profiles().into_iter();
        names.filter(|name| name.starts_with(&*current)).map(CompletionCandidate::new).collect()
    })
}

/// How a verb waits for another one.
fn waiting<'a>(context: &'a Context, say: &'a dyn Fn(&str)) -> Waiting<'a> {
    Waiting { no_wait: context.options.no_wait, say, interrupt: context.runner.interrupt() }
}
