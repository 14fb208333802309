//! `export`: a project as one file for plain Lima, in which there is nothing of this computer.

use std::fs;

use insta::assert_snapshot;

use crate::first_up::BARE;
use crate::world::World;

const BLOG: &str = "[blog]\nrepos = [\"git@github.com:you/blog.git\"]\nenv = { EDITOR = \"vim\" }\n";
/// The start of a DER sequence is all that is looked at.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBCNRY\n-----END CERTIFICATE-----\n";

/// A computer full of what must not go along.
fn canary() -> World {
    let world = World::new();
    world.configure(BLOG);
    world.write(".gitconfig", "[user]\n\tname = Canary Name\n\temail = canary@example.com\n");
    world.write("company.crt", CERTIFICATE);
    let config = world.read(".config/machine/config.toml");
    world.write(".config/machine/config.toml", format!("ca_certs = [\"~/company.crt\"]\n{config}"));
    world
}

#[test]
fn the_file_goes_to_stdout_and_nothing_is_started() {
    let world = canary();
    let outcome = world.must(&["export"]);
    assert!(outcome.stdout.starts_with("# The project `blog` for plain Lima: debian-13 · no profiles"));
    assert!(outcome.stdout.ends_with("MACHINE_STEP\n"), "{outcome}");
    assert_snapshot!(outcome.stderr, @"
    `images.debian-13.amd64.location` in config.toml is a file of this computer, `<world>/image`: the public image of debian-13 is exported
    `images.debian-13.arm64.location` in config.toml is a file of this computer, `<world>/image`: the public image of debian-13 is exported
    ");
    assert_snapshot!(world.effects(), @"ssh resolve github.com");
    assert_eq!(world.must(&["export", "blog"]).stdout, outcome.stdout);
}

#[test]
fn nothing_of_this_computer_is_in_it() {
    let world = canary();
    // A machine of this computer, with its key, port and marker.
    world.must(&["up", "blog"]);
    let mut command = world.machine(&["export", "blog", "-o", "blog.yaml"]);
    let command =
        command.env("GIT_SIGNING_KEY", "ssh-ed25519 AAAACanary").env("https_proxy", "http://canary");
    assert_eq!(world.finish(command).code, 0);
    let text = world.read("blog.yaml");
    let key = world.read(".local/state/machine/machines/blog/host_key");
    let key = key.lines().nth(1).expect("a key");
    let uuid = world.read(".local/share/machine/lima/blog/lima.yaml");
    let uuid = uuid.lines().next().and_then(|line| line.strip_prefix("# machine ")).expect("a marker");
    let root = world.path("").display().to_string();
    for word in
        ["anary", "MIIB", "CERTIFICATE", "PRIVATE KEY", "\n# machine ", "SSL_CERT_FILE", key, uuid, &root]
    {
        assert!(!text.contains(word), "{word}");
    }
    assert!(text.contains("export EDITOR='vim'\n") && text.contains("git@github.com:you/blog.git"));
}

#[test]
fn a_file_is_written_whole_and_only_replaced_when_told() {
    let world = World::new();
    world.configure(BARE);
    assert_snapshot!(world.run(&["export", "hello", "--output", "x.yaml"]), @"
    exit code 0
    --- stderr
    `images.debian-13.amd64.location` in config.toml is a file of this computer, `<world>/image`: the public image of debian-13 is exported
    `images.debian-13.arm64.location` in config.toml is a file of this computer, `<world>/image`: the public image of debian-13 is exported
    wrote `x.yaml`   ·   limactl start --timeout=1h x.yaml
    ");
    let written = world.read("x.yaml");
    assert_eq!(world.mask(&written), world.must(&["export", "hello"]).stdout);
    world.write("x.yaml", "mine");
    assert_snapshot!(world.run(&["export", "hello", "-q", "-o", "x.yaml"]), @"
    exit code 1
    --- stderr
    error: `x.yaml` is there already
    hint: choose another name, or replace it: `machine export hello -o x.yaml --force`
    ");
    assert_eq!(world.read("x.yaml"), "mine");
    assert_eq!(world.run(&["export", "hello", "-q", "-o", "x.yaml", "--force"]).to_string(), "exit code 0\n");
    assert_eq!(world.read("x.yaml"), written);
    assert_snapshot!(world.run(&["export", "hello", "-q", "-o", "no/x.yaml"]), @r#"
    exit code 1
    --- stderr
    error: failed to write `~/no/x.yaml`
    caused by: No such file or directory (os error 2) at path "~/no/.tmp-X"
    "#);
    assert_eq!(world.run(&["export", "hello", "--force"]).code, 2);
    assert_snapshot!(world.run(&["export", "hello", "-q", "-o", "x"]), @"
    exit code 2
    --- stderr
    error: -o: Lima takes `x` for the name of a template, not for a file
    hint: end its name in `.yaml`: `-o hello.yaml`
    ");
    let told = world.must(&["export", "hello", "-o", "My Blog.yaml"]).stderr;
    assert!(told.contains("limactl start --timeout=1h --name=hello 'My Blog.yaml'"), "{told}");
    assert!(
        fs::read_dir(world.home(""))
            .expect("home")
            .all(|entry| { !entry.expect("an entry").file_name().to_string_lossy().starts_with(".tmp-") })
    );
}

#[test]
fn an_image_that_only_this_computer_has_is_refused_by_its_key() {
    let world = World::new();
    world.configure("[hello]\nimage = { amd64 = { location = \"/srv/d.raw\" } }\n");
    assert_snapshot!(world.run(&["export", "hello"]), @r#"
    exit code 2
    --- stderr
    error: `hello` cannot be exported with the image in `~/.config/machine/projects.toml`
    caused by: `image.amd64.location` is `/srv/d.raw`, a file that no other computer has
    hint: give it an `https://` address with its `digest` there, or name a known image: `image = "debian-13"`
    "#);
    world.configure(BARE);
    world.write(
        ".config/machine/provision.toml",
        "base = false\nimage = { arm64 = { location = \"/srv/d.raw\" } }\n",
    );
    assert_snapshot!(world.run(&["export", "hello"]), @r#"
    exit code 2
    --- stderr
    error: `hello` cannot be exported with the image in `~/.config/machine/provision.toml`
    caused by: `image.arm64.location` is `/srv/d.raw`, a file that no other computer has
    hint: give it an `https://` address with its `digest` there, or name a known image: `image = "debian-13"`
    "#);
}

#[test]
fn a_path_of_the_home_folder_in_the_configuration_is_told() {
    let world = World::new();
    let path = world.home("tool").display().to_string();
    world.configure(&format!("[hello]\nenv = {{ TOOL = \"{path}\" }}\n"));
    let outcome = world.must(&["export", "hello", "-q", "-o", "x.yaml"]);
    let told = "warning: from your configuration, the path of your home folder has come into the file: line ";
    let lines = outcome.stderr.strip_prefix(told).expect("told");
    // Whatever else stands in the file: these lines are the ones.
    let text = world.read("x.yaml");
    for line in lines.trim().split(", ") {
        let number: usize = line.parse().expect("a number");
        assert!(text.lines().nth(number - 1).is_some_and(|line| line.contains(&path)), "line {number}");
    }
}

#[test]
fn a_git_host_nobody_knows_is_told_before_anything_is_written() {
    let world = World::new();
    world.configure("[blog]\nrepos = [\"git@git.corp.example:you/blog.git\"]\n");
    assert_snapshot!(world.run(&["export", "blog", "-o", "x.yaml"]), @"
    exit code 1
    --- stderr
    `images.debian-13.amd64.location` in config.toml is a file of this computer, `<world>/image`: the public image of debian-13 is exported
    `images.debian-13.arm64.location` in config.toml is a file of this computer, `<world>/image`: the public image of debian-13 is exported
    error: the host key of `git.corp.example` is not known here, so the machine cannot know it
    hint: connect once and compare its fingerprint: `ssh git.corp.example`
    ");
    assert!(!world.home("x.yaml").exists());
    world.write(".ssh/known_hosts", "git.corp.example ssh-ed25519 AAAAC3Nz canary@laptop\n");
    let text = world.must(&["export", "blog"]).stdout;
    assert!(text.contains("git.corp.example ssh-ed25519 AAAAC3Nz\n"), "{text}");
}
