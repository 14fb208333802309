//! What a process of the host is allowed to do, as Linux's `/proc` tells it.
//!
//! Enters: a pid. Leaves: its command line, capabilities, filters, and whether its network is the host's own; nothing on
//! systems without `/proc`. Must not know whose process it is.

use std::path::Path;

const PROC: &str = "/proc";

/// What a process is and may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its command line, word by word.
    pub args: Vec<String>,
    /// Its effective user.
    pub uid: u32,
    /// Capabilities that it has or could take (`CapPrm` and `CapEff`), as the kernel's bit mask.
    pub capabilities: u64,
    /// Whether a program that it starts could gain privileges: `NoNewPrivs` is not set.
    pub may_gain: bool,
    /// Whether a filter of system calls is in force.
    pub filtered: bool,
    /// Whether it sees a network of its own instead of the host's; `None` when that cannot be read.
    pub own_network: Option<bool>,
}

/// Looks a process up.
pub fn standing(pid: i32) -> Option<Standing> {
    read_standing(Path::new(PROC), pid)
}

fn read_standing(proc: &Path, pid: i32) -> Option<Standing> {
    let folder = proc.join(pid.to_string());
    let read =
        |name: &str| Some(String::from_utf8_lossy(&std::fs::read(folder.join(name)).ok()?).into_owned());
    let args = read("cmdline")?.split_terminator('\0').map(String::from).collect();
    let network = |whose: &Path| std::fs::read_link(whose.join("ns/net")).ok();
    let own_network = network(&folder).zip(network(&proc.join("self"))).map(|(its, ours)| its != ours);
    Some(Standing { args, own_network, ..parse_status(&read("status")?)? })
}

/// Reads the lines of `/proc/PID/status` that say what a process may do (proc(5)).
fn parse_status(status: &str) -> Option<Standing> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().collect::<Vec<_>>())
    };
    let mask = |name: &str| u64::from_str_radix(field(name)?.first()?, 16).ok();
    Some(Standing {
        // Real, effective, saved, and that of the filesystem.
        uid: field("Uid")?.get(1)?.parse().ok()?,
        capabilities: mask("CapPrm")? | mask("CapEff")?,
        may_gain: *field("NoNewPrivs")?.first()? != "1",
        filtered: *field("Seccomp")?.first()? != "0",
        ..Standing::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::write_atomic;
    use std::os::unix::fs::symlink;

    const STATUS: &str = "Name:\tqemu\nUid:\t1000\t1001\t1000\t1000\nCapInh:\tf\nCapPrm:\t0000000000000001\n\
        CapEff:\t0000000000001000\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn proc_tells_what_a_process_may_do() {
        let proc = tempfile::tempdir().expect("a folder");
        let network = |of: &str, number: &str| {
            let folder = proc.path().join(of).join("ns");
            std::fs::create_dir_all(&folder).expect("a process");
            symlink(format!("net:[{number}]"), folder.join("net")).expect("a namespace");
        };
        network("7", "2");
        assert_eq!(read_standing(proc.path(), 7), None, "a process that is ending has no command line");
        let write = |name: &str, text: &str| {
            write_atomic(&proc.path().join("7").join(name), text.as_bytes(), 0o600).expect("written");
        };
        write("cmdline", "qemu\0-m\x00512\0");
        write("status", STATUS);
        let found = read_standing(proc.path(), 7).expect("a process");
        assert_eq!(found.args, ["qemu", "-m", "512"]);
        assert_eq!((found.uid, found.capabilities), (1001, 0x1001));
        assert!(found.may_gain && found.filtered);
        assert_eq!(found.own_network, None, "nothing to compare it with");
        network("self", "1");
        assert_eq!(read_standing(proc.path(), 7).expect("a process").own_network, Some(true));
    }

    #[test]
    fn half_a_status_says_nothing() {
        assert_eq!(
            parse_status("Uid:\t1\t1\t1\t1\nCapPrm:\tx\nCapEff:\t0\nNoNewPrivs:\t1\nSeccomp:\t0\n"),
            None
        );
        assert_eq!(parse_status(""), None);
    }
}
