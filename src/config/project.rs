//! One table of projects.toml: its keys, and how one table lies over another.
//!
//! Enters: a table. Leaves: a `Draft`, where a key that was not written is `None`, and from that a `Project`.
//! Must not know other tables or files.

use std::collections::BTreeMap;
use std::ops::Range;

use super::access::read_allow;
use super::idle::read_idle;
use super::image::read_image;
use super::normal::normalise;
use super::ports::read_ports;
use super::repos::read_repos;
use super::secret::{read_git, read_secrets};
use super::source::Source;
use super::standing;
use super::walk::{Schema, Table, Value, Walk};
use super::{Image, Project, Repo, Setup, Shell};
use crate::model::{
    Access, Ask, ByteSize, Caps, Door, EnvName, GitToken, Host, Idle, IdleAction, Isolation, PortForward,
    ProfileName, ProjectName, Repository, SecretSpec, Secrets, shown,
};

/// Lima's own default for the disk is larger; less than this holds no guest.
const SMALLEST_DISK: ByteSize = ByteSize::from_gib(4);
/// Debian with systemd and cloud-init starts swapping below.
const SMALLEST_MEMORY: ByteSize = ByteSize::from_bytes(512 << 20);
const DEFAULT_CPUS: u32 = 2;
const DEFAULT_MEMORY: ByteSize = ByteSize::from_gib(4);
const DEFAULT_DISK: ByteSize = ByteSize::from_gib(40);

/// Keys of a project, as messages and completions name them.
pub(super) const PROJECT: Schema = Schema {
    what: "a project",
    keys: &[
        "repos",
        "profiles",
        "cpus",
        "memory",
        "disk",
        "shell",
        "env",
        "ports",
        "setup",
        "forward_agent",
        "host_access",
        "lan_access",
        "allow",
        "isolation",
        "image",
        "secrets",
        "git",
        "idle",
        "keep_awake",
    ],
    later: &[],
    elsewhere: &[
        ("accelerator", "config.toml"),
        ("apt", "provision.toml, or in a profile"),
        ("apt_repo", "provision.toml, or in a profile"),
        ("ca_certs", "config.toml"),
        ("check", "provision.toml, or in a profile"),
        ("download", "provision.toml, or in a profile"),
        ("images", "config.toml"),
        ("keys", "config.toml, as `[keys.for.NAME]`"),
        ("network", "config.toml"),
        ("npm", "provision.toml, or in a profile"),
        ("path", "provision.toml, or in a profile"),
        ("proxy", "config.toml, as `[network] proxy`"),
        ("script", "provision.toml, or in a profile"),
        ("token", "a project's `git`, such as `[blog.git]`"),
        ("user_script", "provision.toml, or in a profile"),
        ("uv", "provision.toml, or in a profile"),
    ],
};

/// What a table is judged against.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub host: &'a Host,
    /// The repository that the file was found in; `None` for the user's own file.
    pub repository: Option<&'a Repository>,
    /// What a repository's file gets without asking.
    pub caps: Caps,
}

/// The keys that a table has.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub repos: Option<Vec<Repo>>,
    /// Each with the place where it is named, since whether it exists is judged later.
    pub profiles: Option<Vec<(ProfileName, Range<usize>)>>,
    pub cpus: Option<u32>,
    pub memory: Option<ByteSize>,
    pub disk: Option<ByteSize>,
    shell: Option<Shell>,
    env: BTreeMap<EnvName, String>,
    pub ports: Option<Vec<PortForward>>,
    setup: Option<Setup>,
    pub forward_agent: Option<bool>,
    host_access: Option<bool>,
    lan_access: Option<bool>,
    allow: Option<Vec<Door>>,
    isolation: Option<Isolation>,
    pub image: Option<Image>,
    secrets: BTreeMap<EnvName, SecretSpec>,
    git: Option<GitToken>,
    idle: Option<Idle>,
    keep_awake: Option<bool>,
    /// The keys that were written.
    keys: Vec<String>,
    /// What a repository's file asks for with them.
    pub asks: Vec<Ask>,
}

impl Draft {
    /// Reads a table.
    pub fn read(table: &Table<'_>, judge: Judge<'_>, walk: &mut Walk<'_>) -> Self {
        let in_repository = judge.repository.is_some();
        if in_repository {
            standing::refuse(table, walk);
        }
        let is_refused = |key: &str| in_repository && standing::is_user_only(key);
        table.check_keys_but(is_refused, &PROJECT, walk);
        let mut draft = Self::default();
        for (key, value) in table.entries().into_iter().filter(|(key, _)| !is_refused(key)) {
            draft.read_key(key, &value, judge, walk);
            draft.keys.push(key.to_owned());
        }
        if in_repository {
            draft.asks = standing::asks_of(&draft, judge);
        }
        draft.check_exports(table, walk);
        draft
    }

    /// Whether a key was written.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|written| written == key)
    }

    /// The keys by which a user's table gives something to the repository's table below it.
    pub fn gifts(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).filter(|key| standing::is_gift(key)).collect()
    }

    fn read_key(&mut self, key: &str, value: &Value<'_>, judge: Judge<'_>, walk: &mut Walk<'_>) {
        match key {
            "repos" => self.repos = read_repos(value, judge, walk),
            "profiles" => self.profiles = Some(value.parse_all("the name of a profile", walk)),
            "cpus" => self.cpus = read_cpus(value, judge.host, walk),
            "memory" => self.memory = read_memory(value, judge.host, walk),
            "disk" => self.disk = read_disk(value, walk),
            "shell" => self.shell = read_shell(value, walk),
            "env" => self.env = read_env(value, walk),
            "ports" => self.ports = read_ports(value, walk),
            "setup" => self.setup = read_setup(value, walk),
            "forward_agent" => self.forward_agent = value.flag(walk),
            "host_access" => self.host_access = value.flag(walk),
            "lan_access" => self.lan_access = value.flag(walk),
            "allow" => self.allow = Some(read_allow(value, walk)),
            "isolation" => self.isolation = read_isolation(value, walk),
            "image" => self.image = read_image(value, judge.repository.is_some(), walk),
            "secrets" => self.secrets = read_secrets(value, walk),
            "git" => self.git = read_git(value, walk),
            "idle" => self.idle = read_idle(value, judge.host, walk),
            "keep_awake" => self.keep_awake = value.flag(walk),
            _ => {}
        }
    }

    /// Complains about a variable that is both open and a secret: sessions would differ in which they see.
    fn check_exports(&self, table: &Table<'_>, walk: &mut Walk<'_>) {
        let twice = self.secrets.iter().filter(|(name, spec)| spec.export && self.env.contains_key(name));
        for (name, _) in twice {
            let sentence = format!("secrets: `{name}` is exported, and is in `env` as well");
            walk.problems.add(table.get("secrets").map_or(0..0, |value| value.key_span), sentence);
        }
    }

    /// The draft with another one laid over it; `env` and `secrets` are joined, every other key is replaced.
    pub fn overlaid(mut self, over: Self) -> Self {
        self.env.extend(over.env);
        self.secrets.extend(over.secrets);
        // What is replaced asks for nothing any more.
        self.asks.retain(|ask| !over.keys.iter().any(|key| key == ask.key));
        self.asks.extend(over.asks);
        self.keys.extend(over.keys);
        Self {
            repos: over.repos.or(self.repos),
            profiles: over.profiles.or(self.profiles),
            cpus: over.cpus.or(self.cpus),
            memory: over.memory.or(self.memory),
            disk: over.disk.or(self.disk),
            shell: over.shell.or(self.shell),
            env: self.env,
            ports: over.ports.or(self.ports),
            setup: over.setup.or(self.setup),
            forward_agent: over.forward_agent.or(self.forward_agent),
            host_access: over.host_access.or(self.host_access),
            lan_access: over.lan_access.or(self.lan_access),
            allow: over.allow.or(self.allow),
            isolation: over.isolation.or(self.isolation),
            image: over.image.or(self.image),
            keys: self.keys,
            asks: self.asks,
            secrets: self.secrets,
            git: over.git.or(self.git),
            idle: over.idle.or(self.idle),
            keep_awake: over.keep_awake.or(self.keep_awake),
        }
    }

    /// These defaults with a table laid over them. Where ports are declared, something may wait for connections: only
    /// the table's own word puts such a machine to rest.
    pub fn defaults_below(mut self, table: Self) -> Self {
        let ports = table.ports.as_ref().or(self.ports.as_ref());
        if ports.is_some_and(|ports| !ports.is_empty()) {
            self.idle = None;
        }
        self.overlaid(table)
    }

    /// The project with the defaults for what was not written.
    pub fn finish(self, name: ProjectName, source: &Source, judge: Judge<'_>) -> Project {
        let lines = judge.repository.map(|_| normalise(&source.label, &source.text));
        Project {
            name,
            file: source.path.clone(),
            lines: lines.unwrap_or_default(),
            asks: self.asks,
            repository: judge.repository.cloned(),
            repos: self.repos.unwrap_or_default(),
            profiles: self.profiles.unwrap_or_default().into_iter().map(|(name, _)| name).collect(),
            cpus: self.cpus.unwrap_or(DEFAULT_CPUS.min(judge.host.cpus.max(1))),
            memory: self.memory.unwrap_or_else(|| default_memory(judge.host)),
            disk: self.disk.unwrap_or(DEFAULT_DISK),
            shell: self.shell.unwrap_or_default(),
            env: self.env,
            ports: self.ports.unwrap_or_default(),
            setup: self.setup.unwrap_or_default(),
            forward_agent: self.forward_agent.unwrap_or(judge.repository.is_none()),
            access: Access {
                host: self.host_access.unwrap_or_default(),
                lan: self.lan_access.unwrap_or_default(),
                allow: self.allow.unwrap_or_default(),
            },
            isolation: self.isolation.unwrap_or_default(),
            image: self.image,
            secrets: Secrets { wanted: self.secrets, git: self.git },
            idle: self.idle.filter(|idle| idle.action != IdleAction::None),
            keep_awake: self.keep_awake.unwrap_or_default(),
        }
    }
}

/// 4 GiB, or half of what a smaller host has, in whole 256 MiB.
fn default_memory(host: &Host) -> ByteSize {
    const STEP: u64 = 256 << 20;
    match host.memory_bytes {
        Some(bytes) if bytes < DEFAULT_MEMORY.bytes() => {
            ByteSize::from_bytes(bytes / 2 / STEP * STEP).max(SMALLEST_MEMORY)
        }
        _ => DEFAULT_MEMORY,
    }
}

fn read_cpus(value: &Value<'_>, host: &Host, walk: &mut Walk<'_>) -> Option<u32> {
    let number = value.integer("a whole number", walk)?;
    let most = host.cpus;
    if number < 1 {
        value.fault(&format!("expected at least 1, got `{number}`"), walk);
        return None;
    }
    match u32::try_from(number) {
        Ok(cpus) if cpus <= most => Some(cpus),
        _ => {
            value.fault(&format!("expected at most `{most}`, as this computer has, got `{number}`"), walk);
            None
        }
    }
}

fn read_memory(value: &Value<'_>, host: &Host, walk: &mut Walk<'_>) -> Option<ByteSize> {
    let size: ByteSize = value.parse("a size such as `4GiB`", walk)?;
    if size < SMALLEST_MEMORY {
        value.fault(&format!("expected at least `{SMALLEST_MEMORY}`, got `{size}`"), walk);
        return None;
    }
    match host.memory_bytes.map(ByteSize::from_bytes) {
        Some(most) if size > most => {
            value.fault(&format!("`{size}` is more than the {} of this computer", most.human()), walk);
            None
        }
        _ => Some(size),
    }
}

fn read_disk(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<ByteSize> {
    let size: ByteSize = value.parse("a size such as `40GiB`", walk)?;
    if size < SMALLEST_DISK {
        value.fault(&format!("expected at least `{SMALLEST_DISK}`, got `{size}`"), walk);
        return None;
    }
    Some(size)
}

fn read_shell(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Shell> {
    let expected = "`bash`, `zsh` or `fish`";
    match value.text(expected, walk)? {
        "bash" => Some(Shell::Bash),
        "zsh" => Some(Shell::Zsh),
        "fish" => Some(Shell::Fish),
        other => {
            value.fault(&format!("expected {expected}, got `{}`", shown(other)), walk);
            None
        }
    }
}

fn read_isolation(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Isolation> {
    let expected = "`standard` or `strict`";
    match value.text(expected, walk)? {
        "standard" => Some(Isolation::Standard),
        "strict" => Some(Isolation::Strict),
        other => {
            value.fault(&format!("expected {expected}, got `{}`", shown(other)), walk);
            None
        }
    }
}

/// Reads `env`, of projects and of profiles.
pub(super) fn read_env(value: &Value<'_>, walk: &mut Walk<'_>) -> BTreeMap<EnvName, String> {
    let mut env = BTreeMap::new();
    let Some(table) = value.table("a table such as `{ NAME = \"value\" }`", walk) else { return env };
    for (key, value) in table.entries() {
        let name = key.parse::<EnvName>();
        if let Err(refused) = &name {
            walk.problems.add(value.key_span.clone(), format!("env: {refused}"));
        }
        let Some(text) = value.text("a string", walk) else { continue };
        if text.contains(['\0', '\n', '\r']) {
            value.fault("a value cannot have line ends or NUL", walk);
        } else if let Ok(name) = name {
            env.insert(name, text.to_owned());
        }
    }
    env
}

fn read_setup(value: &Value<'_>, walk: &mut Walk<'_>) -> Option<Setup> {
    let expected = "a list of shell lines such as `[\"npm ci\"]`, or `false`";
    if value.is_false() {
        return Some(Setup::None);
    }
    value.items(expected, walk)?;
    let lines = value.texts("a shell line", is_shell_line, walk);
    Some(if lines.is_empty() { Setup::None } else { Setup::Commands(lines) })
}

/// Text that a shell can be given: something, and no NUL.
pub(super) fn is_shell_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains('\0')
}
