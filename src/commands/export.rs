//! `machine export`: a project as one file that plain Lima starts, on a computer without `machine`.
//!
//! Enters: a project's name, perhaps a file's. Leaves: YAML on stdout, or in that file. Changes nothing else.

use std::path::{Path, PathBuf};

use crate::commands::project_completer;
use crate::context::Context;
use crate::disk;
use crate::failure::{Failure, Result};
use crate::model::ProjectName;
use crate::ui;
use crate::workspace::{Workspace, build_export, quoted};

/// Lima reads its own list again in lines of at most 64 KiB, and fails on a longer one (cmd/limactl/list.go).
const LIST_LIMIT: usize = 64 * 1024;

/// Options of `export`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The project; default: the current repository's, or the only one
    #[arg(value_name = "PROJECT", add = project_completer())]
    project: Option<String>,
    /// Write this file instead of stdout; Lima names an instance after its file
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

/// Prints or writes the file.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    let project = workspace.choose(context, args.project.as_deref())?;
    let text = build_export(context, &workspace, &project, &|text| context.ui.say(text))?.render()?;
    match &args.output {
        // As everywhere, a dash is stdout.
        Some(file) if file != Path::new("-") => write(args, context, &project.name, file, &text)?,
        _ => ui::answer_text(&text),
    }
    warn_of_home(&text, &context.layout.home);
    if text.len() > LIST_LIMIT {
        context
            .ui
            .say("it is large: instead of `limactl list --json`, use `limactl list --format '{{json .}}'`");
    }
    Ok(0)
}

fn write(args: &Args, context: &Context, name: &ProjectName, file: &Path, text: &str) -> Result<()> {
    let path = context.cwd.join(file);
    let shown = file.display();
    if !file.extension().is_some_and(|end| end == "yaml" || end == "yml") {
        let sentence = format!("-o: Lima takes `{shown}` for the name of a template, not for a file");
        return Err(Failure::usage(sentence).hint(format!("end its name in `.yaml`: `-o {name}.yaml`")));
    }
    let word = quoted(file);
    if args.force {
        disk::write_atomic(&path, text.as_bytes(), 0o644)?;
    } else if !disk::create_atomic(&path, text.as_bytes(), 0o644)? {
        return Err(Failure::operation(format!("`{shown}` is there already"))
            .hint(format!("choose another name, or replace it: `machine export {name} -o {word} --force`")));
    }
    // An instance is called as its file is, where that can be a name.
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let called = if is_instance_name(&stem) { String::new() } else { format!("--name={name} ") };
    context.ui.say(&format!("wrote `{shown}`   ·   limactl start --timeout=1h {called}{word}"));
    Ok(())
}

/// Letters and digits, with single `.`, `_` or `-` between them (Lima's pkg/identifiers).
fn is_instance_name(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.split(['.', '_', '-']).all(is_word)
}

/// What a profile or a variable says of this computer is the user's own, but should not leave it unnoticed.
fn warn_of_home(text: &str, home: &Path) {
    let numbers: Vec<String> =
        lines_with_path(text, &home.to_string_lossy()).iter().map(ToString::to_string).collect();
    if !numbers.is_empty() {
        let sentence = "from your configuration, the path of your home folder has come into the file: line";
        ui::warn(&format!("{sentence} {}", numbers.join(", ")));
    }
}

/// The lines that name a folder or what is in it; none when it is the guest's home folder too.
fn lines_with_path(text: &str, folder: &str) -> Vec<usize> {
    if folder.len() < 2 || "/home/dev".starts_with(folder) {
        return Vec::new();
    }
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let has = |line: &str| line.match_indices(folder).any(|(at, _)| ends(&line[at + folder.len()..]));
    let numbered = text.lines().zip(1..);
    numbered.filter(|(line, _)| has(line)).map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::lines_with_path;

    #[test]
    fn a_home_folder_is_found_as_a_whole_path() {
        let text = "a\nPATH=/home/me:/bin\n/home/menu\n'/home/me/x'\n/home/me";
        assert_eq!(lines_with_path(text, "/home/me"), [2, 4, 5]);
        assert_eq!(lines_with_path("/home/dev/code", "/home/dev"), Vec::<usize>::new());
        assert_eq!(lines_with_path("/home/dev/code", "/"), Vec::<usize>::new());
    }
}
