//! What has to be done to bring a machine from what it is to what the configuration says: a pure function.
//!
//! Enters: a `Goal` and an `Observed`. Leaves: a `Plan`, which is printed (`--dry-run`) or executed.
//! No clock, no disk, no process here; those are next door in `execute`.

mod adopt;
mod bake;
mod create;
mod difference;
mod execute;
mod goal;
mod idle;
mod names;
mod observe;
mod ports;
mod provision;
mod report;
mod repositories;
mod rest;
mod room;
mod secrets;
mod show;
mod site;
mod warm;

use std::fmt;

pub use adopt::rebuild;
pub use bake::{prepare_box, remove_machine};
pub use difference::{Difference, Needs, differences};
pub use execute::{Hooks, Outcome, execute};
pub use goal::{BoxUse, Goal};
pub use idle::{Idleness, Look, next_look};
pub use names::look_up;
pub use observe::random_hex;
pub use ports::Holder;
pub use report::Reporter;
pub use secrets::{check_secrets, clear_secrets, fill_secrets, secret_status};
pub use show::{show, show_box, show_rebuild};
pub use site::{Connection, Site, write_ssh_hosts};

use crate::lima::Status;

/// Asks a yes-or-no question with its default answer; `None` when nobody can answer.
pub type Confirm<'a> = dyn Fn(&str, bool) -> Option<bool> + 'a;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No instance.
    Absent,
    /// An instance whose creation was cut off: it was never started.
    HalfMade,
    /// Stopped.
    Stopped,
    /// Stopped, and its memory is on the disk.
    Asleep,
    /// Running; whether it answers is another question.
    Running,
    /// Lima cannot make sense of it.
    Broken,
}

/// What a machine is for, and what a new one starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A project's, from the image: `--no-cache`.
    FromImage,
    /// A project's, from the box of its stack.
    FromBox,
    /// It becomes a box, from the image.
    BakeFromImage,
    /// It becomes a box, from the box of a part of its stack.
    BakeFromBox,
}

/// How a machine stands with its project's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsState {
    /// It is to have none, and has none.
    None,
    /// It has them.
    There,
    /// It is to be filled, or cleared.
    Due,
}

/// What was looked up about a machine, by one `limactl`; ssh is only asked about secrets, over a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What it is for.
    pub purpose: Purpose,
    /// The instance.
    pub presence: Presence,
    /// Whether this very boot was brought to this very goal before.
    pub is_ready: bool,
    /// Whether the instance's lima.yaml is the one that would be rendered now; in a running one, but for its ports.
    pub yaml_is_current: bool,
    /// Its project's secrets.
    pub secrets: SecretsState,
    /// Its declared ports.
    pub ports: Ports,
}

/// What there is of a machine's declared ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// None are declared, and none lead into the guest.
    None,
    /// All lead into the guest.
    Settled,
    /// Some are to be opened or closed.
    Unsettled,
}

impl Presence {
    /// Reads Lima's status.
    pub const fn of(status: Status) -> Self {
        match status {
            Status::Stopped => Self::Stopped,
            Status::Running => Self::Running,
            Status::Broken | Status::Other => Self::Broken,
        }
    }
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Remove what a cut-off creation left.
    Discard,
    /// Have the disk image as a verified file.
    Image,
    /// Have the box of the stack, or of a part of it: cached, or built in a machine of its own.
    Box,
    /// Create the instance.
    Create,
    /// End the processes of an instance Lima calls broken.
    Repair,
    /// Write the new size into a stopped instance's lima.yaml.
    Resize,
    /// Start it and wait for its sshd.
    Start,
    /// Give it its memory back; one that does not fit any more is a cold start.
    Wake,
    /// Connect to one that runs already.
    Connect,
    /// Run the steps whose stamps are missing.
    Provision,
    /// Take out of a machine that becomes a box all that is its own.
    Seal,
    /// Stop it, and make its disk the box.
    Capture,
    /// Put the project's secrets into the guest, which setups may need.
    Secrets,
    /// Clone what is not there, and set it up.
    Repositories,
    /// Write the `Host` block.
    SshHost,
    /// Have each declared port lead into the guest.
    Ports,
    /// Say that a new size waits for the next start.
    TellResize,
}

/// Things to do, in order; empty when the machine is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(pub Vec<Step>);

/// Works out what to do.
pub fn plan(observed: Observed) -> Plan {
    use Step::{
        Capture, Connect, Create, Discard, Image, Ports as OpenPorts, Provision, Repair, Repositories,
        Resize, Seal, Secrets, SshHost, Start, TellResize, Wake,
    };
    let source = match observed.purpose {
        Purpose::FromImage | Purpose::BakeFromImage => Image,
        Purpose::FromBox | Purpose::BakeFromBox => Step::Box,
    };
    let bakes = matches!(observed.purpose, Purpose::BakeFromImage | Purpose::BakeFromBox);
    if observed.is_ready && observed.presence == Presence::Running && !bakes {
        let secrets = (observed.secrets == SecretsState::Due).then_some(Secrets);
        let ports = (observed.ports == Ports::Unsettled).then_some(OpenPorts);
        return Plan(secrets.into_iter().chain(ports).collect());
    }
    let mut steps = match observed.presence {
        Presence::Absent => vec![source, Create, Start],
        Presence::HalfMade => vec![Discard, source, Create, Start],
        Presence::Stopped if observed.yaml_is_current => vec![Start],
        Presence::Stopped => vec![Resize, Start],
        Presence::Broken if observed.yaml_is_current => vec![Repair, Start],
        Presence::Broken => vec![Repair, Resize, Start],
        Presence::Asleep => vec![Wake],
        Presence::Running => vec![Connect],
    };
    if bakes {
        steps.extend([Provision, Seal, Capture]);
        return Plan(steps);
    }
    steps.push(Provision);
    if observed.secrets != SecretsState::None {
        steps.push(Secrets);
    }
    steps.extend([Repositories, SshHost]);
    if observed.ports != Ports::None {
        steps.push(OpenPorts);
    }
    // A memory fits the size it was made with.
    let waits = matches!(observed.presence, Presence::Running | Presence::Asleep);
    if waits && !observed.yaml_is_current {
        steps.push(TellResize);
    }
    Plan(steps)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discard => "discard",
            Self::Image => "image",
            Self::Box => "box",
            Self::Create => "create",
            Self::Repair => "repair",
            Self::Resize | Self::TellResize => "resize",
            Self::Start | Self::Connect => "boot",
            Self::Wake => "wake",
            Self::Provision => "provision",
            Self::Seal => "seal",
            Self::Capture => "capture",
            Self::Secrets => "secrets",
            Self::Repositories => "repos",
            Self::SshHost => "ssh",
            Self::Ports => "ports",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(presence: Presence, is_ready: bool, yaml_is_current: bool) -> String {
        with_secrets(presence, is_ready, yaml_is_current, SecretsState::None)
    }

    fn with_secrets(
        presence: Presence,
        is_ready: bool,
        yaml_is_current: bool,
        secrets: SecretsState,
    ) -> String {
        let (purpose, ports) = (Purpose::FromBox, Ports::None);
        shown(Observed { purpose, presence, is_ready, yaml_is_current, secrets, ports })
    }

    fn shown(observed: Observed) -> String {
        let Plan(steps) = plan(observed);
        steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_state_has_its_road() {
        assert_eq!(names(Presence::Absent, false, false), "box create boot provision repos ssh");
        assert_eq!(names(Presence::HalfMade, false, false), "discard box create boot provision repos ssh");
        assert_eq!(names(Presence::Stopped, false, true), "boot provision repos ssh");
        assert_eq!(names(Presence::Stopped, true, false), "resize boot provision repos ssh");
        assert_eq!(names(Presence::Broken, false, true), "repair boot provision repos ssh");
        assert_eq!(names(Presence::Running, false, true), "boot provision repos ssh");
        assert_eq!(names(Presence::Running, false, false), "boot provision repos ssh resize");
        assert_eq!(names(Presence::Running, true, true), "");
        assert_eq!(names(Presence::Asleep, true, true), "wake provision repos ssh");
        assert_eq!(names(Presence::Asleep, false, false), "wake provision repos ssh resize");
    }

    #[test]
    fn secrets_are_there_before_repositories_are_set_up() {
        use SecretsState::{Due, There};
        assert_eq!(
            with_secrets(Presence::Absent, false, false, Due),
            "box create boot provision secrets repos ssh"
        );
        assert_eq!(with_secrets(Presence::Stopped, true, true, Due), "boot provision secrets repos ssh");
        assert_eq!(with_secrets(Presence::Running, false, true, There), "boot provision secrets repos ssh");
        assert_eq!(with_secrets(Presence::Running, true, true, There), "");
        assert_eq!(with_secrets(Presence::Running, true, true, Due), "secrets");
    }

    #[test]
    fn a_box_is_built_from_what_there_is_of_it() {
        let secrets = SecretsState::None;
        let ports = Ports::None;
        let bake = |purpose, presence| {
            shown(Observed { purpose, presence, is_ready: true, yaml_is_current: true, secrets, ports })
        };
        let (image, part) = (Purpose::BakeFromImage, Purpose::BakeFromBox);
        assert_eq!(bake(image, Presence::Absent), "image create boot provision seal capture");
        assert_eq!(bake(part, Presence::Absent), "box create boot provision seal capture");
        assert_eq!(bake(part, Presence::HalfMade), "discard box create boot provision seal capture");
        assert_eq!(bake(part, Presence::Stopped), "boot provision seal capture");
        assert_eq!(bake(part, Presence::Running), "boot provision seal capture");
        let no_cache = Observed {
            purpose: Purpose::FromImage,
            presence: Presence::Absent,
            is_ready: false,
            yaml_is_current: false,
            ports: Ports::None,
            secrets,
        };
        assert_eq!(shown(no_cache), "image create boot provision repos ssh");
    }

    #[test]
    fn ports_are_looked_after_at_the_end_and_alone_when_only_they_are_missing() {
        let with = |presence, is_ready, ports| {
            let (purpose, secrets) = (Purpose::FromBox, SecretsState::None);
            shown(Observed { purpose, presence, is_ready, yaml_is_current: true, secrets, ports })
        };
        let (stopped, running) = (Presence::Stopped, Presence::Running);
        assert_eq!(with(stopped, true, Ports::Unsettled), "boot provision repos ssh ports");
        assert_eq!(with(running, false, Ports::Settled), "boot provision repos ssh ports");
        assert_eq!(with(running, true, Ports::Unsettled), "ports");
        assert_eq!(with(running, true, Ports::Settled), "");
    }

    #[test]
    fn a_ready_record_of_an_earlier_boot_counts_for_nothing() {
        assert_eq!(names(Presence::Stopped, true, true), "boot provision repos ssh");
    }
}
