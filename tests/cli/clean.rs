//! Whatever a guest, Lima, git or ssh print, they do not steer the terminal; after a session it is put right.

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::outcome::Outcome;
use crate::terminal::type_at;
use crate::world::World;

/// Title, clipboard, screen, cursor, a bidirectional override, a hidden one, C1 codes, an overwritten line.
const HOSTILE: &str = "a\u{1b}]0;t\u{7}b\u{1b}]52;c;ZXZpbA==\u{1b}\\c\u{1b}[2J\u{1b}[31md\u{9b}1Ae\u{202e}f\u{200b}g\rh\u{90}q\u{9c}i";
const CLEAN: [&str; 2] = ["abcdefg", "hi"];

fn assert_clean(outcome: &Outcome) {
    let text = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(CLEAN.iter().all(|part| text.contains(part)), "{text:?}");
    assert_harmless(&text);
}

fn assert_harmless(text: &str) {
    let steers =
        |c: char| c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{202e}' | '\u{200b}');
    assert!(!text.contains(steers), "{text:?}");
}

#[test]
fn lima_says_nothing_to_the_terminal() {
    let world = World::new();
    world.configure(BARE);
    world.knob("version", &format!("limactl version 0.1.{HOSTILE}\n"));
    assert_clean(&world.run(&["up", "hello"]));
    world.release("version");
    // As JSON, which is how Lima logs.
    world.knob("fail-start", serde_json::json!(HOSTILE).to_string().trim_matches('"'));
    assert_clean(&world.run(&["up", "hello", "--no-cache"]));
    assert_clean(&world.run(&["list"]));
    // JSON has it all, escaped.
    for command in [&["list", "--json"][..], &["up", "hello", "--json"]] {
        let text = world.run(command).stdout;
        assert!(text.contains("52;c;ZXZpbA=="), "{text}");
        assert_harmless(&text);
    }
}

#[test]
fn git_says_nothing_to_the_terminal() {
    let world = World::new();
    world.configure("[blog]\nrepos = [\"git@github.com:you/blog.git\"]\n");
    world.knob("fail-ls-remote", HOSTILE);
    assert_clean(&world.run(&["up", "blog"]));
    world.release("fail-ls-remote");
    world.knob("fail-clone", HOSTILE);
    assert_clean(&world.run(&["up", "blog", "--no-cache"]));
}

#[test]
fn a_guest_says_nothing_to_the_terminal_while_it_is_set_up() {
    let world = World::new();
    world.configure("[blog]\nrepos = [\"git@github.com:you/blog.git\"]\n");
    world.knob("fail-step", "ssh_known_hosts");
    world.knob("last-words", HOSTILE);
    assert_clean(&world.run(&["up", "blog", "--no-cache"]));
}

#[test]
fn a_pipe_gets_every_byte() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    let outcome = world.run(&["run", "hello", "--", "printf", "%s", HOSTILE]);
    assert_eq!(outcome.stdout.trim_end(), HOSTILE);
}

#[test]
fn a_command_without_a_terminal_of_its_own_is_cleaned_on_ours() {
    let world = World::new();
    world.configure(BARE);
    world.must(&["up", "hello"]);
    let line =
        |more: &str| format!("machine run {more} hello -- printf '\\033]0;t\\007a\\033[2J\\033[31mb\\rc\\n'");
    let Some((code, shown)) = type_at(&world, &line("-T"), "") else { return };
    assert_eq!(code, 0);
    assert_snapshot!(shown.escape_debug().to_string(), @r"a\u{1b}[31mb\nc\n\u{1b}[0m\n");
    let Some((_, shown)) = type_at(&world, &format!("NO_COLOR=1 {}", line("-T")), "") else { return };
    assert_snapshot!(shown.escape_debug().to_string(), @r"ab\nc\n");
    // One of its own is the guest's, as with any ssh; then it is ours again.
    let Some((_, shown)) = type_at(&world, &line("-t"), "") else { return };
    let (session, after) = shown.split_once("\u{1b}[!p").expect("a reset");
    assert!(session.contains("\u{1b}]0;t"), "{session:?}");
    for mode in
        ["\u{1b}[?2004l", "\u{1b}[?1003l", "\u{1b}[?1049l", "\u{1b}[?25h", "\u{1b}[<99u", "\u{1b}[>4m"]
    {
        assert!(after.contains(mode), "{mode:?} {after:?}");
    }
    let Some((_, shown)) = type_at(&world, &format!("TERM=dumb {}", line("-t")), "") else { return };
    assert!(!shown.contains("\u{1b}[!p"), "{shown:?}");
}

#[test]
fn limas_own_command_line_is_cleaned_too() {
    let world = World::new();
    world.configure(BARE);
    world.knob("lima-words", "\u{1b}]0;t\u{7}a\u{1b}[2Jb\n");
    let Some((code, shown)) = type_at(&world, "machine lima -- info", "") else { return };
    assert_eq!((code, shown.trim_end()), (0, "ab"));
    assert_eq!(world.run(&["lima", "--", "info"]).stdout, "\u{1b}]0;t\u{7}a\u{1b}[2Jb\n");
}
