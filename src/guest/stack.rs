//! Which steps make a box, and which make one machine of it; pure functions.
//!
//! Enters: profiles in order, a project's own wishes. Leaves: steps in the order they run. A box is good for every
//! project with the same profiles, so nothing of a project goes into its steps.

use std::collections::BTreeMap;

use super::environment::Environment;
use super::floor::floor_step;
use super::identity::{GitLogins, identity_step};
use super::isolation::{check_step as isolation_check, isolation_step};
use super::step::Step;
use super::steps::{apt_body, certificates_step, check_step, guest_step, profile_steps, shell_step};
use crate::model::{Arch, Door, GitHost, GitIdentity, Isolation, Openings, Profile, Proxy, Shell};

/// What a box holds: the profiles of a stack, or the first of them, whatever project comes to use it.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// In order, `base` first, provision.toml last.
    pub profiles: &'a [Profile],
    /// Extra certificate authorities, PEM by file name.
    pub ca_certs: &'a BTreeMap<String, String>,
    /// The guest's architecture.
    pub arch: Arch,
    /// Whether the login user is root.
    pub isolation: Isolation,
}

/// All that the steps of one machine depend on.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// What is in its box, or would be.
    pub stack: Stack<'a>,
    /// The project's own variables.
    pub env: BTreeMap<String, String>,
    /// The login shell.
    pub shell: Shell,
    /// Who commits.
    pub identity: &'a GitIdentity,
    /// How git logs in to https hosts.
    pub git_logins: GitLogins,
    /// Git hosts beyond the bundled ones.
    pub git_hosts: &'a [GitHost],
    /// Whether repositories are to be cloned, which takes git.
    pub needs_git: bool,
    /// What of its host's side it may reach; `None` leaves that to whoever starts it.
    pub openings: Option<&'a Openings>,
    /// The proxy that leads to the internet.
    pub proxy: Option<&'a Proxy>,
    /// What it is not asked for.
    pub allow: &'a [Door],
}

/// The steps that one profile adds to those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The profile's name, or `provision.toml`.
    pub name: String,
    /// In order; the checks last.
    pub steps: Vec<Step>,
    /// What they install, such as `apt jq`: by these a removed one is noticed.
    pub items: Vec<String>,
}

impl Stack<'_> {
    /// What every box has, below all profiles.
    pub fn foundation(&self) -> Vec<Step> {
        self.foundation_with(None, Some(&Openings::default()))
    }

    /// The floor last, which may have to be fetched, and first of all that profiles bring. By then a proxy is known.
    fn foundation_with(&self, environment: Option<Step>, openings: Option<&Openings>) -> Vec<Step> {
        let certificates = (!self.ca_certs.is_empty()).then(|| certificates_step(self.ca_certs));
        let floor = openings.map(floor_step);
        let isolation = self.isolation.is_strict().then(isolation_step);
        let steps = [Some(guest_step()), isolation, certificates, environment, floor];
        steps.into_iter().flatten().collect()
    }

    /// What sessions see in a box, in which no project is.
    pub fn environment(&self) -> Environment {
        let mut environment = Environment::default();
        for profile in self.profiles {
            // A later profile's tools are found before an earlier one's.
            environment.path.splice(0..0, profile.path.iter().cloned());
            let variables = profile.env.iter().map(|(name, value)| (name.to_string(), value.clone()));
            environment.variables.extend(variables);
        }
        if !self.ca_certs.is_empty() {
            environment.trust_system_certificates();
        }
        environment
    }

    /// The steps of each profile. Each profile's go on from the one before it, so that a box of the first few is good
    /// for all stacks that begin with them.
    pub fn layers(&self) -> Vec<Layer> {
        let mut previous = None;
        self.profiles.iter().map(|profile| layer(profile, self.arch, &mut previous)).collect()
    }

    /// All steps of a box. No project is in it: no variables, no identity, no login shell of its own.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = self.foundation_with(Some(self.environment().step()), Some(&Openings::default()));
        steps.push(shell_step(Shell::default()));
        steps.extend(self.layers().into_iter().flat_map(|layer| layer.steps));
        self.checked(steps)
    }

    /// With a last look at what all of them have left of the isolation.
    fn checked(&self, mut steps: Vec<Step>) -> Vec<Step> {
        if self.isolation.is_strict() {
            steps.push(isolation_check(&steps));
        }
        steps
    }
}

/// The script by which a guest lists what is installed in it.
pub const fn packages_script() -> &'static str {
    include_str!("../../templates/guest/packages.sh")
}

/// Lists the steps of one machine. Those that its box has done are not run again, by their stamps.
pub fn list_steps(wanted: &Wanted) -> Vec<Step> {
    let stack = &wanted.stack;
    let mut steps = stack.foundation_with(Some(environment(wanted).step()), wanted.openings);
    steps.push(identity_step(wanted.identity, &wanted.git_logins, wanted.git_hosts));
    steps.extend(stack.layers().into_iter().flat_map(|layer| layer.steps));
    if wanted.needs_git && !stack.profiles.iter().any(|profile| profile.apt.iter().any(|name| name == "git"))
    {
        // Chained to nothing: whether a project has repositories must not change what its profiles' steps are.
        steps.push(Step::chained("apt: git".into(), apt_body(&["git".into()]), Vec::new(), None));
    }
    steps.push(shell_step(wanted.shell));
    stack.checked(steps)
}

fn environment(wanted: &Wanted) -> Environment {
    let mut environment = wanted.stack.environment();
    environment.variables.extend(wanted.env.clone());
    if let Some(proxy) = wanted.proxy {
        environment.use_proxy(proxy, wanted.allow);
    }
    environment
}

fn items(profile: &Profile) -> Vec<String> {
    let of = |kind: &'static str, names: &[String]| {
        names.iter().map(|name| format!("{kind} {name}")).collect::<Vec<_>>()
    };
    let downloads = profile.downloads.iter().map(|download| format!("download {}", download.url));
    [of("apt", &profile.apt), of("npm", &profile.npm), of("uv", &profile.uv), downloads.collect()].concat()
}

/// The steps of one profile, behind `previous`, which becomes its last step that installs.
fn layer(profile: &Profile, arch: Arch, previous: &mut Option<Step>) -> Layer {
    let mut steps = profile_steps(profile, arch, previous.clone());
    if let Some(last) = steps.last() {
        *previous = Some(last.clone());
    }
    // Nothing is chained to the checks: a better check is no reason to install anything again.
    steps.extend(check_step(profile, previous.as_ref()));
    Layer { name: profile.label(), steps, items: items(profile) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::steps::tests::profile;

    static CLOSED: Openings = Openings { host: false, lan: false, doors: Vec::new() };
    const NOBODY: GitIdentity = GitIdentity { name: None, email: None, signing_key: None };

    fn stack<'a>(profiles: &'a [Profile], ca_certs: &'a BTreeMap<String, String>) -> Stack<'a> {
        Stack { profiles, ca_certs, arch: Arch::Amd64, isolation: Isolation::Standard }
    }

    fn wanted(stack: Stack<'_>, needs_git: bool) -> Wanted<'_> {
        let (env, shell) = (BTreeMap::new(), Shell::Bash);
        let (git_logins, openings) = (GitLogins::default(), Some(&CLOSED));
        let (proxy, allow) = (None, &[][..]);
        let (identity, git_hosts) = (&NOBODY, &[][..]);
        Wanted { stack, env, shell, identity, git_logins, git_hosts, needs_git, openings, proxy, allow }
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    fn stamps(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.stamp.as_str()).collect()
    }

    fn small(name: &str, apt: &[&str]) -> Profile {
        let apt = apt.iter().map(ToString::to_string).collect();
        Profile { name: name.parse().ok(), apt, check: vec!["true".into()], ..Profile::default() }
    }

    #[test]
    fn the_order_of_a_machine() {
        let expected = [
            "guest: session helper, apt settings",
            "environment: PATH",
            "floor: host and LAN closed",
            "git: no identity configured",
            "apt: jq, tmux, +1",
            "provision.toml: install.sh",
            "npm: prettier@3.6.2",
            "uv: ruff==1",
            "provision.toml: 1 check",
            "apt: git",
            "shell: bash",
        ];
        let (profiles, none) = ([profile()], BTreeMap::new());
        assert_eq!(names(&list_steps(&wanted(stack(&profiles, &none), true))), expected);
        assert_eq!(names(&list_steps(&wanted(stack(&[], &none), false)))[4..], ["shell: bash"]);
    }

    #[test]
    fn a_file_for_plain_lima_has_no_floor() {
        let none = BTreeMap::new();
        let steps = list_steps(&Wanted { openings: None, ..wanted(stack(&[], &none), false) });
        assert!(!names(&steps).iter().any(|name| name.starts_with("floor")));
    }

    #[test]
    fn a_machine_finds_in_its_box_all_but_what_is_its_own() {
        let (profiles, none) = ([profile()], BTreeMap::new());
        let stack = stack(&profiles, &none);
        let in_box = stack.steps();
        let steps = list_steps(&wanted(stack, true));
        let own: Vec<&str> =
            steps.iter().filter(|step| !in_box.contains(step)).map(|step| step.name.as_str()).collect();
        assert_eq!(own, ["git: no identity configured", "apt: git"]);
    }

    #[test]
    fn a_stack_begins_with_the_steps_of_every_shorter_one() {
        let none = BTreeMap::new();
        let profiles = [small("base", &["jq"]), small("python", &["python3"]), small("go", &["golang"])];
        let layers = stack(&profiles, &none).layers();
        for shorter in 0..3 {
            assert_eq!(stack(&profiles[..shorter], &none).layers(), layers[..shorter]);
        }
        let other = [small("base", &["jq"]), small("rust", &["rustc"])];
        let others = stack(&other, &none).layers();
        assert_eq!(others[0], layers[0]);
        assert_ne!(others[1], layers[1]);
    }

    #[test]
    fn a_better_check_installs_nothing_again() {
        let none = BTreeMap::new();
        let with = |check: &str| {
            let base = Profile { check: vec![check.into()], ..small("base", &["jq"]) };
            stack(&[base, small("python", &["python3"])], &none).layers()
        };
        let (before, after) = (with("true"), with("jq --version"));
        assert_eq!(before[0].steps[0], after[0].steps[0]);
        assert_ne!(before[0].steps[1], after[0].steps[1]);
        assert_eq!(before[1], after[1]);
    }

    #[test]
    fn one_more_package_reruns_only_what_follows_it() {
        let none = BTreeMap::new();
        let with = |packages: &[&str]| {
            let profiles = [profile(), small("last", packages)];
            stack(&profiles, &none).layers().into_iter().flat_map(|layer| layer.steps).collect::<Vec<_>>()
        };
        let (before, after) = (with(&["fd-find"]), with(&["fd-find", "bat"]));
        assert_eq!(stamps(&before)[..5], stamps(&after)[..5]);
        assert_ne!(stamps(&before)[5], stamps(&after)[5]);
    }

    #[test]
    fn a_strict_machine_is_closed_first_and_looked_at_last() {
        let (profiles, none) = ([profile()], BTreeMap::new());
        let strict = Stack { isolation: Isolation::Strict, ..stack(&profiles, &none) };
        for steps in [strict.steps(), list_steps(&wanted(strict, true))] {
            assert_eq!(names(&steps)[1], "isolation: strict");
            assert_eq!(names(&steps).last(), Some(&"isolation: 1 check"));
        }
        let more = [profile(), small("last", &["jq"])];
        let changed = Stack { profiles: &more, ..strict };
        assert_ne!(strict.steps().last(), changed.steps().last(), "looked at again");
        let own = list_steps(&wanted(strict, true));
        assert_ne!(strict.steps().last(), own.last(), "in the machine as well as in its box");
        assert_ne!(strict.foundation(), stack(&profiles, &none).foundation());
    }

    #[test]
    fn every_script_is_one_that_bash_parses() {
        let certificates = [("a".to_string(), "pem".to_string())].into();
        let profiles = [profile()];
        let wanted = Wanted {
            env: [("A".to_string(), "it's".to_string())].into(),
            shell: Shell::Zsh,
            ..wanted(stack(&profiles, &certificates), true)
        };
        let runner = crate::process::Runner::new(
            vec![("PATH".into(), "/usr/bin:/bin".into())],
            crate::process::Interrupt::default(),
            None,
        );
        let strict = Stack { isolation: Isolation::Strict, ..wanted.stack };
        for step in list_steps(&Wanted { stack: strict, ..wanted }) {
            let cmd = crate::process::Cmd::new("bash").args(["-n", "-s"]).input(step.script());
            runner.run(&cmd).unwrap_or_else(|failure| panic!("{}: {failure:?}", step.name));
        }
    }
}
