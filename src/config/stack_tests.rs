//! Tests of the order of profiles, and of what a profile's folder may be.
//!
//! Enters: profiles of our own beside the bundled ones. Leaves: nothing; none of them is installed.

use std::os::unix::fs::{PermissionsExt, symlink};

use insta::assert_snapshot;

use super::*;
use crate::config::testing::{host, put, report};
use crate::config::{load_catalog, load_provision};
use crate::model::Caps;

/// A user's folder with one project that wants these profiles.
struct Folder {
    dir: tempfile::TempDir,
    folder: ConfigFolder,
}

impl Folder {
    fn new(profiles: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "projects.toml", "[blog]\n");
        for (name, text) in profiles {
            put(dir.path(), &format!("profiles/{name}/profile.toml"), text);
        }
        let folder = ConfigFolder { dir: dir.path().to_owned(), in_repository: false };
        Self { dir, folder }
    }

    fn put(&self, name: &str, content: &str) -> std::path::PathBuf {
        put(self.dir.path(), name, content);
        self.dir.path().join(name)
    }

    fn stack(&self, profiles: &[&str]) -> Result<Vec<Profile>> {
        let mut catalog = load_catalog(&self.folder, None, &host(), Caps::default()).unwrap();
        let (_, mut project) = catalog.projects.pop_first().unwrap();
        project.profiles = profiles.iter().map(|name| name.parse().unwrap()).collect();
        profile_stack(&project, &load_provision(&self.folder)?, &self.folder)
    }

    fn names(&self, profiles: &[&str]) -> Vec<String> {
        let name = |profile: &Profile| profile.name.as_ref().map_or("-".into(), ToString::to_string);
        self.stack(profiles).unwrap().iter().map(name).collect()
    }

    fn report(&self, profiles: &[&str]) -> String {
        report(&self.stack(profiles).unwrap_err(), self.dir.path())
    }
}

#[test]
fn each_profile_stands_once_after_what_it_requires() {
    let folder = Folder::new(&[
        ("a", "requires = [\"c\", \"b\"]"),
        ("b", "requires = [\"c\"]"),
        ("c", "requires = [\"base\"]"),
        ("d", ""),
    ]);
    assert_eq!(folder.names(&[]), ["base"]);
    assert_eq!(folder.names(&["a", "b"]), ["base", "c", "b", "a"]);
    assert_eq!(folder.names(&["b", "a", "base"]), ["base", "c", "b", "a"]);
    folder.put("provision.toml", "apt = [\"jq\"]\nrequires = [\"d\"]\n");
    assert_eq!(folder.names(&["c"]), ["base", "c", "d", "-"]);
    folder.put("provision.toml", "base = false\n");
    assert_eq!(folder.names(&["d"]), ["d"]);
}

#[test]
fn circles_are_told_whole() {
    let folder =
        Folder::new(&[("a", "requires = [\"b\"]"), ("b", "requires = [\"c\"]"), ("c", "requires = [\"b\"]")]);
    assert_snapshot!(folder.report(&["a"]), @"
    error: profiles require each other in a circle: b → c → b
    hint: take one `requires` out in `DIR/profiles`
    ");
    assert_snapshot!(Folder::new(&[("a", "requires = [\"a\"]")]).report(&["a"]), @"
    error: profiles require each other in a circle: a → a
    hint: take one `requires` out in `DIR/profiles`
    ");
}

#[test]
fn unknown_profiles() {
    let folder = Folder::new(&[("python-tools", ""), ("a", "requires = [\"pyton-tools\", \"base\"]")]);
    assert_snapshot!(folder.report(&["pyhton-tools"]), @"
    error: unknown profile `pyhton-tools`; did you mean `python-tools`?
    hint: profiles are BUNDLED, a, python-tools; one of your own is a folder in `DIR/profiles`
    ");
    assert_snapshot!(folder.report(&["a"]), @r#"
    error: profiles/a/profile.toml:1:13: requires: unknown profile `pyton-tools`; did you mean `python-tools`?
      1 | requires = ["pyton-tools", "base"]
        |             ^^^^^^^^^^^^^
    hint: profiles are BUNDLED, a, python-tools; one of your own is a folder in `DIR/profiles`
    hint: edit `DIR/profiles/a/profile.toml`
    "#);
    folder.put("provision.toml", "requires = [\"nothing\"]\n");
    assert_snapshot!(folder.report(&[]), @r#"
    error: provision.toml:1:13: requires: unknown profile `nothing`
      1 | requires = ["nothing"]
        |             ^^^^^^^^^
    hint: profiles are BUNDLED, a, python-tools; one of your own is a folder in `DIR/profiles`
    hint: edit `DIR/provision.toml`
    "#);
}

#[test]
fn a_bundled_name_is_taken() {
    assert_snapshot!(Folder::new(&[("base", "")]).report(&[]), @"
    error: `DIR/profiles/base` has the name of a bundled profile
    hint: give the folder another name
    ");
}

#[test]
fn a_profiles_folder_is_what_its_place_says() {
    let folder = Folder::new(&[("a", ""), ("open", ""), ("loose", "")]);
    let profiles = folder.folder.profiles_dir();
    folder.put("outside/profile.toml", "");
    symlink("../outside", profiles.join("linked")).unwrap();
    assert_snapshot!(folder.report(&["linked"]), @"error: `DIR/profiles/linked` is a link that leads out of its folder");
    symlink("a", profiles.join("alias")).unwrap();
    assert!(folder.stack(&["alias"]).is_ok(), "a link within the folder leads to what its owner wrote");
    std::fs::set_permissions(profiles.join("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_snapshot!(folder.report(&["open"]), @"
    error: `DIR/profiles/open` can be changed by other users
    hint: take that away: `chmod go-w DIR/profiles/open`
    ");
    std::fs::set_permissions(profiles.join("loose/profile.toml"), std::fs::Permissions::from_mode(0o666))
        .unwrap();
    assert_snapshot!(folder.report(&["loose"]), @"error: profile `loose`: `profile.toml` can be changed by other users; take that away with `chmod go-w`");
    std::fs::set_permissions(&profiles, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_snapshot!(folder.report(&["a"]), @"
    error: `DIR/profiles` can be changed by other users
    hint: take that away: `chmod go-w DIR/profiles`
    ");
    std::fs::set_permissions(&profiles, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.put("profiles/file", "");
    assert_snapshot!(folder.report(&["file"]), @"error: `DIR/profiles/file` is no folder");
    std::fs::create_dir(profiles.join("empty")).unwrap();
    assert_snapshot!(folder.report(&["empty"]), @"error: the profile `empty` has no file `DIR/profiles/empty/profile.toml`");
    std::fs::create_dir(profiles.join("toml-link")).unwrap();
    symlink("../../outside/profile.toml", profiles.join("toml-link/profile.toml")).unwrap();
    assert_snapshot!(folder.report(&["toml-link"]), @"error: profile `toml-link`: `profile.toml` is a link that leads out of its folder");
}

#[test]
fn only_ones_own_profiles_may_lie_elsewhere() {
    let folder = Folder::new(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    put(elsewhere.path(), "tools/profile.toml", "");
    symlink(elsewhere.path(), folder.folder.profiles_dir()).unwrap();
    assert_eq!(folder.names(&["tools"]), ["base", "tools"]);
    let cloned = ConfigFolder { in_repository: true, ..folder.folder.clone() };
    let failure = load_profile(&"tools".parse().unwrap(), &cloned).unwrap_err();
    assert_snapshot!(report(&failure, folder.dir.path()), @"error: `DIR/profiles` is a link that leads out of its folder");
}

#[test]
fn base_comes_with_what_requires_it() {
    let folder = Folder::new(&[]);
    folder.put("provision.toml", "base = false\n");
    assert_eq!(folder.names(&["go", "rust", "cypress"]), ["go", "rust", "cypress"]);
    assert_eq!(folder.names(&["go", "python"]), ["go", "base", "python"]);
}

#[test]
fn provision_toml_has_image_and_base() {
    let folder = Folder::new(&[]);
    folder.put("provision.toml", "image = \"ubuntu-24.04\"\nbase = false\nscript = \"x.sh\"\n");
    folder.put("x.sh", "#!/bin/sh\n");
    let provision = load_provision(&folder.folder).unwrap();
    assert!(provision.without_base && provision.profile.files.is_empty());
    assert_eq!(provision.image, Some(crate::config::Image::Named("ubuntu-24.04".parse().unwrap())));
    assert_eq!(provision.profile.script.unwrap().text, "#!/bin/sh\n");
    folder.put(
        "provision.toml",
        "cpus = 4\nimage = \"debian-12\"\nbase = \"no\"\nmax_age = \"30\"\nname = \"x\"\n",
    );
    assert_snapshot!(report(&load_provision(&folder.folder).unwrap_err(), folder.dir.path()), @r#"
    error: provision.toml:1:1: `cpus` belongs in projects.toml
      1 | cpus = 4
        | ^^^^
    error: provision.toml:2:9: image: expected `debian-13` or `ubuntu-24.04`, got `debian-12`
      2 | image = "debian-12"
        |         ^^^^^^^^^^^
    error: provision.toml:3:8: base: expected `true` or `false`, got `"no"`
      3 | base = "no"
        |        ^^^^
    error: provision.toml:4:11: max_age: expected days, `1d` to `3650d`, such as `30d`, got `30`
      4 | max_age = "30"
        |           ^^^^
    error: provision.toml:5:1: unknown key `name`
      5 | name = "x"
        | ^^^^
    hint: provision.toml has the keys description, requires, apt, npm, uv, path, env, script, user_script, check, max_age, apt_repo, download, image, base
    hint: edit `DIR/provision.toml`
    "#);
}

#[test]
fn a_repositorys_provision_toml_names_no_image_location() {
    let folder = Folder::new(&[]);
    folder.put("provision.toml", "image = { amd64 = { location = \"/srv/x\" } }\n");
    let in_repository = ConfigFolder { in_repository: true, ..folder.folder.clone() };
    assert!(load_provision(&folder.folder).is_ok());
    assert_snapshot!(report(&load_provision(&in_repository).unwrap_err(), folder.dir.path()), @r#"
    error: provision.toml:1:9: image: an image's location is not a repository's to give: it belongs in your own projects.toml
      1 | image = { amd64 = { location = "/srv/x" } }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: edit `DIR/provision.toml`
    "#);
}
