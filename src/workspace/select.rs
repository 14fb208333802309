//! Finds the configuration and the one project that is meant.
//!
//! Enters: the context, perhaps a name. Leaves: a project with its folder, or an error that lists the names.

use std::path::Path;

use super::git::repository_at;
use super::lend::lender;
use crate::config::{
    Catalog, ConfigFolder, Located, Lookup, check_place, load_catalog, load_computer, locate, profile_names,
    repository_root,
};
use crate::context::{Context, completion_layout, completion_surroundings};
use crate::failure::{Failure, Result};
use crate::lima::launcher::Choice;
use crate::model::{Accelerator, Caps, Computer, Project, ProjectName, RepoUrl, Repository};
use crate::plan::Site;
use crate::record::MachineRecord;
use crate::ui;

/// The configuration as seen from the current folder.
pub struct Workspace {
    /// Where it lies.
    pub located: Located,
    /// The repository around the current folder.
    pub repository: Option<Repository>,
    /// Its projects.
    pub catalog: Catalog,
    /// What belongs to the computer.
    pub computer: Computer,
}

/// Finds the configuration folders, and judges none of their files.
pub fn locate_from(context: &Context) -> Result<Located> {
    locate(&Lookup {
        explicit: context.options.config_dir.as_deref(),
        cwd: &context.cwd,
        home: &context.layout.home,
        xdg_config_home: context.xdg_config_home.as_deref(),
    })
}

impl Workspace {
    /// Loads everything.
    ///
    /// # Errors
    /// Everything that is wrong in the files, at once.
    pub fn load(context: &Context) -> Result<Self> {
        let located = locate_from(context)?;
        let computer = load_computer(&located.user, &context.layout.home)?;
        let repository = located.repository_root.as_deref().map(|root| repository_at(context, root));
        let catalog = match (&located.repository, &repository) {
            (Some(folder), Some(repository)) => {
                read_repository(context, &located.user, computer.caps, &folder.dir, repository)?
            }
            _ => load_catalog(&located.user, None, &context.host, computer.caps)?,
        };
        Ok(Self { located, repository, catalog, computer })
    }

    /// Whether a projects.toml is one of those that were read.
    pub fn reads(&self, file: &Path) -> bool {
        self.located.repository.iter().chain([&self.located.user]).any(|folder| folder.projects() == file)
    }

    /// Whether nothing is configured anywhere: no file, or one in which everything is a comment still.
    pub fn has_no_project(&self) -> bool {
        self.catalog.projects.is_empty() && self.located.repository.is_none()
    }

    /// The project of a name, also one of a file elsewhere that a machine was made from.
    pub fn named(&self, context: &Context, name: &str) -> Result<Option<Project>> {
        let name: ProjectName = name.parse().map_err(|cause| Failure::usage(format!("PROJECT: {cause}")))?;
        let record = MachineRecord::load(&context.layout, name.as_str()).ok().flatten();
        let found = self.catalog.get(&name);
        // A table without `repos` may be the one that lies over a repository's, seen from outside of it. Beside a named
        // folder no repository's file is read, so there is nothing for it to lie over.
        let is_named = context.options.config_dir.is_some();
        let lies_over =
            |project: &Project| !is_named && project.repository.is_none() && project.repos.is_empty();
        let is_elsewhere =
            |record: &MachineRecord| found.is_none_or(|p| record.in_repository && lies_over(p));
        match record.filter(is_elsewhere) {
            Some(record) => Ok(self.recorded(context, &name, &record)?.or_else(|| found.cloned())),
            None => Ok(found.cloned()),
        }
    }

    /// The project of a name in the file that its machine was made from.
    fn recorded(
        &self,
        context: &Context,
        name: &ProjectName,
        record: &MachineRecord,
    ) -> Result<Option<Project>> {
        let Some(dir) = record.config_file.parent().filter(|dir| dir.is_dir()) else { return Ok(None) };
        let caps = self.computer.caps;
        let catalog = if record.in_repository {
            let Some(root) = repository_root(dir, &context.layout.home) else { return Ok(None) };
            read_repository(context, &self.located.user, caps, dir, &repository_at(context, &root))?
        } else {
            let folder = ConfigFolder { dir: dir.to_owned(), in_repository: false };
            load_catalog(&folder, None, &context.host, caps)?
        };
        Ok(catalog.get(name).cloned())
    }

    /// The project that is meant when none is named: that of the current repository, else the only one.
    pub fn implied(&self, context: &Context) -> Result<Option<Project>> {
        let projects = || self.catalog.projects.values();
        let of_this_repository = |project: &&Project| {
            let origin = self.repository.as_ref().and_then(|repository| repository.origin.as_ref());
            let origin = origin.map(RepoUrl::normalised);
            origin.is_some() && project.repos.iter().any(|repo| Some(repo.url.normalised()) == origin)
        };
        let in_this_file = || {
            let mut found = projects().filter(|project| project.repository.is_some());
            found.next().filter(|_| found.next().is_none())
        };
        let only = || projects().next().filter(|_| self.catalog.projects.len() == 1);
        let Some(project) = projects().find(of_this_repository).or_else(in_this_file).or_else(only) else {
            return Ok(None);
        };
        self.named(context, project.name.as_str())
    }

    /// The project meant by an optional name.
    ///
    /// # Errors
    /// When there is none of that name, or none is named and several could be meant.
    pub fn choose(&self, context: &Context, name: Option<&str>) -> Result<Project> {
        match name {
            Some(name) => self.named(context, name)?.ok_or_else(|| self.unknown(name)),
            None => self.implied(context)?.ok_or_else(|| self.ambiguous()),
        }
    }

    /// As [`Self::choose`], for what is done to a machine if there is one.
    ///
    /// # Errors
    /// Also when the machine of that name is another project's.
    pub fn choose_own(&self, context: &Context, name: Option<&str>) -> Result<Project> {
        let project = self.choose(context, name)?;
        let record = MachineRecord::load(&context.layout, project.name.as_str())?;
        let repository = project.repository.as_ref();
        match record.filter(|record| !record.is_of(&project.file, repository, &project.repos)) {
            Some(record) => Err(record.claimed_by(&project.file, repository)),
            None => Ok(project),
        }
    }

    /// The project meant by an optional name, with its machine.
    ///
    /// # Errors
    /// When there is none yet, or the machine of that name is another project's.
    pub fn choose_machine(&self, context: &Context, name: Option<&str>) -> Result<(Project, MachineRecord)> {
        let project = self.choose_own(context, name)?;
        let record = MachineRecord::load(&context.layout, project.name.as_str())?.ok_or_else(|| {
            Failure::operation(format!("the project `{}` has no machine yet", project.name))
                .hint(format!("make it: `machine up {}`", project.name))
        })?;
        Ok((project, record))
    }

    /// The error for a name that no file has.
    pub fn unknown(&self, name: &str) -> Failure {
        let file = self.located.repository.as_ref().unwrap_or(&self.located.user).projects();
        let failure = Failure::usage(format!("there is no project `{name}` in `{}`", file.display()));
        match self.catalog.suggest(name) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint(format!(
                "add it: a line `[{name}]` in that file, with `repos = [\"…\"]` below it if it has any"
            )),
        }
    }

    fn ambiguous(&self) -> Failure {
        let names: Vec<&str> = self.catalog.names().map(ProjectName::as_str).collect();
        if names.is_empty() {
            return Failure::usage("there is no project yet")
                .hint("make one: `machine up NAME`, in a git repository or anywhere");
        }
        Failure::usage("which project? none is named, and the current folder belongs to none")
            .hint(format!("one of: {}", names.join(", ")))
    }
}

/// The projects of a repository's folder, the user's own tables over them.
pub(super) fn read_repository(
    context: &Context,
    user: &ConfigFolder,
    caps: Caps,
    dir: &Path,
    repository: &Repository,
) -> Result<Catalog> {
    check_place(dir, &repository.root, &context.layout.home)?;
    let folder = ConfigFolder { dir: dir.to_owned(), in_repository: true };
    load_catalog(user, Some((&folder, repository)), &context.host, caps)
}

/// The folder that a project's provision.toml and profiles belong to.
pub(super) fn folder_of(project: &Project) -> ConfigFolder {
    let dir = project.file.parent().unwrap_or(Path::new("/")).to_owned();
    ConfigFolder { dir, in_repository: project.repository.is_some() }
}

/// The record of the machine that an optional name means. A named machine needs no configuration to be used.
///
/// # Errors
/// When there is no such machine yet, or none is named and the machine is another project's of that name.
pub fn find_record(context: &Context, name: Option<&str>) -> Result<MachineRecord> {
    if let Some(name) = name {
        let name: ProjectName = name.parse().map_err(|cause| Failure::usage(format!("PROJECT: {cause}")))?;
        if let Some(record) = MachineRecord::load(&context.layout, name.as_str())? {
            return Ok(record);
        }
    }
    Ok(Workspace::load(context)?.choose_machine(context, name)?.1)
}

/// The records of all machines, or of those that names mean; without a name, of the one that is implied.
///
/// # Errors
/// As [`find_record`].
pub fn find_records(context: &Context, names: &[String], all: bool) -> Result<Vec<MachineRecord>> {
    if all {
        return Ok(every_record(context));
    }
    if names.is_empty() {
        return Ok(vec![find_record(context, None)?]);
    }
    names.iter().map(|name| find_record(context, Some(name))).collect()
}

/// The records of all machines. One that cannot be read is said, since its machine stays as it is.
fn every_record(context: &Context) -> Vec<MachineRecord> {
    let mut records = Vec::new();
    for (name, loaded) in MachineRecord::load_each(&context.layout) {
        match loaded {
            Ok(record) => records.push(record),
            Err(failure) => {
                let hints = failure.hints.join("; ");
                ui::warn(&format!("`{name}` is left out: {:#}; {hints}", failure.error));
            }
        }
    }
    records
}

/// The place where plans are carried out.
pub fn site<'a>(context: &'a Context, computer: &Computer, say: &'a dyn Fn(&str)) -> Site<'a> {
    Site {
        runner: &context.runner,
        layout: &context.layout,
        host: &context.host,
        binary: &context.binary,
        choice: match computer.accelerator {
            Accelerator::Auto => Choice::Auto,
            Accelerator::Kvm => Choice::Kvm,
            Accelerator::Tcg => Choice::Tcg,
        },
        memory_budget: computer.memory_budget,
        warm_boxes: !computer.without_warm_boxes && context.host.boots_kernels(),
        accept_unknown_lima: computer.accept_unknown_lima_version,
        lend: lender(context),
        proxies: context.proxies.clone(),
        folder_variables: context.folder_variables.clone(),
        no_wait: context.options.no_wait,
        dry_run: context.options.dry_run,
        say,
    }
}

/// Names for completion: of the configuration, and of machines. Starts no program, and is silent about problems.
pub fn completion_names() -> Vec<String> {
    let mut names: Vec<String> = completion_layout().map_or_else(Vec::new, |layout| {
        MachineRecord::load_all(&layout).into_iter().map(|record| record.name).collect()
    });
    names.extend(configured_names().unwrap_or_default());
    names.sort();
    names.dedup();
    names
}

/// Profiles for completion: bundled ones and those of every folder in reach.
pub fn completion_profiles() -> Vec<String> {
    let located = completion_located();
    let folders = located.iter().flat_map(|located| located.repository.iter().chain([&located.user]));
    profile_names(&folders.collect::<Vec<_>>())
}

/// The tables of every projects.toml in reach. Only their names matter here, so nothing else is judged.
fn configured_names() -> Option<Vec<String>> {
    let located = completion_located()?;
    let folders = located.repository.iter().chain([&located.user]);
    let texts =
        folders.filter_map(|folder| crate::disk::read_text_if_there(&folder.projects()).ok().flatten());
    let tables = texts.filter_map(|text| text.parse::<toml::Table>().ok());
    Some(
        tables
            .flat_map(|table| table.into_iter().map(|(name, _)| name))
            // Any text can be a key, and a shell prints what it completes.
            .filter(|name| name != "defaults" && name.parse::<ProjectName>().is_ok())
            .collect(),
    )
}

fn completion_located() -> Option<Located> {
    let (cwd, home, xdg_config_home, explicit) = completion_surroundings()?;
    let lookup = Lookup {
        explicit: explicit.as_deref(),
        cwd: &cwd,
        home: &home,
        xdg_config_home: xdg_config_home.as_deref(),
    };
    locate(&lookup).ok()
}
