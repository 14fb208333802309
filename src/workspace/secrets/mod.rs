//! The secrets of a project: which it has, their values from where they are kept, and sessions that find them missing.
//!
//! Enters: a project's configuration, a machine. Leaves: values in memory, or what kept them away. Which secrets a machine
//! gets is read from the user's own files only, never from a repository or a guest.

mod refill;
mod source;

pub use refill::{count_secrets, refill, refill_session};
pub use source::read_values;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::{ConfigFolder, Lookup, load_secrets, locate};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::model::{Secrets, hex};
use crate::record::MachineRecord;

/// The secrets that the configuration gives a machine.
///
/// # Errors
/// Everything that is wrong in the user's own file.
pub fn secrets_of(context: &Context, record: &MachineRecord) -> Result<Secrets> {
    load_secrets(&folder_of(context, record)?, &record.name, record.in_repository, &context.host)
}

/// The file that they are named in.
///
/// # Errors
/// When the folder that `--config` names is none.
pub fn secrets_file(context: &Context, record: &MachineRecord) -> Result<PathBuf> {
    Ok(folder_of(context, record)?.projects())
}

fn folder_of(context: &Context, record: &MachineRecord) -> Result<ConfigFolder> {
    match record.config_file.parent() {
        Some(dir) if !record.in_repository => Ok(ConfigFolder { dir: dir.to_owned(), in_repository: false }),
        _ => locate_user(context),
    }
}

fn locate_user(context: &Context) -> Result<ConfigFolder> {
    let located = locate(&Lookup {
        explicit: context.options.config_dir.as_deref(),
        cwd: &context.cwd,
        home: &context.layout.home,
        xdg_config_home: context.xdg_config_home.as_deref(),
    })?;
    Ok(located.user)
}

/// What tells one configuration of secrets from another, by where they come from; `None` when there are none.
pub fn digest(secrets: &Secrets) -> Option<String> {
    let hash = || Sha256::digest(format!("{:?}", secrets.wanted).as_bytes());
    (!secrets.wanted.is_empty()).then(|| hex(&hash()[..16]))
}

/// Refuses a token that is none of the project's secrets, both of which `file` names. The name is not repeated: it may be the token itself.
///
/// # Errors
/// As wrong configuration.
pub fn check_token(file: &Path, name: &str, secrets: &Secrets) -> Result<()> {
    let is_known = secrets.git.as_ref().is_none_or(|token| secrets.wanted.contains_key(&token.secret));
    if is_known {
        return Ok(());
    }
    let names: Vec<String> = secrets.wanted.keys().map(|name| format!("`{name}`")).collect();
    let has =
        if names.is_empty() { "it has none".to_string() } else { format!("it has {}", names.join(", ")) };
    let sentence = format!(
        "git.token of `{name}` in `{}`: expected the name of one of its secrets; {has}",
        file.display()
    );
    Err(Failure::usage(sentence).hint(format!("add it below `[{name}.secrets]`")))
}
