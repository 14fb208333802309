//! KVM or software emulation: decided before a boot, from what the host offers and what was learnt before.
//!
//! Enters: the setting, the state of `/dev/kvm`, a remembered verdict. Leaves: an engine, or what to fix.

use std::fs::OpenOptions;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// What runs the guest's processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The kernel's hardware virtualisation.
    Kvm,
    /// Software emulation: 5 to 20 times slower.
    Tcg,
}

/// What `/dev/kvm` is like for this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvmNode {
    /// It can be opened.
    Usable,
    /// It is there, but not for us.
    Denied,
    /// It is not there, or answers with an error.
    Absent,
}

/// The `accelerator` setting of config.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// KVM where it works.
    Auto,
    /// KVM or an error.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// A boot under KVM that printed nothing, remembered for as long as QEMU, kernel and boot are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// QEMU, kernel and boot id of the failed attempt.
    pub circumstances: String,
}

/// Looks at `/dev/kvm` by opening it.
pub fn kvm_node() -> KvmNode {
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => KvmNode::Usable,
        Err(cause) if cause.kind() == ErrorKind::PermissionDenied => KvmNode::Denied,
        Err(_) => KvmNode::Absent,
    }
}

/// Chooses the engine, with the sentence to say once when it is not the fast one.
pub fn choose(choice: Choice, node: KvmNode, known_to_hang: bool) -> Result<(Engine, Option<&'static str>)> {
    let group = "join its group: `sudo usermod -aG kvm $USER`, then log in again";
    match (choice, node) {
        (Choice::Tcg, _) => Ok((Engine::Tcg, None)),
        (_, KvmNode::Denied) => Err(Failure::operation("`/dev/kvm` is there, but this user may not open it")
            .hint(group)
            .hint("to do without, set `accelerator = \"tcg\"` in config.toml: software emulation, many times slower")),
        (Choice::Kvm, KvmNode::Absent) => {
            Err(Failure::operation("config.toml says `accelerator = \"kvm\"`, but this host has no usable `/dev/kvm`")
                .hint("set `accelerator = \"auto\"`, or turn virtualisation on in the firmware"))
        }
        (Choice::Auto, KvmNode::Absent) => {
            Ok((Engine::Tcg, Some("no hardware virtualisation here (`/dev/kvm`): software emulation, many times slower")))
        }
        (Choice::Auto, KvmNode::Usable) if known_to_hang => {
            Ok((Engine::Tcg, Some("KVM did not boot on this host before: software emulation, many times slower")))
        }
        (Choice::Auto | Choice::Kvm, KvmNode::Usable) => Ok((Engine::Kvm, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination() {
        let engine = |choice, node, hangs| choose(choice, node, hangs).map(|(engine, _)| engine).ok();
        assert_eq!(engine(Choice::Auto, KvmNode::Usable, false), Some(Engine::Kvm));
        assert_eq!(engine(Choice::Auto, KvmNode::Usable, true), Some(Engine::Tcg));
        assert_eq!(engine(Choice::Auto, KvmNode::Absent, false), Some(Engine::Tcg));
        assert_eq!(engine(Choice::Auto, KvmNode::Denied, false), None);
        assert_eq!(engine(Choice::Kvm, KvmNode::Usable, true), Some(Engine::Kvm));
        assert_eq!(engine(Choice::Kvm, KvmNode::Absent, false), None);
        assert_eq!(engine(Choice::Kvm, KvmNode::Denied, false), None);
        for node in [KvmNode::Usable, KvmNode::Absent, KvmNode::Denied] {
            assert_eq!(engine(Choice::Tcg, node, false), Some(Engine::Tcg));
        }
    }

    #[test]
    fn a_denied_node_names_the_group() {
        let failure = choose(Choice::Auto, KvmNode::Denied, false).expect_err("denied");
        assert!(failure.hints[0].contains("usermod -aG kvm"));
    }
}
