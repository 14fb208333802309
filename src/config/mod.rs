//! Configuration: text → TOML tree → domain values; every problem of a file is reported at once, with carets.
//!
//! Enters: the TOML files and the host they are judged against. Leaves: `Catalog`, `Provision`, `Computer`.
//! Must not know how a machine is made: no Lima, no guest, no process.

mod access;
mod beside;
mod bundled;
mod catalog;
mod certificate;
mod computer;
mod download;
mod edit;
mod grant;
mod guess;
mod idle;
mod image;
mod keys;
mod locate;
mod normal;
mod place;
mod ports;
mod problem;
mod profile;
mod profile_starter;
mod project;
mod provision;
mod repos;
mod secret;
mod shelf;
mod source;
mod stack;
mod standing;
mod starter;
mod suggest;
mod syntax;
#[cfg(test)]
mod testing;
mod walk;

pub use catalog::{Catalog, load_catalog, load_secrets};
pub use computer::load_computer;
pub use edit::{add_project, set_ports};
pub use grant::{KeyChange, change_keys};
pub use guess::guess_profiles;
pub use locate::{ConfigFolder, Located, Lookup, find_folder, locate, repository_root};
pub use place::check_place;
pub use profile_starter::render_profile_starter;
pub use provision::load_provision;
pub use shelf::{ListedProfile, files_to_copy, folder_for_new, list_profiles, profile_names};
pub use stack::{is_bundled, profile_stack};
pub use starter::{render_repository_starter, render_starter};

use crate::model::{
    Accelerator, AptRepo, Computer, Digest, DigestAlgorithm, Download, DownloadTarget, GitSettings, Image,
    ImageSource, KernelBoot, Profile, Project, Provision, Repo, Script, Setup, Shell,
};
