//! A machine that can fall asleep: its QEMU plays a monitor, and its computer has a runtime folder.
//!
//! Enters: nothing. Leaves: a world with that machine in it, and looks at what is left of a sleep.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::first_up::BARE;
use crate::folders::{give_away, put};
use crate::outcome::Outcome;
use crate::world::World;

/// The instance's folder.
pub const INSTANCE: &str = ".local/share/machine/lima/hello";

/// A machine that is up, on a computer with a runtime folder.
pub struct Sleeper(pub World);

impl Sleeper {
    /// One that runs.
    pub fn new() -> Self {
        Self::of(World::new(), BARE)
    }

    /// One that runs in this world with this configuration.
    pub fn of(world: World, projects: &str) -> Self {
        world.configure(projects);
        world.knob("monitor", "");
        let runtime = world.path("runtime");
        world.make_folder(&runtime);
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("mode");
        let sleeper = Self(world);
        sleeper.must(&["up", "hello"]);
        sleeper.0.effects();
        sleeper
    }

    /// One that sleeps.
    pub fn asleep() -> Self {
        let sleeper = Self::new();
        sleeper.must(&["sleep", "hello"]);
        sleeper.0.effects();
        sleeper
    }

    /// A command with the runtime folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.0.machine(args);
        command.env("XDG_RUNTIME_DIR", self.0.path("runtime"));
        command
    }

    /// Runs it.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.0.finish(&mut self.command(args))
    }

    /// Runs it, and it succeeds.
    pub fn must(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "machine {}\n{outcome}", args.join(" "));
        outcome
    }

    /// A file of the instance.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.home(INSTANCE).join(name)
    }

    /// What is left of a sleep in the instance's and the runtime folder.
    pub fn remains(&self) -> Vec<String> {
        let names = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let keys = names(self.0.path("runtime/machine")).map(|_| "key".to_string());
        let ours = |name: &String| name.starts_with("memory") || name == "asleep.json";
        let files = names(self.0.home(INSTANCE)).filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = files.filter(ours).chain(keys).collect();
        names.sort();
        names
    }

    /// Every machine with its state.
    pub fn states(&self) -> Vec<String> {
        let list = self.must(&["list", "--json"]).stdout;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&list).expect("JSON");
        let word = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_string();
        rows.iter().map(|row| format!("{} {}", word(row, "project"), word(row, "state"))).collect()
    }

    /// The state of the first machine.
    pub fn state(&self) -> String {
        let list = self.must(&["list", "--json"]).stdout;
        let rows: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        rows[0]["state"].as_str().unwrap_or_default().to_string()
    }

    /// Changes what the machine sleeps on, and says how it then comes up, and what is said of it.
    pub fn comes_up(self, spoil: impl FnOnce(&Self)) -> String {
        spoil(&self);
        let said = self.must(&["run", "hello", "--", "true"]).stderr;
        assert_eq!(self.remains(), Vec::<String>::new(), "{said}");
        assert!(self.0.effects().contains("limactl start"), "{said}");
        said.lines().filter(|line| line.contains("boots cold")).collect()
    }
}

/// Writes a file as the user.
pub fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    put(path, bytes);
    give_away(path);
}
