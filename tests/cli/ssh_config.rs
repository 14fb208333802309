//! The user's own `~/.ssh/config`, in every state it is found in.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::first_up::BARE;
use crate::world::World;

/// A world whose user has this ssh configuration.
fn with_config(text: &str) -> World {
    let world = World::new();
    world.configure(BARE);
    world.write(".ssh/config", text);
    world
}

#[test]
fn line_ends_and_the_lack_of_a_last_one_are_kept() {
    for text in ["", "Host *\n  User me", "Host a\r\n  User b\r\n", "# mine\n\n\nHost x\n"] {
        let world = with_config(text);
        world.must(&["up", "hello"]);
        let ending = if text.contains('\r') { "\r\n" } else { "\n" };
        assert_eq!(world.read(".ssh/config"), format!("Include config.d/machine{ending}{text}"));
        world.must(&["uninstall"]);
        assert_eq!(world.read(".ssh/config"), text);
    }
}

#[test]
fn a_link_stays_one() {
    let world = World::new();
    world.configure(BARE);
    world.write("dotfiles/ssh", "Host *\n  User me\n");
    world.make_folder(&world.home(".ssh"));
    symlink("../dotfiles/ssh", world.home(".ssh/config")).expect("a link");
    world.must(&["up", "hello"]);
    assert_eq!(fs::read_link(world.home(".ssh/config")).expect("a link").to_str(), Some("../dotfiles/ssh"));
    assert_eq!(world.read("dotfiles/ssh"), "Include config.d/machine\nHost *\n  User me\n");
    world.must(&["uninstall"]);
    assert_eq!(world.read("dotfiles/ssh"), "Host *\n  User me\n");
    assert!(world.home(".ssh/config").is_symlink());
}

#[test]
fn a_read_only_file_is_left_and_the_rest_works() {
    for (mode, why) in [(0o400, "it is read-only"), (0o666, "others may write it")] {
        let world = with_config("Host *\n");
        fs::set_permissions(world.home(".ssh/config"), fs::Permissions::from_mode(mode)).expect("mode");
        let outcome = world.must(&["up", "hello"]);
        let warning = format!(
            "warning: will not change `~/.ssh/config`: {why}; put this line at its top yourself: `Include config.d/machine`\n"
        );
        assert!(outcome.stderr.contains(&warning), "{outcome}");
        assert_eq!(world.read(".ssh/config"), "Host *\n");
    }
}

#[test]
fn an_include_below_a_host_is_moved_up() {
    let world = with_config("Host *\n  Include config.d/machine\n  User me\n");
    world.must(&["up", "hello"]);
    assert_eq!(world.read(".ssh/config"), "Include config.d/machine\nHost *\n  User me\n");
}

#[test]
fn a_hand_edited_block_is_written_anew() {
    let world = with_config("");
    world.must(&["up", "hello"]);
    let written = world.read(".ssh/config.d/machine");
    world.write(".ssh/config.d/machine", "Host machine-hello\n  ForwardX11 yes\n");
    world.must(&["down", "hello"]);
    world.must(&["up", "hello"]);
    assert_eq!(world.read(".ssh/config.d/machine"), written);
}

#[test]
fn the_real_ssh_reads_the_block() {
    let world = with_config("Host *\n  SendEnv *\n  ForwardX11 yes\n  StrictHostKeyChecking no\n");
    world.must(&["up", "hello"]);
    let mut command = world.command("/usr/bin/ssh");
    command.arg("-F").arg(world.home(".ssh/config")).args(["-G", "machine-hello"]);
    // An Include without a folder means the user's own ~/.ssh, by the password file: only an absolute one can be tried.
    let config =
        format!("Include {}\n{}", world.home(".ssh/config.d/machine").display(), world.read(".ssh/config"));
    world.write(".ssh/config", config.replace("Include config.d/machine\n", ""));
    let outcome = world.finish(&mut command);
    let wanted =
        ["stricthostkeychecking true", "forwardx11 no", "port PORT", "user dev", "controlmaster false"];
    for line in wanted {
        assert!(outcome.stdout.lines().any(|found| found == line), "{line}\n{outcome}");
    }
}
