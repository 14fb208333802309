//! Where the configuration lies: the folder of the repository around the current one, and the user's own.
//!
//! Enters: folders of the caller's surroundings. Leaves: `Located`.
//! Must not know what the files say, and reads no environment.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// What the root of a work tree has that is not git's.
const OTHER_ROOTS: [&str; 3] = [".hg", ".jj", ".svn"];
const PROJECTS: &str = "projects.toml";

/// A folder with `projects.toml` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFolder {
    /// Its absolute path.
    pub dir: PathBuf,
    /// Whether it was found in a repository, and so is not the user's own word.
    pub in_repository: bool,
}

impl ConfigFolder {
    /// The projects.
    pub fn projects(&self) -> PathBuf {
        self.dir.join(PROJECTS)
    }

    /// What every project of the folder gets.
    pub fn provision(&self) -> PathBuf {
        self.dir.join("provision.toml")
    }

    /// Where the folder's own profiles lie.
    pub fn profiles_dir(&self) -> PathBuf {
        self.dir.join("profiles")
    }

    /// What belongs to the computer; read from the user's folder only.
    pub fn computer(&self) -> PathBuf {
        self.dir.join("config.toml")
    }
}

/// What decides where configuration is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// `--config` or `MACHINE_CONFIG_DIR`.
    pub explicit: Option<&'a Path>,
    /// The current folder.
    pub cwd: &'a Path,
    /// The home folder.
    pub home: &'a Path,
    /// `XDG_CONFIG_HOME`; ignored unless absolute, as its specification asks.
    pub xdg_config_home: Option<&'a Path>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The folder in the repository around the current folder, if that has a projects.toml.
    pub repository: Option<ConfigFolder>,
    /// The user's own folder, which need not exist.
    pub user: ConfigFolder,
    /// The root of the repository around the current folder, with configuration or without.
    pub repository_root: Option<PathBuf>,
}

/// Finds the configuration folders.
pub fn locate(lookup: &Lookup<'_>) -> Result<Located> {
    let user = ConfigFolder { dir: user_dir(lookup)?, in_repository: false };
    let repository_root = repository_root(lookup.cwd, lookup.home);
    let searched = repository_root.as_deref().filter(|_| lookup.explicit.is_none());
    let repository = searched
        .and_then(|root| find_folder(lookup.cwd, root))
        .filter(|dir| !is_same(dir, &user.dir))
        .map(|dir| ConfigFolder { dir, in_repository: true });
    Ok(Located { repository, user, repository_root })
}

fn user_dir(lookup: &Lookup<'_>) -> Result<PathBuf> {
    if let Some(explicit) = lookup.explicit {
        let dir = lookup.cwd.join(explicit);
        if dir.exists() && !dir.is_dir() {
            return Err(no_folder(&dir));
        }
        if !dir.is_dir() {
            return Err(Failure::usage(format!(
                "the configuration folder `{}` does not exist",
                dir.display()
            ))
            .hint("name the folder that holds projects.toml, or leave `--config` out"));
        }
        return Ok(dir);
    }
    let base = lookup.xdg_config_home.filter(|dir| dir.is_absolute());
    Ok(base.map_or_else(|| lookup.home.join(".config"), Path::to_owned).join("machine"))
}

/// Mostly the file itself is named, in the place of its folder.
fn no_folder(path: &Path) -> Failure {
    let failure = Failure::usage(format!("the configuration folder `{}` is no folder", path.display()));
    match path.parent().filter(|_| path.ends_with(PROJECTS)) {
        Some(folder) => failure.hint(format!("name the folder it lies in: `--config {}`", folder.display())),
        None => failure.hint("name the folder that holds projects.toml, or leave `--config` out"),
    }
}

/// The nearest folder upwards that has `.git` (a folder, or a file in worktrees and submodules); never above the home, nor
/// above the root of what another system keeps.
pub fn repository_root(cwd: &Path, home: &Path) -> Option<PathBuf> {
    for dir in cwd.ancestors() {
        if dir.join(".git").exists() {
            return Some(dir.to_owned());
        }
        if is_same(dir, home) || OTHER_ROOTS.iter().any(|name| dir.join(name).exists()) {
            return None;
        }
    }
    None
}

/// The nearest folder from the current one up to the root that has a projects.toml, `.machine/` before beside.
pub fn find_folder(cwd: &Path, root: &Path) -> Option<PathBuf> {
    for dir in cwd.ancestors() {
        let candidates = [dir.join(".machine"), dir.to_owned()];
        // A dangling link counts as found, so that it is refused and not passed over.
        let found =
            candidates.into_iter().find(|candidate| candidate.join(PROJECTS).symlink_metadata().is_ok());
        if found.is_some() || dir == root {
            return found;
        }
    }
    None
}

/// Whether two paths lead to one folder, whatever links are on the way.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{put, report};

    struct Home(tempfile::TempDir);

    impl Home {
        fn new(files: &[&str]) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            for file in files {
                put(home.0.path(), file, "");
            }
            home
        }

        fn locate(&self, cwd: &str) -> (Option<String>, Option<String>) {
            let cwd = self.0.path().join(cwd);
            std::fs::create_dir_all(&cwd).unwrap();
            let home = &self.0.path().join("home");
            let found = locate(&Lookup { explicit: None, cwd: &cwd, home, xdg_config_home: None }).unwrap();
            assert_eq!(found.user.dir, home.join(".config/machine"));
            let below = |dir: PathBuf| dir.strip_prefix(self.0.path()).unwrap().display().to_string();
            (found.repository.map(|folder| below(folder.dir)), found.repository_root.map(below))
        }
    }

    fn folder(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn searches_up_to_the_repositorys_root() {
        let home = Home::new(&[
            "home/projects.toml",
            "home/code/projects.toml",
            "home/code/blog/.git/HEAD",
            "home/code/blog/.machine/projects.toml",
            "home/code/blog/projects.toml",
            "home/code/blog/sub/projects.toml",
            "home/code/bare/.git",
            "home/plain/projects.toml",
            "home/code/blog/hg/.hg/store",
        ]);
        let blog = Some(folder("home/code/blog"));
        assert_eq!(home.locate("home/code/blog"), (Some(folder("home/code/blog/.machine")), blog.clone()));
        assert_eq!(
            home.locate("home/code/blog/other/deep"),
            (Some(folder("home/code/blog/.machine")), blog.clone())
        );
        assert_eq!(home.locate("home/code/blog/sub/deep"), (Some(folder("home/code/blog/sub")), blog));
        assert_eq!(home.locate("home/code/bare/x"), (None, Some(folder("home/code/bare"))));
        assert_eq!(home.locate("home/plain"), (None, None));
        assert_eq!(home.locate("home/code/blog/hg/x"), (None, None));
        assert_eq!(home.locate("home"), (None, None));
    }

    #[test]
    fn does_not_search_above_the_home() {
        let home = Home::new(&[".git/HEAD", "projects.toml", "home/x/y"]);
        assert_eq!(home.locate("home/x"), (None, None));
        assert_eq!(home.locate("elsewhere"), (Some(folder("")), Some(folder(""))));
    }

    #[test]
    fn the_users_folder_in_a_repository_stays_the_users() {
        let home = Home::new(&["home/.config/.git/HEAD", "home/.config/machine/projects.toml"]);
        assert_eq!(home.locate("home/.config/machine"), (None, Some(folder("home/.config"))));
    }

    #[test]
    fn an_explicit_folder_is_the_only_one() {
        let home = Home::new(&["blog/.git/HEAD", "blog/projects.toml", "conf/projects.toml"]);
        let root = home.0.path();
        let lookup = Lookup {
            explicit: Some(Path::new("../conf")),
            cwd: &root.join("blog"),
            home: root,
            xdg_config_home: Some(Path::new("/x")),
        };
        let found = locate(&lookup).unwrap();
        assert_eq!(found.repository, None);
        assert!(!found.user.in_repository && is_same(&found.user.dir, &root.join("conf")));
        assert_eq!(found.repository_root, Some(root.join("blog")));

        let missing = locate(&Lookup { explicit: Some(Path::new("/no/such")), ..lookup }).unwrap_err();
        assert_eq!(
            report(&missing, root),
            "error: the configuration folder `/no/such` does not exist\n\
             hint: name the folder that holds projects.toml, or leave `--config` out\n"
        );
    }

    #[test]
    fn xdg_config_home_counts_when_absolute() {
        let root = Path::new("/nowhere");
        for (xdg, dir) in [("/x", "/x/machine"), ("x", "/nowhere/.config/machine")] {
            let lookup =
                Lookup { explicit: None, cwd: root, home: root, xdg_config_home: Some(Path::new(xdg)) };
            assert_eq!(locate(&lookup).unwrap().user.dir, Path::new(dir));
        }
    }
}
