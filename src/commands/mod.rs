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
use crate::failure::{Kind, Result};
use crate::record::Waiting;
use crate::ui;

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

/// Does the same to several machines: why one of them stays as it is, is said at once, and keeps none of the others. The
/// exit code is that of the first failure.
///
/// # Errors
/// On an interrupt, which ends all of it.
fn for_each<T>(all: impl IntoIterator<Item = T>, mut work: impl FnMut(T) -> Result<()>) -> Result<u8> {
    let mut code = 0;
    for one in all {
        match work(one) {
            Err(failure) if failure.kind == Kind::Interrupted => return Err(failure),
            Err(failure) => {
                ui::print_failure(&failure);
                code = if code == 0 { failure.kind.code() } else { code };
            }
            Ok(()) => {}
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn one_failure_keeps_none_of_the_others_and_an_interrupt_all() {
        let mut done = Vec::new();
        let code = for_each([Some(Kind::Busy), None, Some(Kind::Operation)], |kind| {
            done.push(kind);
            kind.map_or(Ok(()), |kind| Err(Failure::new(kind, "refused")))
        });
        assert_eq!((code.expect("a code"), done.len()), (4, 3));
        let mut count = 0;
        let interrupted = for_each([(), ()], |()| {
            count += 1;
            Err(Failure::interrupted())
        });
        assert_eq!((interrupted.expect_err("interrupted").kind, count), (Kind::Interrupted, 1));
    }
}
