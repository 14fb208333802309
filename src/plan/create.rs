//! Step `create`: keys, a port, a record, and the instance itself, in that order.
//!
//! Enters: a goal and what it starts from. Leaves: an instance that was never started; or none, and no record.

use super::adopt;
use super::execute::{Work, now};
use super::report::Reporter;
use super::warm::WarmBox;
use crate::disk;
use crate::failure::Result;
use crate::model::ByteSize;
use crate::record::Built;

pub(super) fn create(work: &mut Work, reporter: &mut Reporter) -> Result<()> {
    let phase = reporter.phase("create");
    phase.now("copying the disk");
    let name = work.goal.name.to_string();
    work.site.reserve_port(&mut work.record)?;
    adopt::generate_host_key(work.site, &name)?;
    work.record.host_key = adopt::public_key(work.site, &name)?;
    adopt::generate_root_key(work.site, &work.record)?;
    let held = work.held_box.as_ref();
    let box_key = held.map(|held| held.key.clone());
    let warm = held.and_then(|held| held.warm.as_ref()).and_then(|warm| warm.as_ref().ok());
    let warm_disk = warm.map(WarmBox::disk);
    let image = held.map(|held| held.image.clone()).or_else(|| work.image.take());
    if let Some(image) = image {
        (work.record.image, work.record.kernel) = (image.location, image.kernel);
    }
    work.record.ports.clone_from(&work.goal.ports);
    work.record.built = Some(Built {
        image: work.goal.image_name.clone(),
        image_origin: work.goal.image.origin(),
        box_key,
        created: now(),
        cpus: work.goal.cpus,
        memory_bytes: work.goal.memory.bytes(),
        ..Built::default()
    });
    work.record.save(work.site.layout)?;
    make_instance(work, warm_disk.unwrap_or(work.goal.disk))?;
    work.fresh = true;
    reporter.done(phase, &format!("disk up to {}", work.goal.disk.human()));
    Ok(())
}

/// Makes the instance, with a disk of this size.
///
/// # Errors
/// When Lima cannot: nothing is left of the machine.
pub(super) fn make_instance(work: &mut Work, disk: ByteSize) -> Result<()> {
    let (site, name) = (work.site, work.goal.name.to_string());
    let yaml = work.render(disk)?;
    site.keep_rendered(&name, &yaml)?;
    let created = site.driver().create(&name, &yaml);
    if created.is_err() {
        disk::remove_folder(&site.layout.machine(&name))?;
    }
    created
}
