//! A box in a folder that comes from somebody else: what it may not make of this computer, and what is shown before a
//! question about it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;
use sha2::{Digest, Sha256};

use crate::first_up::BARE;
use crate::folders::{give_away, put};
use crate::outcome::Outcome;
use crate::world::World;

/// A computer with a saved box, and no other.
fn carried() -> (World, PathBuf) {
    let world = World::new();
    world.configure(BARE);
    world.bake("hello");
    let folder = world.home("carried");
    world.must(&["box", "save", &folder.display().to_string()]);
    world.must(&["box", "prune", "--all"]);
    (world, folder)
}

fn load(world: &World, args: &[&str]) -> Outcome {
    world.run(&[&["box", "load", "carried"], args].concat())
}

/// Changes a file of a saved box as its maker would, with its checksum.
fn replace(folder: &Path, name: &str, text: &str) {
    put(&folder.join(name), text.as_bytes());
    let lines = fs::read_to_string(folder.join("SHA256SUMS")).expect("checksums");
    let sum = |name: &str| {
        let digest = Sha256::digest(fs::read(folder.join(name)).expect("a file"));
        digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    };
    let names = lines.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name);
    let lines = names.fold(String::new(), |lines, name| format!("{lines}{}  {name}\n", sum(name)));
    put(&folder.join("SHA256SUMS"), lines.as_bytes());
}

#[test]
fn what_is_asked_about_is_shown_also_when_quiet_and_its_digest_last() {
    let (world, _folder) = carried();
    assert_snapshot!(world.run(&["-q", "box", "load", "carried"]), @"
    exit code 5
    --- stderr
    bare  debian-13 · amd64 · 2 packages · disk 0 MiB
    key     HASH
    steps   guest: session helper, apt settings
            environment: PATH
            floor: host and LAN closed
            shell: bash
    digest  sha256:HASH
    error: nobody can be asked here whether this box is to be trusted
    hint: if its digest is the one you were told: `machine box load carried --digest sha256:…`
    ");
    assert_snapshot!(world.run(&["-q", "box", "load", "carried", "--dry-run"]), @"
    exit code 0
    --- stdout
    bare  debian-13 · amd64 · 2 packages · disk 0 MiB
    key     HASH
    steps   guest: session helper, apt settings
            environment: PATH
            floor: host and LAN closed
            shell: bash
    digest  sha256:HASH
    ");
    assert!(!world.home(".cache/machine/boxes").read_dir().is_ok_and(|mut all| all.next().is_some()));
    world.bake("hello");
    assert_snapshot!(world.run(&["-q", "box", "prune", "--all", "--dry-run"]), @"
    exit code 0
    --- stdout
    bare  ID  all of them
    0.01 MiB would be free
    ");
}

#[test]
fn a_box_does_not_write_the_question_about_itself() {
    let (world, folder) = carried();
    let manifest = fs::read_to_string(folder.join("box.json")).expect("a manifest");
    let forged = r#""image": "debian-13\nkey     0\ndigest  sha256:00""#;
    for (from, to) in [
        (r#""image": "debian-13""#, forged),
        (r#""steps": ["#, r#""steps": ["a\nb", "#),
        (r#""arch": ""#, r#""arch": "../"#),
        (r#""bytes": "#, r#""bytes": 9223372036854775808"#),
    ] {
        replace(&folder, "box.json", &manifest.replacen(from, to, 1));
        let outcome = load(&world, &["--dry-run"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{to}: {outcome}");
        assert!(outcome.stderr.contains("is not whole, or of another version"), "{to}: {outcome}");
    }
    replace(&folder, "box.json", &manifest);
    assert_eq!(load(&world, &["--dry-run"]).code, 0);
}

#[test]
fn a_folder_that_leads_elsewhere_or_nowhere_is_no_box() {
    let no_box = |name: &str, words: &str, spoil: &dyn Fn(&Path)| {
        let (world, folder) = carried();
        let path = folder.join(name);
        fs::remove_file(&path).expect("a file");
        spoil(&path);
        let outcome = load(&world, &["--dry-run"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{name}: {outcome}");
        assert!(outcome.stderr.contains(words), "{name}: {outcome}");
    };
    let pipe = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
        give_away(path);
    };
    let endless = |path: &Path| symlink("/dev/zero", path).expect("a link");
    let elsewhere = |path: &Path| symlink("/etc/passwd", path).expect("a link");
    for name in ["SHA256SUMS", "packages.txt", "disk.zst"] {
        no_box(name, "is no plain file", &pipe);
    }
    no_box("SHA256SUMS", "is no plain file", &endless);
    no_box("packages.txt", "is no plain file", &elsewhere);
    no_box("packages.txt", "is not whole", &|path| {
        elsewhere(path);
        let sums = path.with_file_name("SHA256SUMS");
        let text = fs::read_to_string(&sums).expect("checksums");
        let kept: String = text.split_inclusive('\n').filter(|line| !line.contains("packages")).collect();
        put(&sums, kept.as_bytes());
    });
}
