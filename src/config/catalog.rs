//! All projects of the configuration: the files read, their tables joined, the whole judged at once.
//!
//! Enters: the configuration folders, the repository that one is of, the host. Leaves: a `Catalog`.
//! Must not know which machines exist.

use std::collections::BTreeMap;
use std::ops::Range;

use super::project::{Draft, Judge, PROJECT};
use super::source::{Source, read_toml};
use super::stack::describe_missing;
use super::suggest::nearest;
use super::syntax::parse;
use super::walk::{Table, Walk};
use super::{ConfigFolder, Project, problem};
use crate::failure::Result;
use crate::model::{Ask, Caps, Host, ProjectName, Repository, Secrets};

const DEFAULTS: &str = "defaults";

/// The projects by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Valid, with defaults applied.
    pub projects: BTreeMap<ProjectName, Project>,
}

impl Catalog {
    /// A project.
    pub fn get(&self, name: &ProjectName) -> Option<&Project> {
        self.projects.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &ProjectName> {
        self.projects.keys()
    }

    /// The project whose name is closest to a mistyped one.
    pub fn suggest(&self, name: &str) -> Option<&ProjectName> {
        let near = nearest(name, self.names().map(ProjectName::as_str))?;
        self.names().find(|candidate| candidate.as_str() == near)
    }
}

/// Loads the projects of the user's folder and of a repository's. A table without `repos` in the user's file lies over the table of the same name
/// in a repository's file.
///
/// # Errors
///
/// One report with everything that is wrong in all files; `NotTrusted` when nothing is but a repository's file saying what
/// is the user's to say.
pub fn load_catalog(
    user: &ConfigFolder,
    of_repository: Option<(&ConfigFolder, &Repository)>,
    host: &Host,
    caps: Caps,
) -> Result<Catalog> {
    // A repository's projects first, so that what the user's own file says about them lies above.
    let folders = of_repository.map(|(folder, repository)| (folder, Some(repository)));
    let mut sources = Vec::new();
    for (folder, repository) in folders.into_iter().chain([(user, None)]) {
        let source = read_toml(folder, &folder.projects())?;
        sources.extend(source.map(|source| (folder, Judge { host, repository, caps }, source)));
    }
    let mut files: Vec<_> =
        sources.iter().map(|(folder, judge, source)| ProjectsFile::read(folder, source, *judge)).collect();
    let catalog = join(&mut files);
    let reports: Vec<_> = files.iter().map(|file| (file.walk.source, &file.walk.problems)).collect();
    problem::check(&reports)?;
    Ok(catalog)
}

/// Loads the secrets of one project from a user's own file, and judges nothing that other keys name. Those of a
/// repository's project stand in a table that lies over it, without the defaults of this file.
///
/// # Errors
/// Everything that is wrong in that file, at once.
pub fn load_secrets(folder: &ConfigFolder, name: &str, is_overlay: bool, host: &Host) -> Result<Secrets> {
    let Some(source) = read_toml(folder, &folder.projects())? else { return Ok(Secrets::default()) };
    let mut file =
        ProjectsFile::read(folder, &source, Judge { host, repository: None, caps: Caps::default() });
    problem::check(&[(&source, &file.walk.problems)])?;
    let table = std::mem::take(&mut file.tables).into_iter().find(|(table, ..)| table.as_str() == name);
    let Some((name, _, draft)) = table else { return Ok(Secrets::default()) };
    let draft = if is_overlay { draft } else { file.defaults.clone().overlaid(draft) };
    Ok(draft.finish(name, &source, file.judge).secrets)
}

/// A projects.toml, read.
struct ProjectsFile<'s> {
    folder: &'s ConfigFolder,
    judge: Judge<'s>,
    walk: Walk<'s>,
    defaults: Draft,
    tables: Vec<(ProjectName, Range<usize>, Draft)>,
}

impl<'s> ProjectsFile<'s> {
    fn read(folder: &'s ConfigFolder, source: &'s Source, judge: Judge<'s>) -> Self {
        let walk = Walk { source, problems: problem::Problems::default() };
        let mut file = Self { folder, judge, walk, defaults: Draft::default(), tables: Vec::new() };
        if let Some(tree) = parse(source, &mut file.walk.problems) {
            file.read_tables(&Table::root(&tree));
        }
        file
    }

    fn read_tables(&mut self, root: &Table<'_>) {
        for (name, value) in root.entries() {
            if !value.is_table() && PROJECT.keys.contains(&name) {
                let sentence = format!("{name}: a project's keys belong below its name, such as `[blog]`");
                self.walk.problems.add(value.key_span, sentence);
                continue;
            }
            let Some(table) = value.table("a table with a project's keys", &mut self.walk) else { continue };
            let draft = Draft::read(&table.named(""), self.judge, &mut self.walk);
            match name.parse() {
                _ if name == DEFAULTS => self.set_defaults(draft, value.key_span),
                Ok(name) => self.tables.push((name, value.key_span, draft)),
                Err(refused) => self.walk.problems.add(value.key_span, refused.to_string()),
            }
        }
    }

    fn set_defaults(&mut self, mut draft: Draft, span: Range<usize>) {
        if draft.repos.take().is_some() {
            self.walk.problems.add(span, "`[defaults]` cannot have `repos`");
        }
        self.check_profiles(&draft, self.folder);
        self.defaults = draft;
    }

    /// Complains about profiles that the folder does not have.
    fn check_profiles(&mut self, draft: &Draft, folder: &ConfigFolder) {
        for (name, span) in draft.profiles.iter().flatten() {
            if let Some((sentence, hint)) = describe_missing(name, folder) {
                self.walk.problems.add(span.clone(), format!("profiles: {sentence}"));
                self.walk.problems.hint(hint);
            }
        }
    }
}

/// Joins the tables of all files, the repository's first.
fn join(files: &mut [ProjectsFile<'_>]) -> Catalog {
    let mut found: BTreeMap<ProjectName, Found> = BTreeMap::new();
    for index in 0..files.len() {
        for (name, span, draft) in std::mem::take(&mut files[index].tables) {
            match found.remove(&name) {
                None => {
                    let folder = files[index].folder;
                    files[index].check_profiles(&draft, folder);
                    let draft = files[index].defaults.clone().defaults_below(draft);
                    found.insert(name, Found { file: index, span, draft });
                }
                Some(earlier) => {
                    let joined = join_same(files, &name, earlier, Found { file: index, span, draft });
                    found.insert(name, joined);
                }
            }
        }
    }
    let finish = |(name, Found { file, draft, .. }): (ProjectName, Found)| {
        let file = &files[file];
        let project = draft.finish(name.clone(), file.walk.source, file.judge);
        (name, project)
    };
    Catalog { projects: found.into_iter().map(finish).collect() }
}

/// A table and where it stands.
struct Found {
    file: usize,
    span: Range<usize>,
    draft: Draft,
}

/// Two tables of one name: the second adds to the first, unless it has repositories of its own.
fn join_same(files: &mut [ProjectsFile<'_>], name: &ProjectName, earlier: Found, later: Found) -> Found {
    let folder = files[earlier.file].folder;
    files[later.file].check_profiles(&later.draft, folder);
    if later.draft.repos.is_none() {
        let gift = describe_gift(name, &later.draft, files[later.file].walk.source);
        let mut draft = earlier.draft.overlaid(later.draft);
        draft.asks.extend(gift);
        return Found { draft, ..earlier };
    }
    let first = files[earlier.file].walk.source;
    let (line, column) = first.position(earlier.span.start);
    let problems = &mut files[later.file].walk.problems;
    problems
        .add(later.span, format!("the project `{name}` is also in {}:{line}:{column}", first.path.display()));
    problems.hint("rename one of them, or leave `repos` out of yours: then it adds to the repository's");
    earlier
}

/// A name is all that ties a user's table to a repository's, and any repository can choose that name.
fn describe_gift(name: &ProjectName, draft: &Draft, source: &Source) -> Option<Ask> {
    let keys = draft.gifts().iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    let what = format!("your own table `[{name}]` in `{}` gives it {keys}", source.path.display());
    (!keys.is_empty()).then_some(Ask { key: "overlay", what })
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "catalog_fault_tests.rs"]
mod fault_tests;
