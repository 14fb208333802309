//! The house rules that a program can check: who may know whom, who may print, how long a file may be.
//!
//! Enters: the text of `src`, `profiles`, `templates`, `tests` and Cargo.lock. Leaves: complaints, of which there may
//! be none. Each rule is a function from texts to complaints, and each is shown one text that it must complain about.

#[path = "house/scan.rs"]
mod scan;

use scan::{File, files_below, functions, is_rust};

/// The rooms from the top of the house down: imports only point to the right.
const ROOMS: [&str; 19] = [
    "main",
    "cli",
    "commands",
    "workspace",
    "context",
    "config",
    "boundary",
    "plan",
    "boxes",
    "lima",
    "guest",
    "record",
    "ssh",
    "process",
    "disk",
    "layout",
    "ui",
    "model",
    "failure",
];
/// The rooms that may talk to the terminal; what lies below them tells what it does through the Reporter.
const KNOW_UI: [&str; 6] = ["main", "commands", "workspace", "context", "plan", "ui"];
/// The manual is made from the command line's own words: the one import that points up.
const MAY_USE_CLI: &str = "src/commands/man.rs";
const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;
const MEDIAN_LINES: usize = 12;
const PACKAGES: usize = 120;

type Complaints = Vec<String>;

/// A check of one file applied to many.
fn each(files: &[File], rule: impl Fn(&File) -> Complaints) -> Complaints {
    files.iter().flat_map(rule).collect()
}

/// The room of a file of src: `src/lima/list.rs` is in `lima`, `src/disk.rs` is `disk`.
fn room_of(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below.split(['/', '.']).next().unwrap_or(below)
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

/// Whether code in `path` may name `crate::target`.
fn may_use(path: &str, target: &str) -> bool {
    let from = room_of(path);
    let points_down = rank(from).zip(rank(target)).is_some_and(|(from, to)| from <= to);
    let may_talk = target != "ui" || KNOW_UI.contains(&from);
    (points_down && may_talk) || (target == "cli" && path == MAY_USE_CLI)
}

fn imports_point_down(file: &File) -> Complaints {
    let rooms = file.code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        // `crate::{a, b}` gives an empty word, which is no room: one `use` a room keeps them countable.
        &rest[..end]
    });
    let bad = rooms.filter(|room| !may_use(&file.path, room));
    bad.map(|room| format!("{} must not know `crate::{room}`", file.path)).collect()
}

/// `super::super` is another way out of a room, which the rule above would not see.
fn super_stays_in_the_room(file: &File) -> Complaints {
    let module = file.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let out = "super::".repeat(module.split('/').count());
    let leaves = file.own_code().contains(&out);
    leaves.then(|| format!("{} leaves its room by `{out}`", file.path)).into_iter().collect()
}

/// Complains when `word` stands in the code of a file outside its one place.
fn only_in(file: &File, word: &str, places: &[&str]) -> Complaints {
    let is_home = places.iter().any(|place| file.path.starts_with(place));
    let found = !is_home && file.own_code().contains(word);
    found.then(|| format!("{}: `{word}` has its place in {places:?}", file.path)).into_iter().collect()
}

fn effects_have_one_place(file: &File) -> Complaints {
    let rules: [(&str, &[&str]); 10] = [
        ("Command::new", &["src/process/"]),
        ("std::env", &["src/context.rs", "src/main.rs"]),
        ("use std::{", &[]),
        ("print!", &[]),
        ("println!", &[]),
        ("dbg!", &[]),
        ("process::exit", &[]),
        (".unwrap()", &[]),
        ("todo!", &[]),
        ("unimplemented!", &[]),
    ];
    rules.iter().flat_map(|(word, places)| only_in(file, word, places)).collect()
}

fn opens_with_its_border(file: &File) -> Complaints {
    let lines = file.text.lines().take_while(|line| line.starts_with("//!")).count();
    let odd = !(2..=6).contains(&lines);
    odd.then(|| format!("{} opens with {lines} `//!` lines, not 2 to 6", file.path)).into_iter().collect()
}

fn is_short(file: &File) -> Complaints {
    let lines = file.text.lines().count();
    let mut complaints = Complaints::new();
    if lines > FILE_LINES {
        complaints.push(format!("{} has {lines} lines", file.path));
    }
    let long = functions(&file.code).into_iter().filter(|function| function.lines > FUNCTION_LINES);
    complaints.extend(long.map(|long| format!("{}: {} has {} lines", file.path, long.name, long.lines)));
    complaints
}

fn the_usual_function_is_small(files: &[File]) -> Complaints {
    let all = files.iter().flat_map(|file| functions(&file.code));
    let mut lengths: Vec<usize> = all.map(|function| function.lines).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    if median > MEDIAN_LINES { vec![format!("the median function has {median} lines")] } else { Vec::new() }
}

fn nothing_is_put_off(file: &File) -> Complaints {
    // Put together here, so that this file does not complain about itself.
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let found = words.iter().filter(|word| file.text.contains(word.as_str()));
    found.map(|word| format!("{}: {word}", file.path)).collect()
}

/// Nothing but a test, which says that it must not be there, may name a way around the pinned host key.
fn host_keys_are_pinned(file: &File) -> Complaints {
    let text = file.own_text().to_lowercase();
    let ways =
        ["stricthostkeychecking no", "stricthostkeychecking=no", "stricthostkeychecking off", "accept-new"];
    let found = ways.iter().filter(|way| text.contains(*way));
    found.map(|way| format!("{}: `{way}`", file.path)).collect()
}

fn packages_are_few(lock: &str) -> Complaints {
    let count = lock.matches("[[package]]").count();
    if count >= PACKAGES { vec![format!("Cargo.lock holds {count} packages")] } else { Vec::new() }
}

fn src() -> Vec<File> {
    files_below(&["src"], is_rust)
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn imports_only_point_down() {
    let files = src();
    assert!(files.len() > 50, "src was not found");
    assert_none(&each(&files, imports_point_down));
    assert_none(&each(&files, super_stays_in_the_room));
}

#[test]
fn effects_stay_in_their_place() {
    assert_none(&each(&src(), effects_have_one_place));
}

#[test]
fn every_module_says_what_enters() {
    assert_none(&each(&src(), opens_with_its_border));
}

#[test]
fn files_and_functions_are_short() {
    let files = files_below(&["src", "tests"], is_rust);
    assert_none(&each(&files, is_short));
    assert_none(&the_usual_function_is_small(&files));
}

#[test]
fn nothing_is_left_for_later_and_no_host_key_is_guessed() {
    let files = files_below(&["src", "profiles", "templates", "tests"], |_| true);
    assert!(files.iter().any(|file| file.path == "templates/lima.yaml"));
    assert_none(&each(&files, nothing_is_put_off));
    let shipped: Vec<File> = files.into_iter().filter(|file| !file.path.starts_with("tests/")).collect();
    assert_none(&each(&shipped, host_keys_are_pinned));
}

#[test]
fn the_lock_file_is_small() {
    let lock = files_below(&["Cargo.lock"], |_| true);
    assert!(lock[0].text.contains("name = \"machine\""));
    assert_none(&packages_are_few(&lock[0].text));
}

/// Every rule fails on what it is there for, and not on its harmless neighbour.
mod controls {
    use super::*;

    fn fails(rule: impl Fn(&File) -> Complaints, path: &str, bad: &str, good: &str) {
        assert!(!rule(&File::new(path, bad)).is_empty(), "{path} should not pass: {bad}");
        assert_none(&rule(&File::new(path, good)));
    }

    #[test]
    fn of_imports() {
        let rule = imports_point_down;
        fails(rule, "src/ssh/road.rs", "use crate::lima::Driver;", "use crate::process::Cmd;");
        fails(rule, "src/lima/list.rs", "let x = crate::ui::answer;", "// crate::ui is above us.");
        fails(rule, "src/commands/up.rs", "use crate::cli::Cli;", "use crate::ui;");
        fails(rule, "src/model/size.rs", "use crate::disk;", "use crate::failure::Failure;");
        fails(rule, "src/plan/goal.rs", "use crate::{disk, ui};", "let x = \"crate::cli\";");
        fails(rule, "src/helpers.rs", "use crate::model::Arch;", "");
        assert_none(&rule(&File::new(MAY_USE_CLI, "use crate::cli::Cli;")));
        fails(super_stays_in_the_room, "src/ssh/road.rs", "use super::super::lima;", "use super::agent;");
        fails(super_stays_in_the_room, "src/disk.rs", "use super::lima;", "use crate::failure;");
    }

    #[test]
    fn of_effects() {
        let rule = effects_have_one_place;
        fails(rule, "src/lima/list.rs", "Command::new(\"ps\")", "Cmd::new(\"ps\")");
        fails(rule, "src/disk.rs", "std::env::var(\"HOME\")", "env!(\"HOME\")");
        fails(
            rule,
            "src/disk.rs",
            "fn f() { println!(\"x\"); }",
            "#[cfg(test)]\nmod tests {\n println!(\"\");\n}\n",
        );
        fails(rule, "src/main.rs", "std::process::exit(1)", "let args = std::env::args_os();");
        fails(rule, "src/disk.rs", "x.unwrap()", "x.unwrap_or(1); // not .unwrap()");
        fails(
            rule,
            "src/disk.rs",
            "#[cfg(test)]\nmod tests {\n}\nfn f() { x.unwrap(); }\n",
            "'\"'; \"x.unwrap()\"",
        );
    }

    #[test]
    fn of_sizes() {
        let head = "//! What it is.\n//!\n//! Enters: text.\n";
        fails(opens_with_its_border, "src/disk.rs", "//! One line.\nfn f() {}\n", head);
        fails(opens_with_its_border, "src/disk.rs", &"//! More.\n".repeat(7), head);
        fails(is_short, "src/disk.rs", &"\n".repeat(401), &"\n".repeat(400));
        let function =
            |lines: usize| format!("pub(super) fn f(x: [u8; 2]) {{\n{}}}\n", "\"{\";\n".repeat(lines - 2));
        fails(is_short, "src/disk.rs", &function(61), &function(60));
        let of = |lines: usize| [File::new("src/disk.rs", &function(lines))];
        assert!(!the_usual_function_is_small(&of(13)).is_empty());
        assert_none(&the_usual_function_is_small(&of(12)));
        let lock = |count: usize| "[[package]]\n".repeat(count);
        assert!(!packages_are_few(&lock(120)).is_empty());
        assert_none(&packages_are_few(&lock(119)));
    }

    #[test]
    fn of_words() {
        let later = ["// TO", "DO: this"].concat();
        fails(nothing_is_put_off, "src/disk.rs", &later, "// Done.");
        let rule = host_keys_are_pinned;
        fails(rule, "templates/x.sh", "ssh -o StrictHostKeyChecking=no", "StrictHostKeyChecking=yes");
        fails(
            rule,
            "src/ssh/road.rs",
            "\"StrictHostKeyChecking accept-new\"",
            "\"StrictHostKeyChecking yes\"",
        );
    }
}
