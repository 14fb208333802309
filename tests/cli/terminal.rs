//! Questions and colours, on a terminal that `script` of util-linux makes.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::claims::repository;
use crate::first_up::BARE;
use crate::world::{World, skip};

/// Types `words` at `machine ARGS` on a terminal: its exit code and everything shown. `None` without `script`.
pub fn type_at(world: &World, line: &str, words: &str) -> Option<(i32, String)> {
    let mut command = world.command("/usr/bin/script");
    command.args(["-q", "-e", "-c", line, "/dev/null"]).env("TERM", "xterm").env("SHELL", "/bin/sh");
    if !cfg!(target_os = "linux") || !std::path::Path::new("/usr/bin/script").exists() {
        skip("no `script` of util-linux here");
        return None;
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    let mut keyboard = child.stdin.take().expect("a pipe");
    keyboard.write_all(words.as_bytes()).expect("typed");
    let ended = child.wait_with_output().expect("ended");
    drop(keyboard);
    Some((ended.status.code().unwrap_or(-1), world.mask(&String::from_utf8_lossy(&ended.stdout))))
}

#[test]
fn destroy_asks_and_listens() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    let question =
        "Delete the machine `hello` and its disk? No unsaved work was found in its repositories. [y/N]";
    for words in ["n\n", "\n", "what\n"] {
        let Some((code, shown)) = type_at(&world, "machine destroy hello", words) else { return };
        assert_eq!(code, 1, "{shown}");
        assert!(shown.contains(question) && shown.contains("nothing was deleted"), "{shown}");
        assert!(world.home(".local/share/machine/lima/hello/disk").exists());
    }
    let Some((code, shown)) = type_at(&world, "machine destroy hello", "y\n") else { return };
    assert_eq!(code, 0, "{shown}");
    assert!(!world.home(".local/share/machine/lima/hello").exists());
}

#[test]
fn a_signal_ends_a_question_and_nothing_is_done() {
    let world = World::new();
    let mut command = world.command("/usr/bin/script");
    if !cfg!(target_os = "linux") || !std::path::Path::new("/usr/bin/script").exists() {
        return skip("no `script` of util-linux here");
    }
    repository(&world, "odd", Some("git@github.com:you/odd.git"), "");
    std::fs::remove_dir_all(world.home("odd/.machine")).expect("removed");
    command.args(["-q", "-e", "-c", "machine up odd", "/dev/null"]).env("SHELL", "/bin/sh");
    command.current_dir(world.home("odd")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().expect("started");
    let mut keyboard = child.stdin.take().expect("a pipe");
    let mut screen = child.stdout.take().expect("a pipe");
    let mut shown = String::new();
    while !shown.contains("[Y/n]") {
        let mut byte = [0];
        screen.read_exact(&mut byte).expect("more");
        shown.push(char::from(byte[0]));
    }
    keyboard.write_all(b"\x03").expect("typed");
    assert_eq!(child.wait().expect("ended").code(), Some(130), "{shown}");
    assert!(!world.home(".config/machine/projects.toml").exists());
}

#[test]
fn an_answer_that_a_full_disk_lost_is_a_failure() {
    let world = World::new();
    world.configure(BARE);
    for args in [&["list", "--json"][..], &["export", "hello"], &["man"]] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let Ok(full) = full else { return skip("there is no /dev/full here") };
        let ended = world.machine(args).stdout(full).output().expect("ended");
        assert_eq!(ended.status.code(), Some(1), "{args:?}");
        let words = String::from_utf8_lossy(&ended.stderr);
        assert!(
            words.contains("error: failed to write the answer") && words.contains("No space left"),
            "{words}"
        );
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let world = World::new();
    world.configure(BARE);
    let Some((_, shown)) = type_at(&world, "machine ssh nobody", "") else { return };
    assert!(shown.contains("\u{1b}["), "{shown:?}");
    let Some((_, shown)) = type_at(&world, "NO_COLOR=1 machine ssh nobody", "") else { return };
    assert!(!shown.contains("\u{1b}[") && shown.contains("error: there is no project `nobody`"), "{shown:?}");
}

#[test]
fn up_leaves_the_cursor_visible() {
    let world = World::new();
    world.configure(BARE);
    let Some((code, shown)) = type_at(&world, "machine up hello", "") else { return };
    assert_eq!(code, 0, "{shown}");
    let (hidden, visible) = (shown.rfind("\u{1b}[?25l"), shown.rfind("\u{1b}[?25h"));
    assert!(hidden.is_none() || visible > hidden, "{shown:?}");
}
