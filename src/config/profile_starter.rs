//! The profile.toml that `machine profiles new` writes: every key with its meaning, as comments to be taken away.
//!
//! Enters: a name. Leaves: TOML text, valid as it is. In it `# ` starts an explanation and `#` without a space TOML.

use crate::model::ProfileName;

const PROFILE: &str = r#"# The profile NAME: a set of tools, for projects that have "NAME" in their `profiles`.
# A line that starts with `#` and no space is TOML: take the `#` away to use it. All of it may be left out.
description = "What is in it"
#requires = ["python"]        # profiles placed before this one
#apt = ["postgresql-client"]  # packages of the system: `name` or `name=version`
#npm = ["prettier@3.6.2"]     # packages of npm, global, for the login user; they need `base` or your own Node
#uv = ["pre-commit"]          # Python tools, as `uv tool install` has them, for the login user
#path = ["/opt/tool/bin"]     # folders before the others in PATH
#env = { EDITOR = "vim" }     # environment of every session; no secrets
#script = "install.sh"        # a file beside this one, run by root; starts with `#!`, must bear to be run twice
#user_script = "setup.sh"     # the same, by the login user, after all the others
#check = ["psql --version"]   # shell lines of the login user that must succeed at the end
#max_age = "30d"              # when a box with this in it is called old; the smallest one of a stack counts

# A signed apt repository; its public key is a file beside this one and never fetched.
#[[apt_repo]]
#name = "example"
#uri = "https://example.com/debian"
#suites = ["stable"]
#components = ["main"]
#key = "example.gpg"

# A file that is verified before it is used. {version} and {arch} (amd64 or arm64) are filled in.
#[[download]]
#version = "1.0.0"
#url = "https://example.com/tool-{version}-{arch}.tar.gz"
#sha256 = { amd64 = "ZEROS", arm64 = "ZEROS" }
#extract = "/opt"             # unpacks a tar archive; or instead: install = "/usr/local/bin/NAME"
"#;

/// The starter of a profile.
pub fn render_profile_starter(name: &ProfileName) -> String {
    PROFILE.replace("NAME", name.as_str()).replace("ZEROS", &"0".repeat(64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shelf::list_profiles;
    use crate::config::testing::put;
    use crate::config::{ConfigFolder, Profile};

    fn load(text: &str) -> Profile {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "profiles/mine/profile.toml", text);
        for script in ["install.sh", "setup.sh"] {
            put(dir.path(), &format!("profiles/mine/{script}"), "#!/usr/bin/env bash\n");
        }
        put(dir.path(), "profiles/mine/example.gpg", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
        let folder = ConfigFolder { dir: dir.path().to_owned(), in_repository: false };
        list_profiles(&[&folder]).pop().unwrap().profile.unwrap()
    }

    #[test]
    fn the_starter_is_valid_as_it_is_and_uncommented() {
        let text = render_profile_starter(&"mine".parse().unwrap());
        assert!(text.lines().count() <= 30, "one screen");
        assert_eq!(load(&text).description, "What is in it");
        let toml = |line: &str| match line.strip_prefix('#') {
            Some(toml) if !toml.starts_with(' ') => format!("{toml}\n"),
            _ => format!("{line}\n"),
        };
        let full = load(&text.lines().map(toml).collect::<String>());
        assert_eq!((full.apt_repos.len(), full.downloads.len(), full.check.len()), (1, 1, 1));
        assert_eq!(
            (full.script.unwrap().name, full.user_script.unwrap().name),
            ("install.sh".into(), "setup.sh".into())
        );
    }

    #[test]
    fn the_starter_names_every_key_once() {
        let text = render_profile_starter(&"mine".parse().unwrap());
        let schema = [crate::config::profile::PROFILE.keys, &["name", "uri", "suites", "components", "key"]];
        let download: [&[&str]; 1] = [&["version", "url", "sha256", "extract"]];
        for key in schema.iter().chain(&download).flat_map(|keys| keys.iter()) {
            let named = [format!("\n#{key} ="), format!("\n{key} ="), format!("\n#[[{key}]]")];
            let count = named.iter().map(|name| text.matches(name).count()).sum::<usize>();
            assert_eq!(count, 1, "{key}");
        }
        assert!(text.contains("install = \"/usr/local/bin/mine\""));
    }
}
