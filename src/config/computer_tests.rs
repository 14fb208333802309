//! Tests of config.toml: what is read from it, and each class of mistake with its whole report.
//!
//! Enters: files in a home folder of their own. Leaves: nothing; the real home folder is never looked at.

use insta::assert_snapshot;

use super::*;
use crate::config::testing::{put, report};
use crate::model::ByteSize;

/// The start of a DER sequence is all that is looked at.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBAAA=\n-----END CERTIFICATE-----\n";
const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA you@home";

struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str, files: &[(&str, &str)]) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        put(home.0.path(), "config.toml", config.replace("DIR", &home.0.path().display().to_string()));
        for (name, content) in files {
            put(home.0.path(), name, content);
        }
        home
    }

    fn load(&self) -> Result<Computer> {
        let folder = ConfigFolder { dir: self.0.path().to_owned(), in_repository: false };
        load_computer(&folder, self.0.path())
    }

    fn report(&self) -> String {
        report(&self.load().unwrap_err(), self.0.path())
    }
}

#[test]
fn no_file_is_no_settings() {
    let folder = ConfigFolder { dir: "/no/such".into(), in_repository: false };
    assert_eq!(load_computer(&folder, Path::new("/")).unwrap(), Computer::default());
}

#[test]
fn every_key_is_read() {
    let home = Home::new(
        &format!(
            r#"
            ca_certs = ["~/company.crt", "DIR/certs/My Root.pem"]
            accelerator = "tcg"
            memory_budget = "12GiB"
            warm_boxes = false
            [git]
            name = "You Yourself"
            email = "you@example.com"
            signing_key = "{PUBLIC_KEY}"
            [lima]
            accept_unknown_version = true
            [network]
            proxy = "http://proxy.corp:3128"
            [images.debian-13.amd64]
            location = "/srv/images/debian.qcow2"
            kernel = "/srv/images/vmlinuz"
            initrd = "/srv/images/initrd"
            cmdline = "root=/dev/vda rw console=ttyS0"
            [images."ubuntu-24.04".arm64]
            location = "https://example.com/ubuntu.qcow2"
            digest = "sha512:{}"
            "#,
            "AB".repeat(64)
        ),
        &[
            ("company.crt", &format!("subject=CN Company\n{CERTIFICATE}\n# next\n{CERTIFICATE}")),
            ("certs/My Root.pem", CERTIFICATE),
        ],
    );
    let computer = home.load().unwrap();
    assert_eq!(
        computer.ca_certs,
        [
            ("My-Root.pem".to_owned(), CERTIFICATE.to_owned()),
            ("company.crt".to_owned(), format!("{CERTIFICATE}{CERTIFICATE}"))
        ]
        .into()
    );
    assert_eq!(computer.memory_budget, Some(ByteSize::from_gib(12)));
    assert!(computer.without_warm_boxes);
    assert_eq!(computer.proxy.map(|proxy| proxy.to_string()).as_deref(), Some("http://proxy.corp:3128"));
    assert_eq!((computer.accelerator, computer.accept_unknown_lima_version), (Accelerator::Tcg, true));
    assert_eq!(computer.git.name.as_deref(), Some("You Yourself"));
    assert_eq!(computer.git.email.as_deref(), Some("you@example.com"));
    assert_eq!(computer.git.signing_key.as_deref(), Some(PUBLIC_KEY));
    let debian = &computer.images[&(ImageName::Debian13, Arch::Amd64)];
    assert_eq!(debian.kernel.as_ref().unwrap().cmdline, "root=/dev/vda rw console=ttyS0");
    let ubuntu = &computer.images[&(ImageName::Ubuntu2404, Arch::Arm64)];
    assert_eq!(ubuntu.digest.as_ref().unwrap().hex, "ab".repeat(64));
}

#[test]
fn a_proxy_is_an_address_and_the_rest_of_a_network_is_a_projects() {
    assert_snapshot!(Home::new(
        "[network]\nproxy = \"https://proxy.corp:3128\"\nallow = [\"a.corp:22\"]\nno_proxy = \"a.corp\"\n",
        &[],
    ).report(), @r#"
    error: config.toml:2:9: network.proxy: expected an address such as `http://proxy.corp:3128`, got `https://proxy.corp:3128`
      2 | proxy = "https://proxy.corp:3128"
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^
    error: config.toml:3:1: `allow` belongs in projects.toml, in a project's table or below `[defaults]`
      3 | allow = ["a.corp:22"]
        | ^^^^^
    error: config.toml:4:1: `no_proxy` belongs in a project's `env`; what `allow` opens is in it already
      4 | no_proxy = "a.corp"
        | ^^^^^^^^
    hint: edit `DIR/config.toml`
    "#);
}

#[test]
fn keys_and_values() {
    assert_snapshot!(Home::new(
        "editor = \"cursor\"\nacelerator = \"kvm\"\naccelerator = \"hvf\"\nmemory = \"4GiB\"\n\
         [git]\nname = \"\"\nemail = \"you <a@b>\"\nsigning_key = \"ssh-ed25519 AAAA\"\nsigningkey = \"x\"\n\
         [lima]\naccept_unknown_version = \"yes\"\n[images.ubuntu-24.04.amd64]\nlocation = \"/x\"\n\
         [images.debian-13.x86_64]\nlocation = \"/x\"\n",
        &[],
    ).report(), @r#"
    error: config.toml:1:1: `editor` is not available in this version
      1 | editor = "cursor"
        | ^^^^^^
    error: config.toml:2:1: unknown key `acelerator`; did you mean `accelerator`?
      2 | acelerator = "kvm"
        | ^^^^^^^^^^
    error: config.toml:3:15: accelerator: expected `auto`, `kvm` or `tcg`, got `hvf`
      3 | accelerator = "hvf"
        |               ^^^^^
    error: config.toml:4:1: `memory` belongs in projects.toml, below `[defaults]`
      4 | memory = "4GiB"
        | ^^^^^^
    error: config.toml:6:8: git.name: expected a name in one line, got ``
      6 | name = ""
        |        ^^
    error: config.toml:7:9: git.email: expected an e-mail address, got `you <a@b>`
      7 | email = "you <a@b>"
        |         ^^^^^^^^^^^
    error: config.toml:8:15: git.signing_key: expected a public ssh key such as `ssh-ed25519 AAAA…`, got `ssh-ed25519 AAAA`
      8 | signing_key = "ssh-ed25519 AAAA"
        |               ^^^^^^^^^^^^^^^^^^
    error: config.toml:9:1: unknown key `signingkey`; did you mean `signing_key`?
      9 | signingkey = "x"
        | ^^^^^^^^^^
    error: config.toml:11:26: lima.accept_unknown_version: expected `true` or `false`, got `"yes"`
      11 | accept_unknown_version = "yes"
         |                          ^^^^^
    error: config.toml:12:9: images: expected `debian-13` or `ubuntu-24.04`, got `ubuntu-24`
      12 | [images.ubuntu-24.04.amd64]
         |         ^^^^^^^^^
    error: config.toml:14:19: unknown key `x86_64`
      14 | [images.debian-13.x86_64]
         |                   ^^^^^^
    hint: a name with a dot needs quotes: `[images."ubuntu-24.04".amd64]`
    hint: an image has the keys amd64, arm64
    hint: edit `DIR/config.toml`
    "#);
}

#[test]
fn certificates() {
    assert_snapshot!(Home::new(
        "ca_certs = [\n  \"company.crt\",\n  \"~/missing.crt\",\n  \"~/key.pem\",\n  \"~/text.crt\",\n  \"~/cut.crt\",\n\
         \x20 \"~/der.crt\",\n  \"~/\",\n  \"~/ok.crt\",\n  \"~/sub/ok.crt\",\n]\n",
        &[
            ("key.pem", &format!("{CERTIFICATE}-----BEGIN RSA PRIVATE KEY-----\n")),
            ("text.crt", "hello"),
            ("cut.crt", "-----BEGIN CERTIFICATE-----\nMIIB"),
            ("der.crt", "0\u{2}"),
            ("ok.crt", CERTIFICATE),
            ("sub/ok.crt", CERTIFICATE),
        ],
    ).report(), @r#"
    error: config.toml:2:3: ca_certs[0]: expected an absolute path, or one that starts with `~/`, got `company.crt`
      2 |   "company.crt",
        |   ^^^^^^^^^^^^^
    error: config.toml:3:3: ca_certs[1]: cannot read `DIR/missing.crt`: No such file or directory (os error 2)
      3 |   "~/missing.crt",
        |   ^^^^^^^^^^^^^^^
    error: config.toml:4:3: ca_certs[2]: `DIR/key.pem` holds a private key, which no guest may have
      4 |   "~/key.pem",
        |   ^^^^^^^^^^^
    error: config.toml:5:3: ca_certs[3]: `DIR/text.crt` has no PEM certificate
      5 |   "~/text.crt",
        |   ^^^^^^^^^^^^
    error: config.toml:6:3: ca_certs[4]: `DIR/cut.crt` has a certificate that is not valid PEM
      6 |   "~/cut.crt",
        |   ^^^^^^^^^^^
    error: config.toml:7:3: ca_certs[5]: `DIR/der.crt` is in DER form; convert it with `openssl x509 -inform der -in FILE -out FILE.pem`
      7 |   "~/der.crt",
        |   ^^^^^^^^^^^
    error: config.toml:8:3: ca_certs[6]: `DIR/` is not a regular file
      8 |   "~/",
        |   ^^^^
    error: config.toml:10:3: ca_certs[8]: a file of the name `ok.crt` is in the list already
      10 |   "~/sub/ok.crt",
         |   ^^^^^^^^^^^^^^
    hint: edit `DIR/config.toml`
    "#);
}

#[test]
fn a_private_key_is_never_shown() {
    let report =
        Home::new("[git]\nsigning_key = \"-----BEGIN OPENSSH PRIVATE KEY-----\\nhunter2\"\nname = 1\n", &[])
            .report();
    assert!(!report.contains("hunter2"), "{report}");
    assert_snapshot!(report, @r#"
    error: config.toml:2:15: git.signing_key: this is a private key; the public one belongs here
      2 | signing_key = "***"
        |               ^^^^^
    error: config.toml:3:8: git.name: expected a name in one line, got `1`
      3 | name = 1
        |        ^
    hint: edit `DIR/config.toml`
    "#);
}
