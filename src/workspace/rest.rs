//! Shuts a machine down as a verb's own business, and remembers that it is over.
//!
//! Enters: a machine, under its lock. Leaves: one that does not run, its disk kept.

use crate::failure::Result;
use crate::lima::{Instance, Status};
use crate::plan::Site;
use crate::record::{Filled, Journal, MachineRecord};

/// Shuts it down; `held` keeps `connect` from starting it again. The caller holds the project's lock.
///
/// # Errors
/// When it does not end, or that cannot be noted.
pub fn shut_down(site: &Site, record: &mut MachineRecord, found: Option<Instance>, held: bool) -> Result<()> {
    if let Some(instance) = found.filter(|instance| instance.status != Status::Stopped) {
        site.road(record).close(site.runner);
        site.driver().stop(&instance, record.answered)?;
    }
    // They were in its memory only.
    Filled::forget(site.layout, &record.name)?;
    // What it was ready for stays written down: it names a boot that is over, and tells the next one what is new.
    record.held = held;
    record.save(site.layout)?;
    // Whatever was cut off in it is over; `up` looks at what there is.
    if Journal::left_behind(site.layout, &record.name)?.is_some_and(|journal| journal.phase != "create") {
        Journal::close(site.layout, &record.name)?;
    }
    Ok(())
}
