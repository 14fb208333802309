//! Tests of profile.toml: what is read from it, and each class of mistake with its whole report.
//!
//! Enters: a profile's folder, made for the test. Leaves: nothing; no script of it is run.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::config::DownloadTarget;
use crate::config::source::read_toml;
use crate::config::testing::{put, report};
use crate::model::Arch;

const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n";

fn load(dir: &Path, in_repository: bool) -> Result<Profile> {
    let folder = ConfigFolder { dir: dir.to_owned(), in_repository };
    let source = read_toml(&folder, &dir.join("profile.toml"))?.unwrap();
    parse_profile(&source, Some("tools".parse().unwrap()), &Beside::Folder { dir, folder: &folder })
}

/// The report on a profile.toml with these files beside it.
fn faults(text: &str, files: &[(&str, &[u8])]) -> String {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "profile.toml", text);
    for (name, content) in files {
        put(dir.path(), name, content);
    }
    report(&load(dir.path(), false).unwrap_err(), dir.path())
}

/// A profile.toml with every key; the second digest is in upper case, as some projects print theirs.
fn every_key(sum: &str) -> String {
    format!(
        r#"
    description = "Tools"
    requires = ["base"]
    apt = ["g++", "jq=1.7.1-3", "libc6:arm64"]
    npm = ["prettier@3.6.2", "@scope/name", "typescript@^5"]
    uv = ["ruff", "ruff==0.14.0", "httpx[http2]>=0.28,<1", "ruff@0.14.0"]
    path = ["/usr/local/go/bin"]
    env = {{ GOTOOLCHAIN = "local" }}
    script = "install.sh"
    user_script = "setup.sh"
    check = ["go version"]
    max_age = "90d"
    [[apt_repo]]
    name = "github-cli"
    uri = "https://example.com/packages"
    suites = ["stable"]
    components = ["main", "non-free"]
    key = "github-cli.gpg"
    [[download]]
    version = "1.26.8"
    url = "https://example.com/go{{version}}.linux-{{arch}}.tar.gz"
    sha256 = {{ amd64 = "{sum}", arm64 = "{}" }}
    extract = "/usr/local"
    [[download]]
    version = "1"
    url = "https://example.com/tool"
    sha256 = {{ amd64 = "{sum}" }}
    install = "/usr/local/bin/tool"
    "#,
        sum.to_uppercase()
    )
}

#[test]
fn every_key_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let sum = "0a".repeat(32);
    put(dir.path(), "profile.toml", every_key(&sum));
    for (name, content) in [
        ("install.sh", "#!/usr/bin/env bash\n"),
        ("setup.sh", "#!/bin/sh\n"),
        ("github-cli.gpg", KEY),
        ("tmux.conf", "set -g mouse on\r\n"),
        (".DS_Store", "\0"),
    ] {
        put(dir.path(), name, content);
    }
    let profile = load(dir.path(), false).unwrap();
    assert_eq!((profile.name.unwrap().as_str(), profile.description.as_str()), ("tools", "Tools"));
    assert_eq!(
        (profile.requires.len(), profile.apt.len(), profile.npm.len(), profile.uv.len()),
        (1, 3, 3, 4)
    );
    assert_eq!((profile.path, profile.check), (vec!["/usr/local/go/bin".into()], vec!["go version".into()]));
    assert_eq!(profile.max_age, Some("90d".parse().unwrap()));
    assert_eq!(profile.script.unwrap().text, "#!/usr/bin/env bash\n");
    assert_eq!(profile.user_script.unwrap().name, "setup.sh");
    assert_eq!(profile.apt_repos[0].key, KEY.as_bytes());
    assert_eq!(profile.downloads[0].sha256, [(Arch::Amd64, sum.clone()), (Arch::Arm64, sum)].into());
    assert_eq!(profile.downloads[1].target, DownloadTarget::Install("/usr/local/bin/tool".into()));
    let files: Vec<_> = profile.files.keys().map(String::as_str).collect();
    assert_eq!(files, ["github-cli.gpg", "tmux.conf"]);
}

#[test]
fn packages() {
    assert_snapshot!(faults(
        "apt = [\"-y\", \"jq-\", \"a b\", \"Jq\", \"jq=\", \"./x.deb\", \"jq;id\", 5]\n\
         npm = [\"--global\", \"../x\", \"git+https://h/x\", \"@x\", \"a b\"]\nuv = [\"-e\", \"git+https://h/x\", \"a;b\"]\n",
        &[],
    ), @r#"
    error: profile.toml:1:8: apt[0]: expected a package such as `jq` or `jq=1.7.1-3`, got `-y`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |        ^^^^
    error: profile.toml:1:14: apt[1]: expected a package such as `jq` or `jq=1.7.1-3`, got `jq-`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |              ^^^^^
    error: profile.toml:1:21: apt[2]: expected a package such as `jq` or `jq=1.7.1-3`, got `a b`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |                     ^^^^^
    error: profile.toml:1:28: apt[3]: expected a package such as `jq` or `jq=1.7.1-3`, got `Jq`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |                            ^^^^
    error: profile.toml:1:34: apt[4]: expected a package such as `jq` or `jq=1.7.1-3`, got `jq=`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |                                  ^^^^^
    error: profile.toml:1:41: apt[5]: expected a package such as `jq` or `jq=1.7.1-3`, got `./x.deb`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |                                         ^^^^^^^^^
    error: profile.toml:1:52: apt[6]: expected a package such as `jq` or `jq=1.7.1-3`, got `jq;id`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |                                                    ^^^^^^^
    error: profile.toml:1:61: apt[7]: expected a package such as `jq` or `jq=1.7.1-3`, got `5`
      1 | apt = ["-y", "jq-", "a b", "Jq", "jq=", "./x.deb", "jq;id", 5]
        |                                                             ^
    error: profile.toml:2:8: npm[0]: expected a package such as `prettier@3.6.2`, got `--global`
      2 | npm = ["--global", "../x", "git+https://h/x", "@x", "a b"]
        |        ^^^^^^^^^^
    error: profile.toml:2:20: npm[1]: expected a package such as `prettier@3.6.2`, got `../x`
      2 | npm = ["--global", "../x", "git+https://h/x", "@x", "a b"]
        |                    ^^^^^^
    error: profile.toml:2:28: npm[2]: expected a package such as `prettier@3.6.2`, got `git+https://h/x`
      2 | npm = ["--global", "../x", "git+https://h/x", "@x", "a b"]
        |                            ^^^^^^^^^^^^^^^^^
    error: profile.toml:2:47: npm[3]: expected a package such as `prettier@3.6.2`, got `@x`
      2 | npm = ["--global", "../x", "git+https://h/x", "@x", "a b"]
        |                                               ^^^^
    error: profile.toml:2:53: npm[4]: expected a package such as `prettier@3.6.2`, got `a b`
      2 | npm = ["--global", "../x", "git+https://h/x", "@x", "a b"]
        |                                                     ^^^^^
    error: profile.toml:3:7: uv[0]: expected a package such as `ruff` or `ruff==0.14.0`, got `-e`
      3 | uv = ["-e", "git+https://h/x", "a;b"]
        |       ^^^^
    error: profile.toml:3:13: uv[1]: expected a package such as `ruff` or `ruff==0.14.0`, got `git+https://h/x`
      3 | uv = ["-e", "git+https://h/x", "a;b"]
        |             ^^^^^^^^^^^^^^^^^
    error: profile.toml:3:32: uv[2]: expected a package such as `ruff` or `ruff==0.14.0`, got `a;b`
      3 | uv = ["-e", "git+https://h/x", "a;b"]
        |                                ^^^^^
    hint: edit `DIR/profile.toml`
    "#);
}

#[test]
fn keys_paths_and_lines() {
    assert_snapshot!(faults(
        "description = \"a\\nb\"\nrequires = [\"Base\"]\npath = [\"bin\", \"/a:/b\", \"/a/../b\"]\ncheck = [\"\"]\nmax_age = \"soon\"\n\
         memory = \"4GiB\"\nimage = \"debian-13\"\nscripts = \"x\"\nenv = { PATH = \"/x\" }\n",
        &[],
    ), @r#"
    error: profile.toml:1:15: description: expected one line of text, got `a\nb`
      1 | description = "a\nb"
        |               ^^^^^^
    error: profile.toml:2:13: requires[0]: expected a profile name of lower-case letters, digits and `-`, got `Base`: it has capital letters; did you mean `base`?
      2 | requires = ["Base"]
        |             ^^^^^^
    error: profile.toml:3:9: path[0]: expected an absolute folder, without `:`, got `bin`
      3 | path = ["bin", "/a:/b", "/a/../b"]
        |         ^^^^^
    error: profile.toml:3:16: path[1]: expected an absolute folder, without `:`, got `/a:/b`
      3 | path = ["bin", "/a:/b", "/a/../b"]
        |                ^^^^^^^
    error: profile.toml:3:25: path[2]: expected an absolute folder, without `:`, got `/a/../b`
      3 | path = ["bin", "/a:/b", "/a/../b"]
        |                         ^^^^^^^^^
    error: profile.toml:4:10: check[0]: expected a shell line, got ``
      4 | check = [""]
        |          ^^
    error: profile.toml:5:11: max_age: expected days, `1d` to `3650d`, such as `30d`, got `soon`
      5 | max_age = "soon"
        |           ^^^^^^
    error: profile.toml:6:1: `memory` belongs in projects.toml
      6 | memory = "4GiB"
        | ^^^^^^
    error: profile.toml:7:1: `image` belongs in projects.toml or provision.toml
      7 | image = "debian-13"
        | ^^^^^
    error: profile.toml:8:1: unknown key `scripts`; did you mean `script`?
      8 | scripts = "x"
        | ^^^^^^^
    error: profile.toml:9:9: env: `PATH` is put together by `machine`; use `path` in provision.toml
      9 | env = { PATH = "/x" }
        |         ^^^^
    hint: edit `DIR/profile.toml`
    "#);
}

#[test]
fn scripts() {
    for (content, sentence) in [
        ("echo".as_bytes(), "`x.sh` does not start with a line such as `#!/usr/bin/env bash`"),
        (b"#!", "`x.sh` does not start with a line such as `#!/usr/bin/env bash`"),
        (
            b"#!/usr/bin/env python3\n",
            "`x.sh` is for `/usr/bin/env python3`, and scripts are run by bash; let one start it",
        ),
        (b"", "`x.sh` does not start with a line such as `#!/usr/bin/env bash`"),
        (b"#!/bin/sh\necho\r\n", "`x.sh` has Windows line ends (CR LF), see its line 2"),
        (b"#!/bin/sh\n\0", "`x.sh` has a NUL byte and so is no script"),
        (b"#!/bin/sh\n\xff", "`x.sh` is not UTF-8, see its line 2"),
        (&vec![b'#'; (1 << 20) + 1], "`DIR/x.sh` is larger than 1024 KiB"),
    ] {
        assert_eq!(
            faults("script = \"x.sh\"\n", &[("x.sh", content)]),
            format!(
                "error: profile.toml:1:10: script: {sentence}\n  1 | script = \"x.sh\"\n    |          ^^^^^^\n\
                 hint: edit `DIR/profile.toml`\n"
            )
        );
    }
    assert_snapshot!(faults("script = \"../x.sh\"\nuser_script = \"missing.sh\"\n", &[]), @r#"
    error: profile.toml:1:10: script: expected the name of a file beside this one, got `../x.sh`
      1 | script = "../x.sh"
        |          ^^^^^^^^^
    error: profile.toml:2:15: user_script: there is no file `missing.sh` beside this one
      2 | user_script = "missing.sh"
        |               ^^^^^^^^^^^^
    hint: edit `DIR/profile.toml`
    "#);
}

#[test]
fn files_that_lead_elsewhere_or_are_open_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("profile");
    put(&profile, "profile.toml", "script = \"x.sh\"\n");
    put(dir.path(), "x.sh", "#!/bin/sh\n");
    symlink("../x.sh", profile.join("x.sh")).unwrap();
    let sentence = |in_repository| {
        let text = report(&load(&profile, in_repository).unwrap_err(), dir.path());
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(
        sentence(false),
        "error: profile.toml:1:10: script: `x.sh` is a link that leads out of its folder"
    );
    std::fs::remove_file(profile.join("x.sh")).unwrap();
    put(&profile, "x.sh", "#!/bin/sh\n");
    for (mode, in_repository) in [(0o646, false), (0o664, true)] {
        std::fs::set_permissions(profile.join("x.sh"), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(
            sentence(in_repository),
            "error: profile.toml:1:10: script: `x.sh` can be changed by other users; take that away with `chmod go-w`"
        );
    }
    std::fs::set_permissions(profile.join("x.sh"), std::fs::Permissions::from_mode(0o664)).unwrap();
    assert!(load(&profile, false).is_ok());
    put(&profile, "sub/file", "");
    assert_eq!(sentence(false), "error: profile.toml:1:1: `sub` is a folder, and a profile has files only");
    std::fs::remove_dir_all(profile.join("sub")).unwrap();
    for number in 0..9 {
        put(&profile, &format!("data{number}"), vec![b'x'; 1 << 20]);
    }
    assert_eq!(sentence(false), "error: profile.toml:1:1: its folder has more than 8 MiB in it");
    for number in 0..100 {
        put(&profile, &format!("data{number}"), "");
    }
    assert_eq!(sentence(false), "error: profile.toml:1:1: its folder has more than 100 files");
}

#[test]
fn apt_repositories() {
    assert_snapshot!(faults(
        "[[apt_repo]]\nname = \"X/y\"\nuri = \"http://h\"\nsuites = []\ncomponents = [\"main contrib\"]\nkey = \"../k.gpg\"\n\
         [[apt_repo]]\nname = \"a\"\nuri = \"https://u:p@h/x\"\nsuite = \"stable\"\nkey = \"private.gpg\"\n\
         [[apt_repo]]\nname = \"b\"\nuri = \"https://h/x\"\nsuites = [\"s\"]\ncomponents = [\"c\"]\nkey = \"text.gpg\"\n\
         [[apt_repo]]\nname = \"c\"\nuri = \"https://h/x\"\nsuites = [\"s\"]\ncomponents = [\"c\"]\nkey = \"public.gpg\"\n\
         [[apt_repo]]\nname = \"c\"\nuri = \"https://h/x\"\nsuites = [\"s\"]\ncomponents = [\"c\"]\nkey = \"public.gpg\"\n",
        &[
            ("private.gpg", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n"),
            ("text.gpg", b"not a key"),
            ("public.gpg", b"\x99\x01"),
        ],
    ), @r#"
    error: profile.toml:2:8: apt_repo[0].name: expected lower-case letters, digits and `-`, got `X/y`
      2 | name = "X/y"
        |        ^^^^^
    error: profile.toml:3:7: apt_repo[0].uri: expected an `https://` address without login, got `http://h`
      3 | uri = "http://h"
        |       ^^^^^^^^^^
    error: profile.toml:4:10: apt_repo[0].suites: expected at least one
      4 | suites = []
        |          ^^
    error: profile.toml:5:15: apt_repo[0].components[0]: expected one word, got `main contrib`
      5 | components = ["main contrib"]
        |               ^^^^^^^^^^^^^^
    error: profile.toml:6:7: apt_repo[0].key: expected the name of a file beside this one, got `../k.gpg`
      6 | key = "../k.gpg"
        |       ^^^^^^^^^^
    error: profile.toml:7:1: apt_repo[1]: it has no `suites`
      7 | [[apt_repo]]
        | ^^^^^^^^^^^^
    error: profile.toml:7:1: apt_repo[1]: it has no `components`
      7 | [[apt_repo]]
        | ^^^^^^^^^^^^
    error: profile.toml:9:7: apt_repo[1].uri: expected an `https://` address without login, got `https://***@h/x`
      9 | uri = "https://***@h/x"
        |       ^^^^^^^^^^^^^^^^^
    error: profile.toml:10:1: unknown key `suite`; did you mean `suites`?
      10 | suite = "stable"
         | ^^^^^
    error: profile.toml:11:7: apt_repo[1].key: `private.gpg` is a private key
      11 | key = "private.gpg"
         |       ^^^^^^^^^^^^^
    error: profile.toml:17:7: apt_repo[2].key: `text.gpg` is no public OpenPGP key
      17 | key = "text.gpg"
         |       ^^^^^^^^^^
    error: profile.toml:24:1: apt_repo[4]: the name `c` is taken by another one
      24 | [[apt_repo]]
         | ^^^^^^^^^^^^
    hint: edit `DIR/profile.toml`
    "#);
}

#[test]
fn downloads() {
    assert_snapshot!(faults(
        "[[download]]\nurl = \"http://h/x\"\nversion = \"$(id)\"\nsha256 = \"0\"\n\
         [[download]]\nurl = \"https://h/{os}\"\nversion = \"1\"\nsha256 = { amd64 = \"xyz\" }\nextract = \"/a\"\ninstall = \"/b\"\n\
         [[download]]\nurl = \"https://h/x\"\nversion = \"1\"\nsha256 = { x86 = \"0\" }\nextract = \"a/b\"\n\
         [download.extra]\n",
        &[],
    ), @r#"
    error: profile.toml:1:1: download[0]: it has neither `extract` nor `install`
      1 | [[download]]
        | ^^^^^^^^^^^^
    error: profile.toml:2:7: download[0].url: expected an `https://` address, with `{version}` and `{arch}` if wanted, got `http://h/x`
      2 | url = "http://h/x"
        |       ^^^^^^^^^^^^
    error: profile.toml:3:11: download[0].version: expected a version such as `1.26.8`, got `$(id)`
      3 | version = "$(id)"
        |           ^^^^^^^
    error: profile.toml:4:10: download[0].sha256: expected a table such as `{ amd64 = "…", arm64 = "…" }`, got `"0"`
      4 | sha256 = "0"
        |          ^^^
    error: profile.toml:6:7: download[1].url: expected an `https://` address, with `{version}` and `{arch}` if wanted, got `https://h/{os}`
      6 | url = "https://h/{os}"
        |       ^^^^^^^^^^^^^^^^
    error: profile.toml:8:20: download[1].sha256.amd64: expected 64 hexadecimal digits, got `xyz`
      8 | sha256 = { amd64 = "xyz" }
        |                    ^^^^^
    error: profile.toml:10:11: download[1].install: `extract` and `install` exclude each other
      10 | install = "/b"
         |           ^^^^
    error: profile.toml:14:10: download[2].sha256: expected `amd64` or `arm64` in it
      14 | sha256 = { x86 = "0" }
         |          ^^^^^^^^^^^^^
    error: profile.toml:14:12: unknown key `x86`
      14 | sha256 = { x86 = "0" }
         |            ^^^
    error: profile.toml:15:11: download[2].extract: expected an absolute path, got `a/b`
      15 | extract = "a/b"
         |           ^^^^^
    error: profile.toml:16:11: unknown key `extra`
      16 | [download.extra]
         |           ^^^^^
    hint: a download has the keys version, url, sha256, extract, install
    hint: `sha256` has the keys amd64, arm64
    hint: edit `DIR/profile.toml`
    "#);
    assert_snapshot!(faults("download = \"https://h/x\"\n", &[]), @r#"
    error: profile.toml:1:12: download: expected tables, each under `[[download]]`, got `"https://h/x"`
      1 | download = "https://h/x"
        |            ^^^^^^^^^^^^^
    hint: edit `DIR/profile.toml`
    "#);
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(
        text in "((apt|npm|uv|path|check|script|sha256|url|key)( = )|\\[\\[(apt_repo|download)\\]\\]\n|[\\[\\]{},\n]|\"\\PC{0,5}\"){0,30}",
    ) {
        let source = Source { label: "profile.toml".into(), path: "/no/such/profile.toml".into(), text };
        let folder = ConfigFolder { dir: "/no/such".into(), in_repository: false };
        let _ = parse_profile(&source, None, &Beside::Folder { dir: Path::new("/no/such"), folder: &folder });
    }

    #[test]
    fn no_package_is_an_option(text in "-\\PC{0,20}") {
        prop_assert!(!is_apt(&text) && !is_npm(&text) && !is_uv(&text));
    }
}
