//! The files that `machine init` writes: every key with its meaning and default, as comments to be taken away.
//!
//! Enters: names. Leaves: TOML text. In it `# ` starts an explanation and `#` without a space a line of TOML.

use std::fmt::Write;

use super::bundled::BUNDLED;
use crate::model::{ImageName, ProfileName, ProjectName, RepoUrl, Transport};

const PROJECTS_HEAD: &str = r#"# The projects of `machine`. Each table is a project and gets a virtual machine of its own.
#
# A line that starts with `#` and no space is TOML: take the `#` away to use it. The values shown are the defaults,
# where there is one.

# What every project of this file gets, unless it says otherwise: any key of a project but `repos`.
#[defaults]
#memory = "4GiB"

"#;

const PROJECT_KEYS: &str = r#"# Cloned into ~/code by ssh or https; `machine ssh` opens in the first one. Default: none.
#repos = [
#  "git@github.com:you/blog.git",
#  { url = "https://github.com/you/theme.git", dir = "theme", branch = "next" },
#]

# Sets of tools on top of `base`, in this order: bundled ones (BUNDLED)
# and folders of your own in `profiles/` beside this file. Default: none.
#profiles = []

# Processors; at most what this computer has.
#cpus = 2

# Memory, and how far the disk may grow; it only takes what is used.
#memory = "4GiB"
#disk = "40GiB"

# The login shell: "bash", "zsh" or "fish".
#shell = "bash"

# Environment of every session. No secrets: this file is not made for them. Default: none.
#env = { DATABASE_URL = "postgres://localhost/blog" }

# Ports of the machine that appear on this computer's 127.0.0.1, each as PORT or "HOST:GUEST"; no other one does.
#ports = [3000, "8080:80"]

# Shell lines that run once in the first repository after it is cloned. Default: what fits its lock file;
# `false` for nothing.
#setup = ["npm ci"]

# Whether sessions may use the ssh-agent of this computer; keys never leave it.
#forward_agent = true

# What of this computer and its networks the machine may reach: all services of this computer, the private networks it
# is in, or single doors, each `NAME:PORT`, `ADDRESS:PORT` or a network. The computer itself is 192.168.5.2.
#host_access = false
#lan_access = false
#allow = ["gitlab.corp:22", "10.2.0.0/16"]

# `strict`: the login user is not root in the machine and cannot become it, which makes the machine's own rules hold
# against what runs in it. No sudo, no sleep; Docker without root. Counts for new machines.
#isolation = "standard"

# The system: IMAGES. Default: what provision.toml says.
#image = "debian-13"

# Secrets: where they are kept, never the values. They go into the memory of the machine, as /run/secrets/NAME; with
# `export = true` also into the environment of every session. Default: none.
#secrets = { NPM_TOKEN = "op://Dev/npm/token", SENTRY_DSN = { file = "~/.secrets/sentry", export = true } }

# The secret by which git logs in to the hosts of the https repositories above. Default: none.
#git = { token = "NPM_TOKEN" }

# What becomes of the machine once nobody and nothing was at work in it for a while: "sleep" (Linux), "down", "none".
# Default: none. `keep_awake` is stronger.
#idle = { after = "30m", action = "sleep" }
#keep_awake = false
"#;

const PROVISION: &str = r#"# What every project beside this file gets, after its profiles.
#
# A line that starts with `#` and no space is TOML: take the `#` away to use it. The values shown are the defaults,
# where there is one.

# The system: IMAGES.
#image = "debian-13"

# `false` leaves the profile `base` out, unless another one requires it.
#base = true

# Profiles that every project gets. Default: none.
#requires = []

# Packages of the system, of npm (global, for the login user) and of Python (as `uv tool install` has it).
# Default: none.
#apt = ["postgresql-client"]
#npm = ["prettier@3.6.2"]
#uv = ["pre-commit"]

# Folders put before the others in PATH, and the environment of every session. Default: none.
#path = ["/opt/tool/bin"]
#env = { EDITOR = "vim" }

# Scripts beside this file, run by root and by the login user; they may run more than once. Default: none.
#script = "install.sh"
#user_script = "setup.sh"

# Shell lines that must succeed at the end. Default: none.
#check = ["psql --version"]

# After how many days a box with this in it is called old; the smallest one of all its profiles counts.
#max_age = "30d"

# A signed apt repository; its public key lies beside this file and is never fetched. Default: none.
#[[apt_repo]]
#name = "example"
#uri = "https://example.com/debian"
#suites = ["stable"]
#components = ["main"]
#key = "example.gpg"

# A file that is verified before it is used; `{version}` and `{arch}` are filled in. Default: none.
# `extract` unpacks it into a folder, `install = "/usr/local/bin/NAME"` makes it a program.
#[[download]]
#version = "1.0.0"
#url = "https://example.com/tool-{version}-{arch}.tar.gz"
#sha256 = { amd64 = "ZEROS", arm64 = "ZEROS" }
#extract = "/opt"
"#;

/// projects.toml and provision.toml for the user's folder; with a name, that project is there and empty.
pub fn render_starter(name: Option<&ProjectName>) -> (String, String) {
    let header = match name {
        Some(name) => format!("[{name}]\n"),
        None => "# A project; its name is the name of its machine.\n#[blog]\n".to_owned(),
    };
    (format!("{PROJECTS_HEAD}{header}{}", fill(PROJECT_KEYS)), fill(PROVISION))
}

/// projects.toml for a repository's `.machine` folder or root.
pub fn render_repository_starter(name: &ProjectName, origin: &RepoUrl, profiles: &[ProfileName]) -> String {
    let mut text = format!(
        "# The project of this repository for `machine`: `machine up {name}` gives it a virtual machine of its own.\n\
         # A line that starts with `#` and no space is TOML: take the `#` away to use it.\n\n\
         [{name}]\n\
         # This repository, {}. Others can follow; whoever uses this file is asked before they are cloned.\n\
         repos = [\".\"]\n",
        origin.short()
    );
    if !profiles.is_empty() {
        let names: Vec<_> = profiles.iter().map(|profile| format!("\"{profile}\"")).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n# Sets of tools on top of `base`, in this order.\nprofiles = [{}]\n",
            names.join(", ")
        );
    }
    let agent = if origin.transport() == Transport::Ssh { "" } else { "#" };
    let _ = write!(
        text,
        "\n# Whether clones and sessions may use the ssh-agent; whoever uses this file is asked first. Default here: \
         false.\n{agent}forward_agent = true\n"
    );
    let is_set = |paragraph: &&str| {
        let is_written = |key: &str| paragraph.contains(&format!("\n#{key}"));
        // What a repository asks of the computer that it lands on is not its own to say, nor which secrets it gets.
        !["repos", "allow", "ports", "forward_agent", "secrets", "git", "idle"]
            .iter()
            .any(|key| is_written(key))
            && (profiles.is_empty() || !is_written("profiles"))
    };
    for paragraph in fill(PROJECT_KEYS).trim_end().split("\n\n").filter(is_set) {
        let _ = write!(text, "\n{paragraph}\n");
    }
    text
}

fn fill(text: &str) -> String {
    let bundled: Vec<_> = BUNDLED.iter().map(|profile| profile.name).collect();
    text.replace("BUNDLED", &bundled.join(", "))
        .replace("IMAGES", &ImageName::ALL.map(|image| format!("\"{image}\"")).join(" or "))
        .replace("ZEROS", &"0".repeat(64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{host, put};
    use crate::config::{ConfigFolder, load_catalog, load_provision, profile_stack};
    use crate::model::{Caps, Repository};

    /// Takes the `#` of every line of TOML away.
    fn uncomment(text: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(toml) if !toml.is_empty() && (!toml.starts_with(' ') || toml.starts_with("  ")) => {
                format!("{toml}\n")
            }
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    fn load(projects: &str, provision: &str, in_repository: bool) -> Vec<crate::config::Project> {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "projects.toml", projects);
        put(dir.path(), "provision.toml", provision);
        put(dir.path(), "install.sh", "#!/usr/bin/env bash\n");
        put(dir.path(), "setup.sh", "#!/usr/bin/env bash\n");
        put(dir.path(), "example.gpg", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
        let folder = ConfigFolder { dir: dir.path().to_owned(), in_repository };
        let origin = "git@github.com:you/blog.git".parse().ok();
        let repository = Repository { root: dir.path().to_owned(), origin };
        let user = ConfigFolder { dir: dir.path().join("none"), in_repository: false };
        let catalog = if in_repository {
            load_catalog(&user, Some((&folder, &repository)), &host(), Caps::default()).unwrap()
        } else {
            load_catalog(&folder, None, &host(), Caps::default()).unwrap()
        };
        let provision = load_provision(&folder).unwrap();
        let projects: Vec<_> = catalog.projects.into_values().collect();
        for project in &projects {
            profile_stack(project, &provision, &folder).unwrap();
        }
        projects
    }

    #[test]
    fn the_starter_is_valid_as_it_is_and_uncommented() {
        let (projects, provision) = render_starter(None);
        assert!(load(&projects, &provision, false).is_empty());
        let full = load(&uncomment(&projects), &uncomment(&provision), false);
        assert_eq!(full.len(), 1);
        assert_eq!((full[0].name.as_str(), full[0].repos.len()), ("blog", 2));

        let (projects, provision) = render_starter(Some(&"hello".parse().unwrap()));
        let empty = load(&projects, &provision, false);
        assert_eq!((empty.len(), empty[0].name.as_str(), empty[0].repos.len()), (1, "hello", 0));
        assert_eq!(load(&uncomment(&projects), &uncomment(&provision), false)[0].name.as_str(), "hello");
    }

    #[test]
    fn the_starter_names_every_key_once() {
        let (projects, provision) = render_starter(None);
        for (text, keys) in [
            (&projects, crate::config::project::PROJECT.keys),
            (&provision, crate::config::profile::PROVISION.keys),
        ] {
            for key in keys.iter().filter(|key| **key != "description") {
                let named = [format!("\n#{key} ="), format!("\n#[[{key}]]")];
                assert!(named.iter().any(|name| text.contains(name)), "{key}");
            }
        }
    }

    #[test]
    fn the_values_shown_are_the_defaults() {
        let (projects, _) = render_starter(Some(&"hello".parse().unwrap()));
        let [as_it_is] = load(&projects, "", false).try_into().unwrap();
        let [full] = load(&uncomment(&projects), "", false).try_into().unwrap();
        let plain = |project: crate::config::Project| crate::config::Project {
            file: std::path::PathBuf::new(),
            repos: Vec::new(),
            env: std::collections::BTreeMap::new(),
            setup: crate::config::Setup::ByLockFile,
            access: crate::model::Access::default(),
            ports: Vec::new(),
            image: None,
            idle: None,
            secrets: crate::model::Secrets::default(),
            ..project
        };
        assert_eq!(plain(full), plain(as_it_is));
    }

    #[test]
    fn the_repositorys_starter_is_valid_as_it_is_and_uncommented() {
        let (name, origin) = ("blog".parse().unwrap(), "git@github.com:you/blog.git".parse().unwrap());
        for profiles in [vec![], vec!["base".parse().unwrap()]] {
            let text = render_repository_starter(&name, &origin, &profiles);
            for text in [uncomment(&text), text] {
                let [blog] = load(&text, "", true).try_into().unwrap();
                assert_eq!((blog.repos[0].url.as_str(), &blog.profiles), (origin.as_str(), &profiles));
            }
        }
    }
}
