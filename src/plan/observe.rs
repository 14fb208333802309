//! Looks up what there is of a machine before anything is done to it.
//!
//! Enters: a goal, a site. Leaves: its record, old or new, and an `Observed`. Changes nothing; refuses what is not ours.

use super::execute::Work;
use super::secrets::{check_secrets, has_secrets};
use super::{Confirm, Goal, Observed, Ports, Presence, SecretsState, Site, Step, adopt, bake};
use crate::failure::{Failure, Result};
use crate::guest::Observation;
use crate::lima::{Image, Status};
use crate::model::hex;
use crate::record::{Filled, Journal, MachineRecord};

/// Looks the machine up: its record and one `limactl list`.
pub(super) fn observe<'a>(site: &'a Site<'a>, goal: Goal, confirm: &Confirm) -> Result<(Work<'a>, Observed)> {
    let name = goal.name.as_str();
    let driver = site.driver();
    driver.check_version(site.accept_unknown_lima)?;
    let instance = driver.find(name)?;
    let half_made = is_half_made(site, name)?;
    let loaded = MachineRecord::load(site.layout, name);
    let there = instance.is_some() && !half_made;
    if let Ok(Some(record)) = &loaded {
        adopt::check_owner(&goal, record, confirm)?;
    }
    let record = match loaded {
        Ok(Some(record)) if there => Some(record),
        // Lost or damaged: the instance itself knows enough.
        Err(failure) if failure.hints.iter().any(|hint| hint.contains("upgrade")) => return Err(failure),
        Ok(None) | Err(_) if there => {
            adopt::check_lost(&goal, confirm)?;
            let mut record = adopt::rebuild(site, name)?;
            record.belong_to(&goal.config_file, goal.repository.as_ref());
            Some(record)
        }
        Ok(_) | Err(_) => None,
    };
    if let Some(record) = &record {
        refuse_shrinking(&goal, record)?;
    }
    let presence = match (&instance, &record) {
        (None, _) if !half_made => Presence::Absent,
        (Some(instance), Some(_))
            if instance.status == Status::Stopped && Image::of(&instance.folder).read_note().is_some() =>
        {
            Presence::Asleep
        }
        (Some(instance), Some(_)) => Presence::of(instance.status),
        _ => Presence::HalfMade,
    };
    let work = Work {
        site,
        record: record.unwrap_or_else(|| blank(&goal)),
        goal,
        instance,
        image: None,
        held_box: None,
        observation: Observation::default(),
        fresh: false,
    };
    let is_ready = work.is_ready() && presence == Presence::Running;
    let observed = Observed {
        purpose: bake::purpose(&work.goal),
        presence,
        is_ready: work.is_ready(),
        yaml_is_current: work.yaml_is_current(presence)?,
        ports: observe_ports(&work, presence),
        secrets: secrets_state(site, &work, is_ready)?,
    };
    Ok((work, observed))
}

fn observe_ports(work: &Work, presence: Presence) -> Ports {
    let (has, wants) = (&work.record.ports, &work.goal.ports);
    match presence {
        _ if has.is_empty() && wants.is_empty() => Ports::None,
        Presence::Running if work.site.ports_are_settled(&work.record, wants) => Ports::Settled,
        _ => Ports::Unsettled,
    }
}

/// A guest is asked only where everything else is done: what comes before would fill it anyway.
fn secrets_state(site: &Site, work: &Work, is_ready: bool) -> Result<SecretsState> {
    let Some(digest) = &work.goal.secrets else {
        let is_filled = Filled::load(site.layout, work.goal.name.as_str()).is_some();
        return Ok(if is_filled { SecretsState::Due } else { SecretsState::None });
    };
    if !is_ready {
        return Ok(SecretsState::Due);
    }
    let mut record = work.record.clone();
    let is_there = if site.dry_run {
        has_secrets(site, &record, digest)
    } else {
        site.reach(&mut record, false)?;
        check_secrets(site, &record, digest)
    };
    Ok(if is_there { SecretsState::There } else { SecretsState::Due })
}

/// Whether a creation was cut off: our journal names it, and nothing was ever started.
fn is_half_made(site: &Site, name: &str) -> Result<bool> {
    let journal = Journal::left_behind(site.layout, name)?;
    let cut_off = journal.is_some_and(|journal| journal.phase == Step::Create.to_string());
    Ok(cut_off && site.layout.instance(name).exists())
}

fn refuse_shrinking(goal: &Goal, record: &MachineRecord) -> Result<()> {
    if goal.disk.bytes() >= record.disk_bytes {
        return Ok(());
    }
    let present = crate::model::ByteSize::from_bytes(record.disk_bytes);
    let sentence = format!(
        "{}: disk: `{}` would shrink the disk of `{}`, which is {present}",
        goal.config_file.display(),
        goal.disk,
        goal.name
    );
    let again = format!("or make it anew with the smaller one: `machine rebuild {}`", goal.name);
    Err(Failure::usage(sentence)
        .hint(format!("a disk only grows: set `disk = \"{present}\"` or more"))
        .hint(again))
}

fn blank(goal: &Goal) -> MachineRecord {
    let mut record = MachineRecord {
        uuid: random_hex(),
        disk_bytes: goal.disk.bytes(),
        isolation: goal.isolation,
        forward_agent: goal.forward_agent,
        folder: goal.folder(),
        git_hosts: goal.git_hosts.clone(),
        addresses: goal.addresses.clone(),
        signing_key: goal.signing_key.clone(),
        openings: goal.openings.clone(),
        ..MachineRecord::blank(goal.name.as_str())
    };
    record.belong_to(&goal.config_file, goal.repository.as_ref());
    record
}

/// 32 hexadecimal digits that nobody can guess.
pub fn random_hex() -> String {
    let mut bytes = [0u8; 16];
    let source = std::fs::File::open("/dev/urandom");
    // Without randomness there is a name all the same; it is an identity, not a secret.
    if source.and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes)).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
    }
    hex(&bytes)
}
