//! How much memory of the host processes take, as Linux's `/proc` and macOS's `ps` and `lsof` tell it.
//!
//! Enters: pids, or the start of a program's name. Leaves: bytes, command lines, open files. Must not know whose they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Cmd, Runner};

const PROC: &str = "/proc";
/// Looking takes milliseconds; a table is not worth waiting for longer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// A process and the memory it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its command line, by which a caller knows whether it is the one that was meant.
    pub command: String,
    /// What of its memory is in the computer's, in bytes.
    pub bytes: u64,
}

/// Looks one process up in `/proc`, without starting a program; `None` when there is none.
pub fn resident_in_proc(pid: i32) -> Option<Resident> {
    read_proc(Path::new(PROC), pid)
}

fn read_proc(proc: &Path, pid: i32) -> Option<Resident> {
    let read = |name: &str| std::fs::read(proc.join(pid.to_string()).join(name)).ok();
    let command = String::from_utf8_lossy(&read("cmdline")?).trim_end_matches('\0').replace('\0', " ");
    let bytes = parse_status(&String::from_utf8_lossy(&read("status")?))?;
    Some(Resident { command, bytes })
}

/// The processor time a process has taken, in hundredths of a second; `None` when there is no such process.
pub fn processor_time_in_proc(pid: i32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(Path::new(PROC).join(pid.to_string()).join("stat")).ok()?)
}

/// Adds the fields 14 and 15, `utime` and `stime`, of proc(5); the second one is a name with anything in it.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    fields.next()?.parse::<u64>().ok()?.checked_add(fields.next()?.parse().ok()?)
}

/// Reads `VmRSS:    397312 kB`; a process that has ended but that nobody has fetched yet has no such line.
fn parse_status(status: &str) -> Option<u64> {
    let words = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    words.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Asks `ps` once what memory these processes take, in bytes.
pub fn resident_by_ps(pids: &[i32], runner: &Runner) -> BTreeMap<i32, u64> {
    let listed = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let ps = Cmd::new("ps").env("LC_ALL", "C").args(["-o", "pid=", "-o", "rss=", "-p"]).arg(listed);
    // Its status is 1 when one of them is gone.
    let output = if pids.is_empty() { None } else { runner.read_any_status(&ps.time_limit(TIME_LIMIT)).ok() };
    output.map(|finished| parse_ps(&finished.text())).unwrap_or_default()
}

/// Reads lines of `  4711 397312`: a pid and kibibytes.
fn parse_ps(output: &str) -> BTreeMap<i32, u64> {
    let line = |line: &str| {
        let (pid, kibibytes) = line.trim().split_once(' ')?;
        Some((pid.parse().ok()?, kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)?))
    };
    output.lines().filter_map(line).collect()
}

/// Asks `lsof` once which files the processes have open whose program's name begins with `program`.
pub fn open_files(program: &str, runner: &Runner) -> Vec<(i32, PathBuf)> {
    // -a: both conditions; -n -P -w: no names of addresses and ports, no warnings; -F pn: pid and name, a line each.
    let lsof = Cmd::new("lsof").args(["-n", "-P", "-w", "-a", "-c", program, "-F", "pn"]);
    // Its status is 1 when nothing is found.
    let output = runner.read_any_status(&lsof.time_limit(TIME_LIMIT)).ok();
    output.map(|finished| parse_lsof(&finished.text())).unwrap_or_default()
}

/// Reads `p4711`, and below it a line `n/path/of/file` for each file; `f` lines, which number them, are passed over.
fn parse_lsof(output: &str) -> Vec<(i32, PathBuf)> {
    let mut owner = None;
    let mut found = Vec::new();
    for line in output.lines() {
        if let Some(pid) = line.strip_prefix('p') {
            owner = pid.parse().ok();
        } else if let (Some(pid), Some(name)) = (owner, line.strip_prefix("n/")) {
            found.push((pid, Path::new("/").join(name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::write_atomic;
    use crate::process::Interrupt;

    #[test]
    fn proc_tells_the_command_and_the_memory() {
        let proc = tempfile::tempdir().expect("a folder");
        let folder = proc.path().join("7");
        std::fs::create_dir(&folder).expect("a process");
        let write = |name: &str, text: &str| {
            write_atomic(&folder.join(name), text.as_bytes(), 0o600).expect("written");
        };
        assert_eq!(read_proc(proc.path(), 7), None);
        write("cmdline", "qemu\0-m\x004096\0");
        write("status", "Name:\tqemu\nVmHWM:\t 9 kB\nVmRSS:\t  397312 kB\n");
        let found = read_proc(proc.path(), 7);
        assert_eq!(found, Some(Resident { command: "qemu -m 4096".into(), bytes: 397_312 * 1024 }));
        write("status", "Name:\tqemu\nState:\tZ (zombie)\n");
        assert_eq!(read_proc(proc.path(), 7), None);
        assert_eq!(parse_stat("7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 40 2 0 0 20"), Some(42));
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_status("VmRSS:\t99999999999999999999 kB\n"), None);
    }

    #[test]
    fn ps_and_lsof_are_read_line_by_line() {
        assert_eq!(parse_ps("  4711 397312\n    8     0\nstray\n"), [(4711, 397_312 * 1024), (8, 0)].into());
        let output =
            "p4711\nfcwd\nn/\nf12\nn/Users/u/lima/blog/disk\np8\nf3\nnsocket\nf4\nn/d/lima/a b/disk\n";
        let expected = [(4711, "/"), (4711, "/Users/u/lima/blog/disk"), (8, "/d/lima/a b/disk")];
        assert_eq!(parse_lsof(output), expected.map(|(pid, path)| (pid, PathBuf::from(path))));
        assert_eq!(parse_lsof("n/no/owner\npx\nn/y\n"), []);
    }

    #[test]
    fn the_systems_own_ps_understands_the_question() {
        let runner = Runner::new(vec![("PATH".into(), "/usr/bin:/bin".into())], Interrupt::default(), None);
        let own = i32::try_from(std::process::id()).expect("a pid");
        let found = resident_by_ps(&[own], &runner);
        assert!(found.get(&own).is_some_and(|bytes| *bytes > 1 << 20), "{found:?}");
        assert!(resident_by_ps(&[], &runner).is_empty());
    }
}
