//! Who commits in the guest: what the host's git says, a key from the environment or 1Password, never a private one.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample";

/// A world whose user has a git identity.
fn with_identity(more: &str) -> World {
    let world = World::new();
    world.configure(BARE);
    world.write(".gitconfig", format!("[user]\n\tname = A \"B\" C\n\temail = a@b.example\n{more}"));
    world
}

/// The gitconfig that the guest was given.
fn gitconfig(world: &World) -> String {
    let script = fs::read_to_string(world.path("play/guests/hello/script-git")).expect("the step ran");
    let (_, rest) = script.split_once("base64 -d >'gitconfig' <<'MACHINE_FILE'\n").expect("a file in it");
    let text = rest.lines().next().expect("base64");
    String::from_utf8(STANDARD.decode(text).expect("base64")).expect("text")
}

#[test]
fn name_and_address_are_the_hosts() {
    let world = with_identity("");
    assert!(world.must(&["up", "hello"]).stderr.contains("  · git: a@b.example T s\n"));
    assert_snapshot!(gitconfig(&world), @r#"
    # Written by machine from the host's git identity; changes are overwritten.
    [user]
    	name = "A B C"
    	email = "a@b.example"
    [init]
    	defaultBranch = main
    "#);
}

#[test]
fn a_key_comes_from_one_password() {
    let world = with_identity("");
    world.knob("op", KEY);
    let mut command = world.machine(&["up", "hello"]);
    assert_eq!(world.finish(command.env("OP_SIGNING_KEY_REF", "op://Dev/key/public key")).code, 0);
    assert!(world.effects().contains("\nop read --no-newline op://Dev/key/public key\n"));
    assert_snapshot!(gitconfig(&world), @r#"
    # Written by machine from the host's git identity; changes are overwritten.
    [user]
    	name = "A B C"
    	email = "a@b.example"
    	signingKey = "key::ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample"
    [gpg]
    	format = ssh
    [gpg "ssh"]
    	allowedSignersFile = /etc/machine/allowed_signers
    [commit]
    	gpgSign = true
    [tag]
    	gpgSign = true
    [init]
    	defaultBranch = main
    "#);
}

#[test]
fn what_is_no_public_key_is_refused() {
    let world = with_identity("");
    world.knob("op", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n");
    let outcome =
        world.finish(world.machine(&["up", "hello"]).env("OP_SIGNING_KEY_REF", "op://Dev/key/private key"));
    assert_snapshot!(outcome, @"
    exit code 2
    --- stderr
    error: OP_SIGNING_KEY_REF: expected a public ssh key, or the file of one
    hint: for example `ssh-ed25519 AAAA…`, or `~/.ssh/id_ed25519.pub`
    ");
    assert!(!world.effects().contains("limactl create"));
}

#[test]
fn a_new_name_runs_one_step() {
    let world = with_identity("");
    world.must(&["up", "hello"]);
    world.write(".gitconfig", "[user]\n\temail = c@d.example\n");
    world.effects();
    assert!(world.must(&["up", "hello"]).stderr.contains("✓ provision 1 of 5 steps run T s\n"));
    assert_eq!(world.effects().matches("guest step ").count(), 1);
}
