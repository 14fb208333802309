//! The network that QEMU gets of its own: what is missing for it is said with its remedy, by `doctor` and by `up`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::first_up::BARE;
use crate::mask::NOT_ENCLOSED;
use crate::world::World;

/// A computer whose `nft` can do nothing.
fn without_rules() -> World {
    let world = World::new();
    world.configure(BARE);
    let path = world.path("bin/nft");
    fs::copy("/bin/false", &path).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    world
}

#[test]
fn up_says_what_is_missing_and_starts_with_the_floor_alone() {
    let world = without_rules();
    world.bake("hello");
    let output = world.machine(&["up", "hello"]).output().expect("started");
    let stderr = String::from_utf8(output.stderr).expect("text");
    let told: Vec<&str> = stderr.lines().filter(|line| line.starts_with(NOT_ENCLOSED)).collect();
    assert_eq!((output.status.code(), told.len()), (Some(0), 1), "{stderr}");
    assert!(told[0].contains(": ") && told[0].contains('`'), "{}", told[0]);
    let launch = world.read(".local/share/machine/lima/hello/launch.json");
    assert!(launch.contains("\"enclosure\": null"), "{launch}");
}

#[test]
fn doctor_has_a_row_for_it() {
    let output = without_rules().machine(&["doctor"]).output().expect("started");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let (_, row) = stdout.split_once("· network      ").unwrap_or_else(|| panic!("{stdout}"));
    assert!(row.starts_with("a guest's root reaches this computer and its networks: "), "{row}");
    assert!(row.lines().nth(1).is_some_and(|line| line.contains('`')), "{row}");
}
