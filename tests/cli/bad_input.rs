//! Words on the command line that cannot be meant: exit code 2, nothing created, nothing run.

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

/// Runs each line and makes sure that nothing came of it.
fn refuse(world: &World, lines: &[&[&str]]) -> String {
    let before = world.tree();
    let mut said = String::new();
    for args in lines {
        let outcome = world.run(args);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{args:?}\n{outcome}");
        let first = outcome.stderr.lines().next().unwrap_or_default();
        said.extend([args.join(" ").as_str(), "\n    ", first, "\n"]);
    }
    assert_eq!(world.tree(), before);
    assert_eq!(world.effects(), "");
    said
}

#[test]
fn names() {
    let world = World::new();
    world.configure(BARE);
    let names = [
        "Blog",
        "1blog",
        "-",
        "a_b",
        "a.b",
        "ünïcode",
        "bl\u{43e}g",
        "x\ny",
        "defaults",
        "bake-x",
        "list",
        "",
        " ",
    ];
    let lines: Vec<[&str; 3]> = names.iter().map(|name| ["up", "--", name]).collect();
    let lines: Vec<&[&str]> = lines.iter().map(<[&str; 3]>::as_slice).collect();
    assert_snapshot!(refuse(&world, &lines), @r#"
    up -- Blog
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `Blog`: it has capital letters; did you mean `blog`?
    up -- 1blog
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `1blog`: it starts with a digit
    up -- -
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `-`: it starts with `-`, like an option
    up -- a_b
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `a_b`: it has `_`; did you mean `a-b`?
    up -- a.b
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `a.b`: it has `.`
    up -- ünïcode
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `ünïcode`: it has the character U+00FC
    up -- blоg
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `blоg`: it has the character U+043E
    up -- x
    y
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `x\ny`: it has the character U+000A; did you mean `x-y`?
    up -- defaults
        error: PROJECT: `defaults` is a word of `machine` itself and cannot name a project
    up -- bake-x
        error: PROJECT: `bake-x` starts with `bake-`, which is kept for machines that build boxes
    up -- list
        error: PROJECT: `list` is a word of `machine` itself and cannot name a project
    up -- 
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got ``: it is empty
    up --  
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got ` `: it has a space
    "#);
    let long = "a".repeat(31);
    assert_snapshot!(refuse(&world, &[&["up", &long]]).replace(&long, "<long>"), @"
    up <long>
        error: PROJECT: expected a project name of lower-case letters, digits and `-`, got `<long>`: it has 31 characters, 30 are allowed; did you mean `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`?
    ");
}

#[test]
fn options() {
    let world = World::new();
    world.configure(BARE);
    let lines: [&[&str]; 17] = [
        &["frobnicate"],
        &["upp", "hello"],
        &["up", "--frob"],
        &["up", "hello", "--dry-runn"],
        &["ssh", "a", "b"],
        &["run", "hello", "-t", "-T", "--", "ls"],
        &["down", "hello", "--all"],
        &["destroy"],
        &["destroy", "a", "b"],
        &["init", "--name", "x"],
        &["completions"],
        &["completions", "tcsh"],
        &["lima"],
        &["connect"],
        &["list", "hello"],
        &["--config"],
        &["list", "--config", "/no/such/folder"],
    ];
    assert_snapshot!(refuse(&world, &lines), @"
    frobnicate
        error: unrecognized subcommand 'frobnicate'
    upp hello
        error: unrecognized subcommand 'upp'
    up --frob
        error: unexpected argument '--frob' found
    up hello --dry-runn
        error: unexpected argument '--dry-runn' found
    ssh a b
        error: unexpected argument 'b' found
    run hello -t -T -- ls
        error: the argument '--tty' cannot be used with '--no-tty'
    down hello --all
        error: the argument '[PROJECT]...' cannot be used with '--all'
    destroy
        error: the following required arguments were not provided:
    destroy a b
        error: unexpected argument 'b' found
    init --name x
        error: the following required arguments were not provided:
    completions
        error: the following required arguments were not provided:
    completions tcsh
        error: invalid value 'tcsh' for '<SHELL>'
    lima
        error: the following required arguments were not provided:
    connect
        error: the following required arguments were not provided:
    list hello
        error: unexpected argument 'hello' found
    --config
        error: a value is required for '--config <DIR>' but none was supplied
    list --config /no/such/folder
        error: the configuration folder `/no/such/folder` does not exist
    ");
}

#[test]
fn folders_and_ages() {
    let world = World::new();
    world.configure(BARE);
    let file = world.home(".config/machine/projects.toml");
    let file = file.to_str().expect("text");
    let lines: [&[&str]; 2] = [&["list", "--config", "/etc/passwd"], &["box", "prune", "--unused-for", "x"]];
    assert_snapshot!(refuse(&world, &lines), @"
    list --config /etc/passwd
        error: the configuration folder `/etc/passwd` is no folder
    box prune --unused-for x
        error: invalid value 'x' for '--unused-for <AGE>': expected days, `1d` to `3650d`, such as `30d`, got `x`
    ");
    assert_snapshot!(world.run(&["--config", file, "list"]), @"
    exit code 2
    --- stderr
    error: the configuration folder `~/.config/machine/projects.toml` is no folder
    hint: name the folder it lies in: `--config ~/.config/machine`
    ");
}

#[test]
fn a_variable_that_is_empty_is_not_set() {
    let world = World::new();
    world.configure(BARE);
    let of = |folder: &str| world.finish(world.machine(&["list"]).env("MACHINE_CONFIG_DIR", folder));
    let outcome = of("");
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(outcome.stdout.contains("hello"), "{outcome}");
    assert_eq!(of("/no/such/folder").code, 2);
}

#[test]
fn json_where_there_is_none() {
    let world = World::new();
    world.configure(BARE);
    let lines: [&[&str]; 7] = [
        &["up", "hello", "--json", "--dry-run"],
        &["rebuild", "hello", "--json", "--dry-run"],
        &["ports", "hello", "--open", "5173", "--json"],
        &["ports", "hello", "--json", "add", "5173"],
        &["keys", "--json", "hold", "hello"],
        &["keys", "--json", "grant", "hello", "--ask", "always"],
        &["trust", ".", "--json"],
    ];
    assert_snapshot!(refuse(&world, &lines), @"
    up hello --json --dry-run
        error: the argument '--json' cannot be used with '--dry-run'
    rebuild hello --json --dry-run
        error: the argument '--json' cannot be used with '--dry-run'
    ports hello --open 5173 --json
        error: the argument '--open <PORT>' cannot be used with '--json'
    ports hello --json add 5173
        error: `--json` is for the list of ports; `add` and `remove` print none
    keys --json hold hello
        error: `--json` is for `keys`, `keys status`, `keys log` and `keys release`
    keys --json grant hello --ask always
        error: `--json` is for `keys`, `keys status`, `keys log` and `keys release`
    trust . --json
        error: the argument '[PATH]' cannot be used with '--json'
    ");
}

#[test]
fn verbs_on_projects_without_a_machine() {
    let world = World::new();
    world.configure(BARE);
    for verb in ["down", "destroy"] {
        assert_eq!(world.run(&[verb, "hello"]).code, 1);
    }
    assert_snapshot!(world.run(&["down", "hello"]), @"
    exit code 1
    --- stderr
    error: the project `hello` has no machine yet
    hint: make it: `machine up hello`
    ");
    assert_snapshot!(world.run(&["down", "--all"]), @"exit code 0");
    assert_snapshot!(world.run(&["ssh", "hello"]), @"
    exit code 125
    --- stderr
    error: the project `hello` has no machine yet
    hint: make it: `machine up hello`
    ");
}

#[test]
fn bytes_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    world.configure(BARE);
    let mut command = world.machine(&["up"]);
    command.arg(std::ffi::OsStr::from_bytes(b"bl\xffog"));
    assert_eq!(world.finish(&mut command).code, 2);
    assert_eq!(world.effects(), "");
}
