//! The guest's `reclaim`, among files that play its `/proc` and `/sys`: when it drops caches and when it leaves them.
//!
//! Enters: what a guest did in each minute. Leaves: whether caches were dropped. What that wins is the guest suite's.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::folders::put;

/// Work since the boot, and memory in KiB.
#[derive(Clone, Copy)]
struct Guest {
    uptime: u64,
    ticks: u64,
    sectors: u64,
    bytes: u64,
    cached: u64,
    /// Free blocks of 4 KiB.
    small_blocks: u64,
}

/// What a busy guest does in a minute.
type Work = fn(&mut Guest);

const AT_REST: Guest =
    Guest { uptime: 1000, ticks: 5000, sectors: 9000, bytes: 70_000, cached: 500_000, small_blocks: 100 };

/// A folder that plays the guest's files.
struct Files(TempDir);

impl Files {
    /// A guest with one disk, one network card and a balloon whose sixth feature, reporting, is as given.
    fn new(features: &str) -> Self {
        let files = Self(tempfile::tempdir().expect("a folder"));
        files.write("sys/bus/virtio/drivers/virtio_balloon/virtio3/features", features);
        files.write("sys/class/net/lo/statistics/rx_bytes", "999999999");
        files.write("sys/class/net/eth0/statistics/tx_bytes", "0");
        fs::create_dir(files.0.path().join("run")).expect("a folder");
        files
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.0.path().join(below);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        put(&path, format!("{text}\n").as_bytes());
    }

    /// One look. Whether caches were dropped and memory was compacted; never one without the other.
    fn look(&self, guest: Guest) -> bool {
        let Guest { uptime, ticks, sectors, bytes, cached, small_blocks } = guest;
        self.write("proc/uptime", &format!("{uptime}.25 12.00"));
        self.write("proc/stat", &format!("cpu  {ticks} 0 0 123456 999 0 0 0 0 0\ncpu0 1 2 3"));
        self.write(
            "sys/block/vda/stat",
            &format!("  1  0  {}  0  9  0  {}  0 0 0 0", sectors / 2, sectors.div_ceil(2)),
        );
        self.write("sys/class/net/eth0/statistics/rx_bytes", &bytes.to_string());
        let rest = "SwapCached: 0 kB\nDirty: 0 kB\nMapped: 40000 kB\nShmem: 5000 kB\nSUnreclaim: 1 kB";
        self.write("proc/meminfo", &format!("MemTotal: 4000000 kB\nCached: {} kB\n{rest}", cached + 45_000));
        self.write("proc/buddyinfo", &format!("Node 0, zone Normal {small_blocks} 0 0 0 0 0 0 0 0 7 446"));
        self.write("proc/sys/vm/drop_caches", "0");
        self.write("proc/sys/vm/compact_memory", "0");
        self.run();
        let [dropped, compacted] = ["drop_caches", "compact_memory"].map(|name| {
            fs::read_to_string(self.0.path().join("proc/sys/vm").join(name)).expect("a file").trim() != "0"
        });
        assert_eq!(dropped, compacted);
        dropped
    }

    fn run(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/guest/reclaim.sh");
        let mut script = fs::read_to_string(path).expect("the script");
        let root = self.0.path().display();
        // Only where a path begins, which is not within another.
        for (before, folder) in [("<", "proc"), (">", "proc"), (" ", "sys"), ("=", "run")] {
            script = script.replace(&format!("{before}/{folder}/"), &format!("{before}{root}/{folder}/"));
        }
        let script = script.replace("exec systemctl", "exec echo systemctl");
        let output = Command::new("sh").arg("-c").arg(script).output().expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        put(&self.0.path().join("said"), said.as_bytes());
    }
}

/// The state a minute later.
fn after_a_minute(guest: Guest) -> Guest {
    Guest { uptime: guest.uptime + 60, ticks: guest.ticks + 100, bytes: guest.bytes + 1000, ..guest }
}

/// A guest that was seen once.
fn seen() -> (Files, Guest) {
    let files = Files::new("001001000000");
    assert!(!files.look(Guest { ticks: 900_000, ..AT_REST }));
    (files, Guest { ticks: 900_000, ..AT_REST })
}

#[test]
fn after_two_quiet_minutes_caches_are_dropped_once() {
    let (files, guest) = seen();
    let guest = after_a_minute(guest);
    assert!(!files.look(guest), "the first quiet minute");
    let guest = after_a_minute(guest);
    assert!(files.look(guest), "the second");
    // What could not be dropped is no reason to try again, less of it neither, until more has come together.
    let mut guest = guest;
    for (cached, expected) in
        [(500_000, false), (530_000, false), (533_000, true), (300_000, false), (333_000, true)]
    {
        guest = after_a_minute(Guest { cached, ..guest });
        assert_eq!(files.look(guest), expected, "{cached}");
    }
}

#[test]
fn memory_that_is_free_in_small_pieces_counts_as_well() {
    let (files, guest) = seen();
    let guest = after_a_minute(Guest { cached: 0, small_blocks: 8000, ..guest });
    assert!(!files.look(guest));
    let guest = after_a_minute(guest);
    assert!(!files.look(guest), "31 MiB");
    assert!(files.look(after_a_minute(Guest { small_blocks: 8192, ..guest })), "32 MiB");
}

#[test]
fn a_busy_guest_keeps_its_caches() {
    let busy: [(&str, Work); 3] = [
        ("processor", |guest| guest.ticks += 1101),
        ("disk", |guest| guest.sectors += 60 * 64 + 1),
        ("network", |guest| guest.bytes += 60 * 4096 + 1),
    ];
    for (what, work) in busy {
        let (files, mut guest) = seen();
        for minute in 0..5 {
            guest = after_a_minute(guest);
            work(&mut guest);
            assert!(!files.look(guest), "{what}, minute {minute}");
        }
        guest = after_a_minute(guest);
        assert!(!files.look(guest), "{what}: one quiet minute");
        assert!(files.look(after_a_minute(guest)), "{what}: two");
    }
}

#[test]
fn without_the_hosts_help_the_timer_is_stopped() {
    for features in ["000000000000", "11111", ""] {
        let files = Files::new(features);
        assert!(!files.look(AT_REST), "{features}");
        let said = fs::read_to_string(files.0.path().join("said")).expect("what it said");
        assert_eq!(said, "systemctl --no-block stop machine-reclaim.timer\n", "{features}");
    }
}
