//! `machine man`: the manual page, made from the same words as `--help`.
//!
//! Enters: nothing. Leaves: a page in roff on stdout, or one file for each command.

use std::path::{Path, PathBuf};

use crate::cli::Cli;
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::ui;

/// Options of `man`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write machine.1 and one page for each command into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints or writes the pages.
pub fn run(args: &Args) -> Result<u8> {
    let command = Cli::grouped();
    let Some(dir) = &args.dir else {
        ui::answer_raw(&page(&command)?);
        return Ok(0);
    };
    let mut command = command.disable_help_subcommand(true);
    command.build();
    std::fs::create_dir_all(dir).because(|| format!("failed to make the folder `{}`", dir.display()))?;
    disk::write_atomic(&dir.join("machine.1"), &page(&command)?, 0o644)?;
    write_pages(&command, "machine", dir)?;
    Ok(0)
}

/// One page for each command below, and for each below that.
fn write_pages(command: &clap::Command, name: &str, dir: &Path) -> Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{name}-{}", verb.get_name());
        disk::write_atomic(&dir.join(format!("{name}.1")), &page(verb)?, 0o644)?;
        write_pages(verb, &name, dir)?;
    }
    Ok(())
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    rendered.map_err(|cause| Failure::operation(format!("failed to write the manual: {cause}")))?;
    Ok(page)
}
