//! A home folder of its own for each test, with scripted programs first on PATH.
//!
//! Enters: files, knobs that make things go wrong, command lines. Leaves: outcomes, and what was effected in order.
//! The program refuses root, so tests that run as root start it as somebody else.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::folders::{UNPRIVILEGED, find_pids, give_away, is_root, lend, list, put};
use crate::mask::Mask;
use crate::outcome::{Outcome, code_of};

/// What is said when a port was taken.
const MOVED: &str = "port PORT is taken by another program";
/// Longer than anything here takes, also on a busy computer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The scripted programs, by the name that finds them and the file they are.
const PROGRAMS: [(&str, &str); 18] = [
    ("limactl", "limactl"),
    ("lima-yaml.pl", "lima-yaml.pl"),
    ("guest-port.pl", "guest-port.pl"),
    ("ssh", "ssh"),
    ("ssh-master.pl", "ssh-master.pl"),
    ("forward.pl", "forward.pl"),
    ("guest-session.pl", "guest-session.pl"),
    ("guest/git", "guest/git"),
    ("git", "git"),
    ("curl", "curl"),
    ("op", "source"),
    ("pass", "source"),
    ("secret-tool", "source"),
    ("ssh-keygen", "ssh-keygen"),
    ("qemu-system-ARCH", "qemu"),
    ("qemu-img", "qemu"),
    ("qmp.py", "qmp.py"),
    ("ss", "ss"),
];

/// A computer with its user.
pub struct World {
    root: TempDir,
    home: PathBuf,
    mask: Mask,
    alone: bool,
    port_moved: Cell<bool>,
    _ports: File,
}

/// A program that runs while the test does something else.
pub struct Running<'w> {
    world: &'w World,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// Says why a test does nothing on this computer.
#[expect(clippy::print_stderr, reason = "the harness shows it beside the test's name")]
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// Waits until `done`.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}

impl World {
    /// A computer where everything is installed and nothing configured but what makes a test independent of its host.
    pub fn new() -> Self {
        Self::with_home("home", false)
    }

    /// As [`Self::new`], with no other test at work: for tests that really listen on ports.
    pub fn alone() -> Self {
        Self::with_home("home", true)
    }

    /// As [`Self::new`], with a home folder of this name.
    pub fn with_home(home: &str, alone: bool) -> Self {
        // Below /tmp, since a socket's path is short on every system; TMPDIR is not on macOS.
        let root = tempfile::Builder::new().prefix("m.").tempdir_in("/tmp").expect("a folder");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let home = root.path().join(home);
        let mask = Mask::new(&[(&home, "~"), (&root.path().join("bin"), "<bin>"), (root.path(), "<world>")]);
        let world = Self { root, home, mask, alone, port_moved: Cell::new(false), _ports: lock_ports(alone) };
        world.make_folder(&world.home.clone());
        for folder in ["play/knobs", "play/guests", "bin/guest"] {
            world.make_folder(&world.path(folder));
        }
        world.install();
        world
    }

    fn install(&self) {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/programs");
        for (name, file) in PROGRAMS {
            let to = self.path("bin").join(name.replace("ARCH", std::env::consts::ARCH));
            lend(&programs.join(file), &to);
        }
        lend(Path::new(env!("CARGO_BIN_EXE_machine")), &self.path("bin/machine"));
        put(&self.path("image"), b"an image");
        let image = self.path("image");
        let of = |arch: &str| format!("[images.debian-13.{arch}]\nlocation = \"{}\"\n", image.display());
        let text = format!("accelerator = \"tcg\"\nwarm_boxes = false\n\n{}\n{}", of("amd64"), of("arm64"));
        self.write(".config/machine/config.toml", &text);
        self.log_taken();
    }

    /// A path below the test's folder, which is not the home folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// A path below the home folder.
    pub fn home(&self, below: &str) -> PathBuf {
        self.home.join(below)
    }

    /// Makes a folder with all above it, owned by the user.
    pub fn make_folder(&self, path: &Path) {
        assert!(path.starts_with(self.root.path()), "{}", path.display());
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder).expect("a folder");
            give_away(folder);
        }
    }

    /// Writes a file of the user's below the home folder.
    pub fn write(&self, below: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home(below);
        self.make_folder(path.parent().expect("a folder"));
        put(&path, text.as_ref());
        give_away(&path);
        path
    }

    /// Reads a file below the home folder.
    pub fn read(&self, below: &str) -> String {
        fs::read_to_string(self.home(below)).unwrap_or_else(|cause| panic!("{below}: {cause}"))
    }

    /// Writes projects.toml, with a provision.toml that leaves the long `base` profile out.
    pub fn configure(&self, projects: &str) {
        self.write(".config/machine/projects.toml", projects);
        self.write(".config/machine/provision.toml", "base = false\n");
    }

    /// Makes something go wrong, or stand still.
    pub fn knob(&self, name: &str, text: &str) {
        put(&self.path("play/knobs").join(name), text.as_bytes());
    }

    /// Takes a knob away.
    pub fn release(&self, name: &str) {
        fs::remove_file(self.path("play/knobs").join(name)).expect("a knob");
    }

    /// Waits until a scripted program stands still at a knob.
    pub fn wait_for(&self, knob: &str) {
        wait_until(&format!("{knob} is reached"), || self.path(&format!("play/reached-{knob}")).exists());
    }

    /// The environment of a user who has nothing but a home folder and a PATH.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let folder = self.path("bin");
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        command.current_dir(&self.home).stdin(Stdio::null());
        if is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command
    }

    /// `machine` with these arguments.
    pub fn machine(&self, args: &[&str]) -> Command {
        let mut command = self.command(self.path("bin/machine"));
        command.args(args);
        command
    }

    /// Runs `machine` to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.finish(&mut self.machine(args))
    }

    /// Builds the box of a project's stack, so that what follows is about the machine alone.
    pub fn bake(&self, project: &str) {
        self.must(&["box", "bake", project]);
        self.log_taken();
    }

    /// Runs `machine`, which must succeed.
    pub fn must(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "machine {}\n{outcome}", args.join(" "));
        outcome
    }

    /// Runs a command to its end.
    pub fn finish(&self, command: &mut Command) -> Outcome {
        self.start(command).wait()
    }

    /// Starts a command in a process group of its own, as a shell does.
    pub fn start(&self, command: &mut Command) -> Running<'_> {
        let number = fs::read_dir(self.path("play")).expect("a folder").count();
        let [stdout, stderr] = ["out", "err"].map(|name| self.path(&format!("play/{name}{number}")));
        command.stdout(File::create(&stdout).expect("a file")).stderr(File::create(&stderr).expect("a file"));
        let child = command.process_group(0).spawn().expect("started");
        Running { world: self, child, stdout, stderr }
    }

    /// What the scripted programs noted since the last call, raw.
    pub fn log_taken(&self) -> String {
        let log = self.path("play/log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        put(&log, b"");
        give_away(&log);
        text
    }

    /// What was effected since the last call, in order, one line a program.
    pub fn effects(&self) -> String {
        let effects = self.mask.apply(&crate::effects::describe(&self.log_taken()));
        // Lima is asked once more for a machine whose port has moved.
        if self.port_moved.take() {
            return effects.replacen("limactl list\nlimactl list\n", "limactl list\n", 1);
        }
        effects
    }

    /// Takes out what another test did to this one: for an instant it looked at the same port.
    fn without_moved_port(&self, said: String) -> String {
        if self.alone || !said.contains(MOVED) {
            return said;
        }
        self.port_moved.set(true);
        said.split_inclusive('\n').filter(|line| !line.starts_with(MOVED)).collect()
    }

    /// How often a program was called since the last look.
    pub fn calls(&self) -> Vec<String> {
        self.log_taken().lines().map(|line| line.split(' ').next().unwrap_or_default().to_string()).collect()
    }

    /// Masks a text of this world.
    pub fn mask(&self, text: &str) -> String {
        self.mask.apply(text)
    }

    /// Everything below the home folder: mode, path, size or target.
    pub fn tree(&self) -> String {
        let mut lines = Vec::new();
        list(&self.home, &self.home, &mut lines);
        lines.sort();
        lines.concat()
    }

    fn processes(&self) -> Vec<i32> {
        let mut files = Vec::new();
        find_pids(&self.home, &mut files);
        files.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect()
    }

    /// Kills all that plays a running machine, and waits until its connection is gone.
    pub fn crash(&self, name: &str) {
        for half in ["qemu", "ha"] {
            self.kill(&format!(".local/share/machine/lima/{name}/{half}.pid"));
        }
        wait_until("the connection is gone", || !self.tree().contains("/mux "));
    }

    /// Kills what plays one half of a running machine, as a crash of the host would.
    pub fn kill(&self, below: &str) {
        let pid: i32 = self.read(below).trim().parse().expect("a pid");
        let pid = Pid::from_raw(pid).expect("a pid");
        kill_process(pid, Signal::KILL).expect("killed");
        let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
        // Gone, or ended and not yet fetched by the system's first process.
        wait_until("it is gone", || {
            rustix::process::test_kill_process(pid).is_err()
                || fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z "))
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let own = self.root.path().display().to_string();
        for pid in self.processes() {
            // Only what names this very test's folder on its command line.
            let ps = Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output();
            let line =
                ps.map(|found| String::from_utf8_lossy(&found.stdout).into_owned()).unwrap_or_default();
            if let (true, Some(pid)) = (line.contains(&own), Pid::from_raw(pid)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Running<'_> {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said something on stderr.
    pub fn wait_for(&self, words: &str) {
        wait_until(&format!("it says `{words}`"), || {
            fs::read_to_string(&self.stderr).is_ok_and(|text| text.contains(words))
        });
    }

    /// Presses Ctrl-C: the whole group in the foreground gets the signal.
    pub fn interrupt(&self) {
        let group = Pid::from_child(&self.child);
        kill_process_group(group, Signal::INT).expect("a group");
    }

    /// Kills it without a word, and nothing it started.
    pub fn kill(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).expect("killed");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        let read = |path: &Path| self.world.mask(&String::from_utf8_lossy(&fs::read(path).expect("output")));
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        let stderr = self.world.without_moved_port(stderr);
        Outcome { code: code_of(status.expect("ended")), stdout, stderr }
    }
}

/// The port of a machine is really free or taken for everybody on this computer: tests that take one are alone.
fn lock_ports(alone: bool) -> File {
    let file = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-ports")).expect("a file");
    if alone { file.lock() } else { file.lock_shared() }.expect("a lock");
    file
}
