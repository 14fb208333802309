//! Tests of projects.toml: each class of mistake with its whole report, as the reader sees it.
//!
//! Enters: one bad file a class. Leaves: nothing but a folder that is gone at the end. No test looks at one word only.

use insta::assert_snapshot;

use super::*;
use crate::config::testing::{host, put, report};

/// The report on a user's projects.toml.
fn faults(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "user/projects.toml", text);
    let folder = ConfigFolder { dir: dir.path().join("user"), in_repository: false };
    report(&load_catalog(&folder, None, &host(), Caps::default()).unwrap_err(), dir.path())
}

#[test]
fn ports() {
    assert_snapshot!(faults(
        "[blog]\nports = [3000, \"8080:80\", 3000, \"9000:80\", 80, \"x\", -1, 70000, 20001, \"2222:22\", true, 3.5]\n\
         [shop]\nports = 3000\n"
    ), @r#"
    error: projects.toml:2:27: ports[2]: port 3000 of this computer is declared at 2:10 already
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                           ^^^^
    error: projects.toml:2:33: ports[3]: port 80 of the guest is declared at 2:16 already
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                 ^^^^^^^^^
    error: projects.toml:2:44: ports[4]: only root may listen on port 80 of this computer; did you mean `8080:80`?
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                            ^^
    error: projects.toml:2:48: ports[5]: expected a port from 1 to 65535 such as `3000`, or `8080:80` for HOST:GUEST, got `x`
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                                ^^^
    error: projects.toml:2:53: ports[6]: expected a port from 1 to 65535 such as `3000`, or `8080:80` for HOST:GUEST, got `-1`
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                                     ^^
    error: projects.toml:2:57: ports[7]: expected a port from 1 to 65535 such as `3000`, or `8080:80` for HOST:GUEST, got `70000`
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                                         ^^^^^
    error: projects.toml:2:64: ports[8]: port 20001 is kept for ssh: 20000 to 29999 reach the machines' own sshd
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                                                ^^^^^
    error: projects.toml:2:71: ports[9]: port 22 of the guest is sshd's, which `ssh machine-NAME` reaches
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                                                       ^^^^^^^^^
    error: projects.toml:2:82: ports[10]: expected a port such as `3000`, or `"8080:80"` for HOST:GUEST, got `true`
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                                                                  ^^^^
    error: projects.toml:2:88: ports[11]: expected a port such as `3000`, or `"8080:80"` for HOST:GUEST, got `3.5`
      2 | ports = [3000, "8080:80", 3000, "9000:80", 80, "x", -1, 70000, 20001, "2222:22", true, 3.5]
        |                                                                                        ^^^
    error: projects.toml:4:9: ports: expected a list of ports such as `[3000, "8080:80"]`, got `3000`
      4 | ports = 3000
        |         ^^^^
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn sizes_and_counts() {
    assert_snapshot!(faults(
        "[blog]\ncpus = 99\nmemory = \"16 GB\"\ndisk = \"1GiB\"\n[shop]\ncpus = 0\nmemory = \"64GiB\"\ndisk = 40\n\
         [a]\ncpus = -1\nmemory = \"1MiB\"\n[b]\ncpus = \"4\"\nmemory = \"0GiB\"\n[c]\ncpus = 4.5\n[d]\n\
         cpus = 99999999999999999999999999\n"
    ), @r#"
    error: projects.toml:2:8: cpus: expected at most `8`, as this computer has, got `99`
      2 | cpus = 99
        |        ^^
    error: projects.toml:3:10: memory: expected a size such as `4GiB`, got `16 GB`; did you mean `16GiB`?
      3 | memory = "16 GB"
        |          ^^^^^^^
    error: projects.toml:4:8: disk: expected at least `4GiB`, got `1GiB`
      4 | disk = "1GiB"
        |        ^^^^^^
    error: projects.toml:6:8: cpus: expected at least 1, got `0`
      6 | cpus = 0
        |        ^
    error: projects.toml:7:10: memory: `64GiB` is more than the 16 GiB of this computer
      7 | memory = "64GiB"
        |          ^^^^^^^
    error: projects.toml:8:8: disk: expected a size such as `40GiB`, got `40`
      8 | disk = 40
        |        ^^
    error: projects.toml:10:8: cpus: expected at least 1, got `-1`
      10 | cpus = -1
         |        ^^
    error: projects.toml:11:10: memory: expected at least `512MiB`, got `1MiB`
      11 | memory = "1MiB"
         |          ^^^^^^
    error: projects.toml:13:8: cpus: expected a whole number, got `"4"`
      13 | cpus = "4"
         |        ^^^
    error: projects.toml:14:10: memory: expected a size above zero, got `0GiB`
      14 | memory = "0GiB"
         |          ^^^^^^
    error: projects.toml:16:8: cpus: expected a whole number, got `4.5`
      16 | cpus = 4.5
         |        ^^^
    error: projects.toml:18:8: cpus: expected at most `8`, as this computer has, got `99999999999999999999999999`
      18 | cpus = 99999999999999999999999999
         |        ^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn keys() {
    assert_snapshot!(faults(
        "memory = \"4GiB\"\ncolour = 1\n[blog]\nmemroy = \"4GiB\"\nidle = true\napt = [\"jq\"]\ncolour = \"red\"\n\
         [blog.env]\nA = 1\n[blog.secrets]\n[defaults]\nrepos = [\"git@h:a\"]\nMEMORY = \"1GiB\"\n"
    ), @r#"
    error: projects.toml:1:1: memory: a project's keys belong below its name, such as `[blog]`
      1 | memory = "4GiB"
        | ^^^^^^
    error: projects.toml:2:10: colour: expected a table with a project's keys, got `1`
      2 | colour = 1
        |          ^
    error: projects.toml:4:1: unknown key `memroy`; did you mean `memory`?
      4 | memroy = "4GiB"
        | ^^^^^^
    error: projects.toml:5:8: idle: expected a table such as `{ after = "30m", action = "sleep" }`, got `true`
      5 | idle = true
        |        ^^^^
    error: projects.toml:6:1: `apt` belongs in provision.toml, or in a profile
      6 | apt = ["jq"]
        | ^^^
    error: projects.toml:7:1: unknown key `colour`
      7 | colour = "red"
        | ^^^^^^
    error: projects.toml:9:5: env.A: expected a string, got `1`
      9 | A = 1
        |     ^
    error: projects.toml:11:2: `[defaults]` cannot have `repos`
      11 | [defaults]
         |  ^^^^^^^^
    error: projects.toml:13:1: unknown key `MEMORY`; did you mean `memory`?
      13 | MEMORY = "1GiB"
         | ^^^^^^
    hint: a project has the keys repos, profiles, cpus, memory, disk, shell, env, ports, setup, forward_agent, host_access, lan_access, allow, isolation, image, secrets, git, idle, keep_awake
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn wrong_types() {
    assert_snapshot!(faults(
        "[blog]\nrepos = \"git@github.com:you/blog.git\"\nprofiles = \"base\"\nshell = \"tcsh\"\nenv = [\"A=1\"]\n\
         setup = \"npm ci\"\nforward_agent = \"yes\"\nimage = 13\n[shop]\nrepos = [1, {}]\nprofiles = [true]\n\
         setup = [\"\", 2]\nimage = \"debian\"\n"
    ), @r#"
    error: projects.toml:2:9: repos: expected a list of addresses, got `"git@github.com:you/blog.git"`
      2 | repos = "git@github.com:you/blog.git"
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    error: projects.toml:3:12: profiles: expected a list, each the name of a profile, got `"base"`
      3 | profiles = "base"
        |            ^^^^^^
    error: projects.toml:4:9: shell: expected `bash`, `zsh` or `fish`, got `tcsh`
      4 | shell = "tcsh"
        |         ^^^^^^
    error: projects.toml:5:7: env: expected a table such as `{ NAME = "value" }`, got a list
      5 | env = ["A=1"]
        |       ^^^^^^^
    error: projects.toml:6:9: setup: expected a list of shell lines such as `["npm ci"]`, or `false`, got `"npm ci"`
      6 | setup = "npm ci"
        |         ^^^^^^^^
    error: projects.toml:7:17: forward_agent: expected `true` or `false`, got `"yes"`
      7 | forward_agent = "yes"
        |                 ^^^^^
    error: projects.toml:8:9: image: expected the name of an image such as `debian-13`, or a table with `amd64` or `arm64`, got `13`
      8 | image = 13
        |         ^^
    error: projects.toml:10:10: repos[0]: expected an address such as `git@github.com:you/blog.git`, or a table with `url`, got `1`
      10 | repos = [1, {}]
         |          ^
    error: projects.toml:10:13: repos[1]: it has no `url`
      10 | repos = [1, {}]
         |             ^^
    error: projects.toml:11:13: profiles[0]: expected the name of a profile, got `true`
      11 | profiles = [true]
         |             ^^^^
    error: projects.toml:12:10: setup[0]: expected a shell line, got ``
      12 | setup = ["", 2]
         |          ^^
    error: projects.toml:12:14: setup[1]: expected a shell line, got `2`
      12 | setup = ["", 2]
         |              ^
    error: projects.toml:13:9: image: expected `debian-13` or `ubuntu-24.04`, got `debian`
      13 | image = "debian"
         |         ^^^^^^^^
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn names_of_projects_profiles_and_variables() {
    assert_snapshot!(faults(
        "[Blog]\n[up]\n[bake-1]\n[\"../x\"]\n[\"bl\\u043Eg\"]\n[\"a.b\"]\n[ok]\n\
         profiles = [\"bsae\", \"../x\", \"base\", \"base\", \"nothing-like-it\"]\n\
         env = { PATH = \"x\", LD_PRELOAD = \"x\", \"A B\" = \"x\", C = \"a\\nb\", D = \"\\u0000\" }\n"
    ), @r#"
    error: projects.toml:1:2: expected a project name of lower-case letters, digits and `-`, got `Blog`: it has capital letters; did you mean `blog`?
      1 | [Blog]
        |  ^^^^
    error: projects.toml:2:2: `up` is a word of `machine` itself and cannot name a project
      2 | [up]
        |  ^^
    error: projects.toml:3:2: `bake-1` starts with `bake-`, which is kept for machines that build boxes
      3 | [bake-1]
        |  ^^^^^^
    error: projects.toml:4:2: expected a project name of lower-case letters, digits and `-`, got `../x`: it is a path
      4 | ["../x"]
        |  ^^^^^^
    error: projects.toml:5:2: expected a project name of lower-case letters, digits and `-`, got `blоg`: it has the character U+043E
      5 | ["bl\u043Eg"]
        |  ^^^^^^^^^^^
    error: projects.toml:6:2: expected a project name of lower-case letters, digits and `-`, got `a.b`: it has `.`
      6 | ["a.b"]
        |  ^^^^^
    error: projects.toml:8:13: profiles: unknown profile `bsae`; did you mean `base`?
      8 | profiles = ["bsae", "../x", "base", "base", "nothing-like-it"]
        |             ^^^^^^
    error: projects.toml:8:21: profiles[1]: expected a profile name of lower-case letters, digits and `-`, got `../x`: it is a path
      8 | profiles = ["bsae", "../x", "base", "base", "nothing-like-it"]
        |                     ^^^^^^
    error: projects.toml:8:37: profiles[3]: listed twice
      8 | profiles = ["bsae", "../x", "base", "base", "nothing-like-it"]
        |                                     ^^^^^^
    error: projects.toml:8:45: profiles: unknown profile `nothing-like-it`
      8 | profiles = ["bsae", "../x", "base", "base", "nothing-like-it"]
        |                                             ^^^^^^^^^^^^^^^^^
    error: projects.toml:9:9: env: `PATH` is put together by `machine`; use `path` in provision.toml
      9 | env = { PATH = "x", LD_PRELOAD = "x", "A B" = "x", C = "a\nb", D = "\u0000" }
        |         ^^^^
    error: projects.toml:9:21: env: `LD_PRELOAD` steers the loader, the shell or ssh and cannot be set
      9 | env = { PATH = "x", LD_PRELOAD = "x", "A B" = "x", C = "a\nb", D = "\u0000" }
        |                     ^^^^^^^^^^
    error: projects.toml:9:39: env: expected the name of an environment variable, such as `DATABASE_URL`, got `A B`
      9 | env = { PATH = "x", LD_PRELOAD = "x", "A B" = "x", C = "a\nb", D = "\u0000" }
        |                                       ^^^^^
    error: projects.toml:9:56: env.C: a value cannot have line ends or NUL
      9 | env = { PATH = "x", LD_PRELOAD = "x", "A B" = "x", C = "a\nb", D = "\u0000" }
        |                                                        ^^^^^^
    error: projects.toml:9:68: env.D: a value cannot have line ends or NUL
      9 | env = { PATH = "x", LD_PRELOAD = "x", "A B" = "x", C = "a\nb", D = "\u0000" }
        |                                                                    ^^^^^^^^
    hint: profiles are BUNDLED; one of your own is a folder in `DIR/user/profiles`
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn repositories() {
    assert_snapshot!(faults(
        "[blog]\nrepos = [\n  \"-oProxyCommand=x\",\n  \"ext::sh\",\n  \"/srv/git/x\",\n  \"http://h/you/x\",\n  \".\",\n\
         \x20 \"git@h:a/x.git\",\n  { url = \"git@h:b/X\" },\n  { url = \"git@h:b/y\", dir = \"x\" },\n\
         \x20 { url = \"git@h:b/z\", dir = \"../z\", branch = \"-f\" },\n  { dir = \"x\", brunch = \"y\" },\n]\n"
    ), @r#"
    error: projects.toml:3:3: repos[0]: expected a repository such as `git@github.com:you/blog.git`, got `-oProxyCommand=x`: it starts with `-`, like an option
      3 |   "-oProxyCommand=x",
        |   ^^^^^^^^^^^^^^^^^^
    error: projects.toml:4:3: repos[1]: expected a repository such as `git@github.com:you/blog.git`, got `ext::sh`: it names a program to run
      4 |   "ext::sh",
        |   ^^^^^^^^^
    error: projects.toml:5:3: repos[2]: expected a repository such as `git@github.com:you/blog.git`, got `/srv/git/x`: a folder of the host is not shared with the machine
      5 |   "/srv/git/x",
        |   ^^^^^^^^^^^^
    error: projects.toml:6:3: repos[3]: expected a repository such as `git@github.com:you/blog.git`, got `http://h/you/x`: http can be read and changed on its way; did you mean `https://h/you/x`?
      6 |   "http://h/you/x",
        |   ^^^^^^^^^^^^^^^^
    error: projects.toml:7:3: repos[4]: `.` is the repository that a projects.toml lies in, and this one lies in none
      7 |   ".",
        |   ^^^
    error: projects.toml:9:11: repos[6].url: the folder `X` is taken by the repository at 8:3
      9 |   { url = "git@h:b/X" },
        |           ^^^^^^^^^^^
    error: projects.toml:10:30: repos[7].dir: the folder `x` is taken by the repository at 8:3
      10 |   { url = "git@h:b/y", dir = "x" },
         |                              ^^^
    error: projects.toml:11:30: repos[8].dir: expected the name of one folder, without `/`, got `../z`
      11 |   { url = "git@h:b/z", dir = "../z", branch = "-f" },
         |                              ^^^^^^
    error: projects.toml:11:47: repos[8].branch: expected the name of a branch, got `-f`
      11 |   { url = "git@h:b/z", dir = "../z", branch = "-f" },
         |                                               ^^^^
    error: projects.toml:12:3: repos[9]: it has no `url`
      12 |   { dir = "x", brunch = "y" },
         |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    error: projects.toml:12:16: unknown key `brunch`; did you mean `branch`?
      12 |   { dir = "x", brunch = "y" },
         |                ^^^^^^
    hint: give one of them another folder: `{ url = "…", dir = "NAME" }`
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn credentials_are_never_shown() {
    let text = "[blog]\nrepos = [\"https://you:hunter2@github.com/you/blog\", 5, \"you:hunter2@h:x\"]\n\
                ulr = \"https://you:hunter2@github.com/\"\nmemory = \"https://hunter2@h\"\n\
                [shop]\nrepos = [\"https:/\\u002fyou:hunter2@h/x\", 5]\n";
    let report = faults(text);
    assert!(!report.contains("hunter2"), "{report}");
    assert_snapshot!(report, @r#"
    error: projects.toml:2:10: repos[0]: expected a repository such as `git@github.com:you/blog.git`, got `https://***@github.com/you/blog`: credentials do not belong in an address; did you mean `https://github.com/you/blog`?
      2 | repos = ["https://***@github.com/you/blog", 5, "***@h:x"]
        |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    error: projects.toml:2:53: repos[1]: expected an address such as `git@github.com:you/blog.git`, or a table with `url`, got `5`
      2 | repos = ["https://***@github.com/you/blog", 5, "***@h:x"]
        |                                             ^
    error: projects.toml:2:56: repos[2]: expected a repository such as `git@github.com:you/blog.git`, got `***@h:x`: credentials do not belong in an address
      2 | repos = ["https://***@github.com/you/blog", 5, "***@h:x"]
        |                                                ^^^^^^^^^
    error: projects.toml:3:1: unknown key `ulr`
      3 | ulr = "https://***@github.com/"
        | ^^^
    error: projects.toml:4:10: memory: expected a size such as `4GiB`, got `https://***@h`
      4 | memory = "https://***@h"
        |          ^^^^^^^^^^^^^^^
    error: projects.toml:6:10: repos[0]: expected a repository such as `git@github.com:you/blog.git`, got `https://***@h/x`: credentials do not belong in an address; did you mean `https://h/x`?
      6 | repos = ["https://***@h/x", 5]
        |          ^^^^^^^^^^^^^^^^^
    error: projects.toml:6:42: repos[1]: expected an address such as `git@github.com:you/blog.git`, or a table with `url`, got `5`
      6 | repos = ["https://***@h/x", 5]
        |                             ^
    hint: a project has the keys repos, profiles, cpus, memory, disk, shell, env, ports, setup, forward_agent, host_access, lan_access, allow, isolation, image, secrets, git, idle, keep_awake
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn images() {
    assert_snapshot!(faults(
        "[a.image]\n[b]\nimage = { amd64 = { location = \"debian.raw\" } }\n[c.image.amd64]\n\
         location = \"https://h/x.qcow2\"\nkernel = \"/vmlinuz\"\n[d.image.arm64]\nlocation = \"/x\"\n\
         digest = \"md5:0\"\nkernel = \"x\"\ninitrd = \"/y\"\ncmdline = \"a\\nb\"\n[e.image]\nx86_64 = \"/x\"\n\
         [f.image.amd64]\ndigest = \"sha256:0\"\n"
    ), @r#"
    error: projects.toml:1:1: image: expected `amd64` or `arm64` in it
      1 | [a.image]
        | ^^^^^^^^^
    error: projects.toml:3:32: image.amd64.location: expected an absolute path or an `https://` address, got `debian.raw`
      3 | image = { amd64 = { location = "debian.raw" } }
        |                                ^^^^^^^^^^^^
    error: projects.toml:5:12: image.amd64.location: an address needs a `digest` beside it
      5 | location = "https://h/x.qcow2"
        |            ^^^^^^^^^^^^^^^^^^^
    error: projects.toml:6:10: image.amd64.kernel: `kernel`, `initrd` and `cmdline` belong together
      6 | kernel = "/vmlinuz"
        |          ^^^^^^^^^^
    error: projects.toml:9:10: image.arm64.digest: expected `sha256:` with 64 or `sha512:` with 128 hexadecimal digits, got `"md5:0"`
      9 | digest = "md5:0"
        |          ^^^^^^^
    error: projects.toml:10:10: image.arm64.kernel: expected an absolute path, got `x`
      10 | kernel = "x"
         |          ^^^
    error: projects.toml:12:11: image.arm64.cmdline: expected one line of text, got `a\nb`
      12 | cmdline = "a\nb"
         |           ^^^^^^
    error: projects.toml:14:1: unknown key `x86_64`
      14 | x86_64 = "/x"
         | ^^^^^^
    error: projects.toml:15:1: image.amd64: it has no `location`
      15 | [f.image.amd64]
         | ^^^^^^^^^^^^^^^
    error: projects.toml:16:10: image.amd64.digest: expected `sha256:` with 64 or `sha512:` with 128 hexadecimal digits, got `"sha256:0"`
      16 | digest = "sha256:0"
         |          ^^^^^^^^^^
    hint: take it from the publisher's SHA512SUMS: `digest = "sha512:…"`
    hint: an image has the keys amd64, arm64
    hint: edit `DIR/user/projects.toml`
    "#);
}

#[test]
fn hidden_characters() {
    assert_snapshot!(faults("[blog]\nshell = \"\u{202e}hsz\" # \u{7f}\n"), @r#"
    error: projects.toml:2:18: no valid TOML: invalid comment character, expected printable characters
      2 | shell = "\u{202e}hsz" # \u{7f}
        |                         ^
    hint: edit `DIR/user/projects.toml`
    "#);
    assert_snapshot!(faults("[blog]\nshell = \"\u{202e}hsz\u{200b}\"\n"), @r#"
    error: projects.toml:2:9: shell: expected `bash`, `zsh` or `fish`, got `\u{202e}hsz\u{200b}`
      2 | shell = "\u{202e}hsz\u{200b}"
        |         ^^^^^^^^^^^^^^^^^^^^^
    hint: edit `DIR/user/projects.toml`
    "#);
}
