//! What a box is a box of: the first profiles of a stack, and the key that names exactly that.
//!
//! Enters: profiles, image, host's settings. Leaves: levels, the shallowest first, each with a key over all that is in
//! it. Two projects with the same level share its box.

use sha2::{Digest, Sha256};

use crate::guest::{Environment, Stack, Step, floor_step, seal_script};
use crate::model::{Arch, ByteSize, MaxAge, Openings, ProjectName, Proxy, hex};

/// Part of every key: raised when a box of the same steps is made differently.
const CONTRACT: &str = "machine box 1";
/// The disks that boxes are built on: the largest one that fits a project's, so that few different ones are needed. A
/// disk grows when a machine is made from it, and takes only what is used.
const CLASSES: [ByteSize; 3] = [ByteSize::from_gib(16), ByteSize::from_gib(8), ByteSize::from_gib(4)];

/// What lies below all profiles.
#[derive(Clone, Debug)]
pub struct Foundation {
    /// Which bytes the image is: its digest, or a local file's path, size and time.
    pub image: String,
    /// The guest's architecture.
    pub arch: Arch,
    /// The size of the box's own disk.
    pub disk: ByteSize,
}

/// The first profiles of a stack, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// `base + python`, or `bare` for an image without any profile.
    pub name: String,
    /// 32 hexadecimal digits.
    pub key: String,
    /// What has been done in a machine that has become the box.
    pub steps: Vec<Step>,
    /// What its sessions see.
    environment: Environment,
    /// The smallest age, in days, that one of its profiles names: a box older than that is called old.
    pub max_age_days: u64,
}

impl Level {
    /// The levels of a stack, the whole stack last. A profile that adds nothing makes no level of its own.
    pub fn all(stack: &Stack, foundation: &Foundation) -> Vec<Self> {
        let mut levels: Vec<Self> = Vec::new();
        for count in 1..=stack.profiles.len().max(1) {
            let first = stack.profiles.get(..count).unwrap_or_default();
            let level = Self::of(&Stack { profiles: first, ..*stack }, foundation);
            match levels.last_mut() {
                Some(last) if last.key == level.key => last.max_age_days = level.max_age_days,
                _ => levels.push(level),
            }
        }
        levels
    }

    fn of(stack: &Stack, foundation: &Foundation) -> Self {
        let layers = stack.layers();
        let names: Vec<&str> =
            layers.iter().filter(|layer| !layer.steps.is_empty()).map(|layer| layer.name.as_str()).collect();
        let name = if names.is_empty() { "bare".to_string() } else { names.join(" + ") };
        let name = if stack.isolation.is_strict() { format!("{name}, strict") } else { name };
        let below = stack.foundation();
        let steps = below.iter().chain(layers.iter().flat_map(|layer| &layer.steps));
        let max_age = stack.profiles.iter().filter_map(|profile| profile.max_age).min();
        Self {
            name,
            key: key(foundation, steps),
            steps: stack.steps(),
            environment: stack.environment(),
            max_age_days: max_age.unwrap_or(MaxAge::DEFAULT).days(),
        }
    }

    /// The steps of the machine that becomes the box: with a project's doors open and by its proxy. The last ones take
    /// both away again, since the box is for every project.
    pub fn steps_to_build(&self, openings: &Openings, proxy: Option<&Proxy>) -> Vec<Step> {
        let mut environment = self.environment.clone();
        if let Some(proxy) = proxy {
            environment.use_proxy(proxy, &[]);
        }
        let lent = [
            (self.environment.step(), environment.step()),
            (floor_step(&Openings::default()), floor_step(openings)),
        ];
        let lent: Vec<_> = lent.into_iter().filter(|(kept, lent)| kept != lent).collect();
        let with =
            |step: &Step| lent.iter().find(|(kept, _)| kept == step).map_or(step, |(_, lent)| lent).clone();
        self.steps.iter().map(with).chain(lent.iter().map(|(kept, _)| kept.clone())).collect()
    }

    /// The name of the machine that builds it.
    pub fn machine(&self) -> ProjectName {
        ProjectName::of_bake(self.key.get(..8).unwrap_or(&self.key))
    }
}

/// The size of the disk that a project's box is built on.
pub fn disk_class(disk: ByteSize) -> ByteSize {
    CLASSES.into_iter().find(|class| *class <= disk).unwrap_or(disk)
}

fn key<'a>(foundation: &Foundation, steps: impl Iterator<Item = &'a Step>) -> String {
    let mut hasher = Sha256::new();
    let seal = seal_script();
    let disk = foundation.disk.to_string();
    let fixed = [CONTRACT, &seal, &foundation.image, foundation.arch.debian(), &disk];
    for part in fixed.into_iter().chain(steps.map(|step| step.stamp.as_str())) {
        // The length keeps `ab` + `c` apart from `a` + `bc`.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Isolation, Profile};

    fn foundation() -> Foundation {
        Foundation { image: "sha512:ab".into(), arch: Arch::Amd64, disk: ByteSize::from_gib(16) }
    }

    fn profile(name: &str, package: &str) -> Profile {
        let apt = if package.is_empty() { Vec::new() } else { vec![package.to_string()] };
        Profile { name: name.parse().ok(), apt, ..Profile::default() }
    }

    fn levels(profiles: &[Profile], foundation: &Foundation) -> Vec<Level> {
        let ca_certs = BTreeMap::new();
        let isolation = Isolation::Standard;
        Level::all(&Stack { profiles, ca_certs: &ca_certs, arch: foundation.arch, isolation }, foundation)
    }

    fn names(levels: &[Level]) -> Vec<&str> {
        levels.iter().map(|level| level.name.as_str()).collect()
    }

    #[test]
    fn stacks_share_the_levels_they_have_in_common() {
        let python = [profile("base", "git"), profile("python", "python3"), Profile::default()];
        let go = [profile("base", "git"), profile("go", "golang"), Profile::default()];
        let (python, go) = (levels(&python, &foundation()), levels(&go, &foundation()));
        assert_eq!(names(&python), ["base", "base + python"]);
        assert_eq!(python[0], go[0]);
        assert_ne!(python[1].key, go[1].key);
        assert_ne!(python[0].machine(), python[1].machine());
    }

    #[test]
    fn what_provision_toml_adds_is_a_level_too() {
        let own = Profile { apt: vec!["jq".into()], ..Profile::default() };
        let all = levels(&[profile("base", "git"), own], &foundation());
        assert_eq!(names(&all), ["base", "base + provision.toml"]);
        assert_eq!(names(&levels(&[Profile::default()], &foundation())), ["bare"]);
        assert_eq!(names(&levels(&[], &foundation())), ["bare"]);
    }

    #[test]
    fn a_box_is_built_with_the_doors_open_and_by_a_proxy_and_keeps_neither() {
        let level = levels(&[profile("base", "git")], &foundation()).remove(0);
        assert_eq!(level.steps_to_build(&Openings::default(), None), level.steps);
        let open = Openings { lan: true, ..Openings::default() };
        let proxy = "http://proxy.corp:3128".parse().expect("a proxy");
        let steps = level.steps_to_build(&open, Some(&proxy));
        let named = |prefix: &str| -> Vec<&Step> {
            steps.iter().filter(|step| step.name.starts_with(prefix)).collect()
        };
        for prefix in ["environment: ", "floor: "] {
            let found = named(prefix);
            assert_eq!(found.len(), 2, "{prefix}");
            assert!(!level.steps.contains(found[0]) && level.steps.contains(found[1]), "{prefix}");
        }
        assert_eq!(steps.len(), level.steps.len() + 2);
        let at = |prefix: &str| steps.iter().position(|step| step.name.starts_with(prefix));
        assert!(
            at("environment") < at("floor") && at("floor") < at("apt"),
            "known before anything is fetched"
        );
    }

    #[test]
    fn everything_that_is_in_a_box_is_in_its_key() {
        let profiles = [profile("base", "git")];
        let key = |foundation: &Foundation| levels(&profiles, foundation)[0].key.clone();
        let usual = key(&foundation());
        assert_eq!(usual.len(), 32);
        assert_ne!(usual, key(&Foundation { image: "sha512:cd".into(), ..foundation() }));
        assert_ne!(usual, key(&Foundation { arch: Arch::Arm64, ..foundation() }));
        assert_ne!(usual, key(&Foundation { disk: ByteSize::from_gib(8), ..foundation() }));
        let certificates = [("company".to_string(), "pem".to_string())].into();
        let (none, isolation) = (BTreeMap::new(), Isolation::Standard);
        let stack = Stack { profiles: &profiles, ca_certs: &certificates, arch: Arch::Amd64, isolation };
        assert_ne!(usual, Level::all(&stack, &foundation())[0].key);
        let strict = Stack { ca_certs: &none, isolation: Isolation::Strict, ..stack };
        let strict = Level::all(&strict, &foundation()).remove(0);
        assert_ne!(usual, strict.key);
        assert_eq!(strict.name, "base, strict");
    }

    #[test]
    fn a_level_ages_as_fast_as_the_fastest_of_its_own_profiles() {
        let aging = |name: &str, age: Option<&str>| Profile {
            max_age: age.map(|age| age.parse().expect("an age")),
            ..profile(name, name)
        };
        let days = |ages: &[Option<&str>]| -> Vec<u64> {
            let names = ["base", "python", "go"];
            let profiles: Vec<Profile> =
                names.iter().zip(ages).map(|(name, age)| aging(name, *age)).collect();
            levels(&profiles, &foundation()).iter().map(|level| level.max_age_days).collect()
        };
        assert_eq!(days(&[None]), [30]);
        assert_eq!(days(&[Some("90d"), None, Some("7d")]), [90, 90, 7]);
    }

    #[test]
    fn a_box_fits_every_larger_disk() {
        for (disk, class) in [(100, 16), (16, 16), (15, 8), (4, 4)] {
            assert_eq!(disk_class(ByteSize::from_gib(disk)), ByteSize::from_gib(class));
        }
    }
}
