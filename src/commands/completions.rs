//! `machine completions`: the script that lets a shell complete our words, project names included.
//!
//! Enters: a shell. Leaves: its script on stdout. The script asks `machine` itself, which starts no other program.

use clap_complete::env::Shells;

use crate::failure::{Failure, Result};
use crate::ui;

/// Options of `completions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    shell: String,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<u8> {
    let shells = Shells::builtins();
    let completer = shells.completer(&args.shell);
    let completer = completer.ok_or_else(|| Failure::usage(format!("no completion for `{}`", args.shell)))?;
    let mut script = Vec::new();
    let written = completer.write_registration("COMPLETE", "machine", "machine", "machine", &mut script);
    written.map_err(|cause| Failure::operation(format!("failed to write the script: {cause}")))?;
    if args.shell == "zsh" {
        // From a folder of functions zsh loads the script at the first Tab, and expects it to answer that one too.
        script.extend_from_slice(
            b"[ \"$funcstack[1]\" != _machine ] || _clap_dynamic_completer_machine \"$@\"\n",
        );
    }
    ui::answer_raw(&script);
    Ok(0)
}
