//! provision.toml: the profile that every project of a folder gets last, and the image.
//!
//! Enters: a configuration folder. Leaves: `Provision`. Must not know the projects.

use super::beside::Beside;
use super::image::read_image;
use super::normal::normalise;
use super::problem::{Problems, check};
use super::profile::{PROVISION, read_keys};
use super::source::read_toml;
use super::standing::asks_of_provision;
use super::syntax::parse;
use super::walk::{Table, Walk};
use super::{ConfigFolder, Profile, Provision};
use crate::failure::Result;

/// Loads provision.toml; without one, everything is as it comes.
pub fn load_provision(folder: &ConfigFolder) -> Result<Provision> {
    let Some(source) = read_toml(folder, &folder.provision())? else { return Ok(Provision::default()) };
    let mut walk = Walk { source: &source, problems: Problems::default() };
    let mut provision = Provision::default();
    if let Some(tree) = parse(&source, &mut walk.problems) {
        read_provision(&mut provision, &Table::root(&tree), folder, &mut walk);
    }
    check(&[(&source, &walk.problems)])?;
    Ok(provision)
}

fn read_provision(provision: &mut Provision, table: &Table<'_>, folder: &ConfigFolder, walk: &mut Walk<'_>) {
    table.check_keys(&PROVISION, walk);
    let mut profile = Profile::default();
    read_keys(&mut profile, table, &Beside::Folder { dir: &folder.dir, folder }, walk);
    provision.profile = profile;
    provision.image = table.get("image").and_then(|value| read_image(&value, folder.in_repository, walk));
    if folder.in_repository {
        provision.asks = asks_of_provision(provision);
        provision.lines = normalise(&walk.source.label, &walk.source.text);
    }
    let base = table.get("base").and_then(|value| value.flag(walk));
    provision.without_base = base == Some(false);
}
