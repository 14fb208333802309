//! What goes wrong while a machine falls asleep or wakes, beyond `sleep`: a disk that is really full, a wake that is killed
//! after the guest's first step, a QEMU that dies in the middle of it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::first_up::BARE;
use crate::folders::give_away;
use crate::sleeper::{INSTANCE, Sleeper};
use crate::world::{World, skip};

#[test]
fn a_wake_that_is_killed_after_the_first_step_goes_on_as_well() {
    let sleeper = Sleeper::asleep();
    sleeper.0.knob("pause-step", "");
    let wake = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]));
    sleeper.0.wait_for("pause-step");
    wake.kill();
    wake.wait();
    sleeper.0.release("pause-step");
    assert!(sleeper.file("memory.used").exists() && !sleeper.file("memory.image").exists());
    sleeper.must(&["run", "hello", "--", "true"]);
    assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "running".into()));
    sleeper.must(&["up", "hello"]);
    assert_eq!(sleeper.state(), "ready");
}

#[test]
fn a_qemu_that_dies_while_it_wakes_boots_cold() {
    for phase in ["pause-incoming", "pause-paused"] {
        let sleeper = Sleeper::asleep();
        sleeper.0.knob(phase, "");
        let wake = sleeper.0.start(&mut sleeper.command(&["run", "hello", "--", "true"]));
        sleeper.0.wait_for(phase);
        sleeper.0.kill(&format!("{INSTANCE}/qemu.pid"));
        sleeper.0.release(phase);
        let outcome = wake.wait();
        assert_eq!(outcome.code, 0, "{phase}: {outcome}");
        assert!(outcome.stderr.contains("`hello` boots cold: QEMU d"), "{phase}: {outcome}");
        assert_eq!(sleeper.remains(), Vec::<String>::new(), "{phase}");
    }
}

/// Folders on a small file system of their own, for as long as this lives; `None` where none can be made.
struct Small(PathBuf);

impl Small {
    fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"]).arg(&folder);
        let done = mount.stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Processes of the world that is dropped next may still have files in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_really_full_leaves_a_machine_that_runs() {
    let world = World::new();
    let lima = world.home(".local/share/machine/lima");
    world.make_folder(&lima);
    let Some(_small) = Small::mount(lima.clone(), "2m") else {
        skip("no file system can be mounted here");
        return;
    };
    give_away(&lima);
    let sleeper = Sleeper::of(world, BARE);
    let outcome = sleeper.run(&["sleep", "hello"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("`hello` did not fall asleep, and goes on running"), "{outcome}");
    assert!(
        outcome.stderr.contains("No space left on device (os error 28) (1 MiB written, 0 MiB free)"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("hint: make room there, or use `machine down`"), "{outcome}");
    assert_eq!((sleeper.remains(), sleeper.state()), (Vec::new(), "ready".into()));
    sleeper.must(&["run", "hello", "--", "true"]);
}
