//! Tests of the keys `secrets` and `git`.
//!
//! Enters: TOML as an author writes it. Leaves: sources, or the reports that the author reads.

use insta::assert_snapshot;

use super::*;
use crate::config::problem::Problems;
use crate::config::source::Source;
use crate::config::syntax::parse;
use crate::config::testing::judge;

fn report(text: &str) -> String {
    judge(text, |source, problems| drop(read(source, problems)))
}

fn read(source: &Source, problems: &mut Problems) -> BTreeMap<EnvName, SecretSpec> {
    let mut walk = Walk { source, problems: Problems::default() };
    let mut secrets = BTreeMap::new();
    if let Some(tree) = parse(source, &mut walk.problems) {
        let root = Table::root(&tree);
        secrets = root.get("secrets").map(|value| read_secrets(&value, &mut walk)).unwrap_or_default();
        if let Some(value) = root.get("git") {
            read_git(&value, &mut walk);
        }
    }
    *problems = walk.problems;
    secrets
}

fn accepted(text: &str) -> Vec<String> {
    let source = Source { label: "p".into(), path: "p".into(), text: text.into() };
    let secrets = read(&source, &mut Problems::default());
    let show = |(name, spec): (&EnvName, &SecretSpec)| {
        format!("{name}: {:?} {} {}", spec.source, spec.export, spec.time_limit.as_secs())
    };
    secrets.iter().map(show).collect()
}

#[test]
fn every_kind_of_source() {
    let text = r#"
        [secrets]
        A = "op://Dev/blog/url"
        B = { op = "op://Dev/blog/section/url", export = true }
        C = { command = ["pass", "show", "it's"], timeout = 5 }
        D = { env = "STRIPE_KEY" }
        E = { file = "~/.secrets/sentry" }
        F = { keychain = "github", account = "me" }
        G = { op_environment = "abc123" }
        H = { op_environment = "abc123", variable = "OTHER" }
    "#;
    assert_eq!(report(text), "");
    assert_snapshot!(accepted(text).join("\n"), @r#"
    A: OnePassword("op://Dev/blog/url") false 60
    B: OnePassword("op://Dev/blog/section/url") true 60
    C: Command(["pass", "show", "it's"]) false 5
    D: Variable("STRIPE_KEY") false 60
    E: File("~/.secrets/sentry") false 60
    F: Keychain { service: "github", account: Some("me") } false 60
    G: OnePasswordEnvironment { id: "abc123", variable: "G" } false 60
    H: OnePasswordEnvironment { id: "abc123", variable: "OTHER" } false 60
    "#);
}

#[test]
fn a_value_in_the_file_is_refused_and_not_repeated() {
    let shown = report(
        "[secrets]\nTOKEN = \"ghp_abcdef123456\"\nPIN = 123456\n[git]\ntoken = \"ghp-abcdef123456\"\n",
    );
    assert!(!shown.contains("123456"), "{shown}");
    assert_snapshot!(shown, @r#"
    error: projects.toml:2:9: secrets.TOKEN: expected a reference such as `op://vault/item/field`, or a table such as `{ command = ["pass", "show", "npm"] }`; a value itself does not belong in a file
      2 | TOKEN = "***"
        |         ^^^^^
    error: projects.toml:3:7: secrets.PIN: expected a reference such as `op://vault/item/field`, or a table such as `{ command = ["pass", "show", "npm"] }`; a value itself does not belong in a file
      3 | PIN = "***"
        |       ^^^^^
    error: projects.toml:5:9: git.token: expected the name of one of the project's `secrets`, not a token itself
      5 | token = "***"
        |         ^^^^^
    hint: edit `DIR/projects.toml`
    "#);
}

#[test]
fn every_mistake_is_named() {
    let text = r#"
[secrets]
"not a name" = { env = "A" }
PATH = { env = "A" }
NONE = { export = true }
TWO = { env = "A", file = "/x" }
SHELL_LINE = { command = "pass show npm" }
EMPTY = { command = [] }
RELATIVE = { command = ["./x"] }
PLACE = { file = "secrets/x" }
LONG = { env = "A", timeout = 601 }
LONELY = { env = "A", account = "me" }
UNKNOWN = { envv = "A" }
REF = { op = "op://Dev" }
"#;
    assert_snapshot!(report(text), @r#"
    error: projects.toml:3:1: secrets: expected the name of an environment variable, such as `DATABASE_URL`, got `not a name`
      3 | "not a name" = { env = "A" }
        | ^^^^^^^^^^^^
    error: projects.toml:4:1: secrets: `PATH` is put together by `machine`; use `path` in provision.toml
      4 | PATH = { env = "A" }
        | ^^^^
    error: projects.toml:5:8: secrets.NONE: expected one of `op`, `op_environment`, `command`, `env`, `file` or `keychain`, got 0
      5 | NONE = { export = true }
        |        ^^^^^^^^^^^^^^^^^
    error: projects.toml:6:7: secrets.TWO: expected one of `op`, `op_environment`, `command`, `env`, `file` or `keychain`, got 2
      6 | TWO = { env = "A", file = "/x" }
        |       ^^^^^^^^^^^^^^^^^^^^^^^^^^
    error: projects.toml:7:26: secrets.SHELL_LINE.command: expected a list: a program and its arguments, such as `["pass", "show", "npm"]`, got `"pass show npm"`
      7 | SHELL_LINE = { command = "pass show npm" }
        |                          ^^^^^^^^^^^^^^^
    error: projects.toml:8:21: secrets.EMPTY.command: expected a list: a program and its arguments, such as `["pass", "show", "npm"]`, the program by its name or absolute path
      8 | EMPTY = { command = [] }
        |                     ^^
    error: projects.toml:9:24: secrets.RELATIVE.command: expected a list: a program and its arguments, such as `["pass", "show", "npm"]`, the program by its name or absolute path
      9 | RELATIVE = { command = ["./x"] }
        |                        ^^^^^^^
    error: projects.toml:10:18: secrets.PLACE.file: expected the path of a file, absolute or from `~/` on, got `secrets/x`
      10 | PLACE = { file = "secrets/x" }
         |                  ^^^^^^^^^^^
    error: projects.toml:11:31: secrets.LONG.timeout: expected seconds, 1 to 600, got `601`
      11 | LONG = { env = "A", timeout = 601 }
         |                               ^^^
    error: projects.toml:12:23: `account` goes with `keychain`
      12 | LONELY = { env = "A", account = "me" }
         |                       ^^^^^^^
    error: projects.toml:13:13: unknown key `envv`; did you mean `env`?
      13 | UNKNOWN = { envv = "A" }
         |             ^^^^
    error: projects.toml:14:14: secrets.REF.op: expected a reference such as `op://vault/item/field`, or a table such as `{ command = ["pass", "show", "npm"] }`; a value itself does not belong in a file
      14 | REF = { op = "***" }
         |              ^^^^^
    hint: edit `DIR/projects.toml`
    "#);
}

#[test]
fn a_log_in_needs_its_token() {
    assert_snapshot!(report("[git]\nusername = \"me\"\nemail = \"a@b\"\n"), @r#"
    error: projects.toml:1:1: git: it has no `token`
      1 | [git]
        | ^^^^^
    error: projects.toml:3:1: `email` belongs in config.toml
      3 | email = "a@b"
        | ^^^^^
    hint: edit `DIR/projects.toml`
    "#);
}
