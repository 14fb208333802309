//! Whether a repository's configuration lies where only its user could have put it.
//!
//! Enters: its folder, the repository's root, the home folder. Leaves: nothing, or a refusal.
//! Must not know what the files say; each of them is judged in `source`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::source::unreadable;
use crate::failure::{Failure, Kind, Result};

/// Refuses a folder that a link leads to, and one that lies where others can put something in its place, such as `/tmp`.
///
/// # Errors
/// `NotTrusted`. What is above the home folder, and the home folder itself, is not looked at.
pub fn check_place(dir: &Path, root: &Path, home: &Path) -> Result<()> {
    let refuse = |sentence: String| {
        Err(Failure::new(Kind::NotTrusted, format!("`{}` is not read: {sentence}", dir.display())))
    };
    let real = dir.canonicalize().map_err(|cause| unreadable(dir, &cause))?;
    let root = root.canonicalize().map_err(|cause| unreadable(root, &cause))?;
    let is_link = dir.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_symlink());
    if (is_link && real != root) || !real.starts_with(&root) {
        return refuse("a link leads to it, which a repository's configuration may not be behind".into());
    }
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let user = rustix::process::geteuid().as_raw();
    for folder in real.ancestors().take_while(|folder| *folder != home) {
        let metadata = folder.metadata().map_err(|cause| unreadable(folder, &cause))?;
        let shown = folder.display();
        if metadata.mode() & 0o002 != 0 {
            return refuse(format!("everybody may write to `{shown}`"));
        }
        if metadata.uid() != user && metadata.uid() != 0 {
            return refuse(format!("`{shown}` belongs to user {}, not to you (user {user})", metadata.uid()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn judge(dir: &Path, root: &Path, home: &Path) -> String {
        check_place(dir, root, home).err().map(|failure| failure.error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_others_may_replace_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("blog");
        let dir = root.join(".machine");
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(judge(&dir, &root, home.path()), "");
        // The folder for temporary files is everybody's.
        let elsewhere = Path::new("/nowhere");
        assert!(judge(&dir, &root, elsewhere).contains("everybody may write to `"));
        std::fs::set_permissions(&root, Permissions::from_mode(0o757)).unwrap();
        assert!(
            judge(&dir, &root, home.path())
                .ends_with(&format!("everybody may write to `{}`", root.display()))
        );
        std::fs::set_permissions(&root, Permissions::from_mode(0o775)).unwrap();
        assert_eq!(judge(&dir, &root, home.path()), "");
    }

    #[test]
    fn a_folder_behind_a_link_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let (root, other) = (home.path().join("blog"), home.path().join("other"));
        for folder in [&root, &other, &root.join("inside")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        for (name, target) in [("out", other.as_path()), ("in", Path::new("inside"))] {
            symlink(target, root.join(name)).unwrap();
            assert!(judge(&root.join(name), &root, home.path()).contains("a link leads to it"), "{name}");
        }
        // A repository that is itself reached by a link is the user's own doing.
        symlink("blog", home.path().join("link")).unwrap();
        assert_eq!(judge(&home.path().join("link"), &home.path().join("link"), home.path()), "");
    }
}
