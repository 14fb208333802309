//! The repository that a configuration file was found in: what tells its projects from those of another one.
//!
//! Enters: its root and its remote. Leaves: a name by which two are compared, which no file in a repository can choose.

use std::path::PathBuf;

use super::RepoUrl;

/// A repository of this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its root, without links.
    pub root: PathBuf,
    /// Its remote `origin`; `None` when it has none, or none that could be cloned.
    pub origin: Option<RepoUrl>,
}

impl Repository {
    /// The remote in its normalised form; without one the path of the root, which has a `/` or a space where no host has one.
    pub fn identity(&self) -> String {
        match (&self.origin, self.root.to_str()) {
            (Some(origin), _) => origin.normalised(),
            (None, Some(path)) => path.to_owned(),
            // Escaped, and marked as that, so that two odd paths stay two.
            (None, None) => format!("bytes {}", self.root.as_os_str().as_encoded_bytes().escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn identity(root: &[u8], origin: Option<&str>) -> String {
        let root = PathBuf::from(OsStr::from_bytes(root));
        Repository { root, origin: origin.map(|url| url.parse().unwrap()) }.identity()
    }

    #[test]
    fn one_remote_is_one_repository_wherever_it_lies() {
        let of = |url| identity(b"/x", Some(url));
        assert_eq!(of("git@github.com:you/blog.git"), of("https://GitHub.com/you/blog"));
        assert_ne!(of("git@github.com:you/blog.git"), of("git@github.com:evil/blog.git"));
    }

    #[test]
    fn without_a_remote_the_path_tells_them_apart() {
        assert_eq!(identity(b"/a", None), "/a");
        assert_ne!(identity(b"/a\xff", None), identity(b"/a\xfe", None));
    }
}
