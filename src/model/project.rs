//! A project, its profiles and its computer as valid values: what the configuration means, not how it was written.
//!
//! Enters: values that were parsed. Leaves: the same. Every other room may know them; they know nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{
    Access, Arch, Ask, ByteSize, Caps, EnvName, Idle, ImageName, Isolation, KeyGrants, MaxAge, PortForward,
    ProfileName, ProjectName, Proxy, RepoUrl, Repository, Secrets,
};

/// A checksum that names its algorithm, as `sha256:…` or `sha512:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// `sha256` or `sha512`.
    pub algorithm: DigestAlgorithm,
    /// Lower-case hexadecimal digits, 64 or 128 of them.
    pub hex: String,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.algorithm {
            DigestAlgorithm::Sha256 => "sha256",
            DigestAlgorithm::Sha512 => "sha512",
        };
        write!(f, "{algorithm}:{}", self.hex)
    }
}

/// The algorithm of a [`Digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

/// A login shell of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shell {
    /// The default.
    #[default]
    Bash,
    /// Installed where missing.
    Zsh,
    /// Installed where missing.
    Fish,
}

/// What runs once in each fresh clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setup {
    /// The command that fits the lock file found in the clone.
    #[default]
    ByLockFile,
    /// These shell lines, in the first repository (`setup = ["npm ci"]`).
    Commands(Vec<String>),
    /// Nothing (`setup = false`).
    None,
}

/// One repository of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// Where it is cloned from.
    pub url: RepoUrl,
    /// The folder below `~/code`, one path component.
    pub dir: String,
    /// The branch to check out; the remote's default when `None`.
    pub branch: Option<String>,
}

/// A table of projects.toml, valid, with defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// The table's name.
    pub name: ProjectName,
    /// The projects.toml it stands in.
    pub file: PathBuf,
    /// The repository that file was found in; `None` for the user's own file.
    pub repository: Option<Repository>,
    /// In order; the first is where `ssh` opens. May be empty.
    pub repos: Vec<Repo>,
    /// On top of `base`, in this order.
    pub profiles: Vec<ProfileName>,
    /// Virtual processors; 1 to the host's, default 2 (or the host's if fewer).
    pub cpus: u32,
    /// Default 4 GiB.
    pub memory: ByteSize,
    /// Size the disk may grow to; default 40 GiB.
    pub disk: ByteSize,
    /// The login shell.
    pub shell: Shell,
    /// Environment of every session.
    pub env: BTreeMap<EnvName, String>,
    /// What of the guest appears on the host's 127.0.0.1; each port once.
    pub ports: Vec<PortForward>,
    /// What runs in a fresh clone.
    pub setup: Setup,
    /// Whether sessions may use the host's ssh-agent; default true, in a repository's file false.
    pub forward_agent: bool,
    /// What of the host's side it may reach; default nothing.
    pub access: Access,
    /// Whether its login user is root in it.
    pub isolation: Isolation,
    /// The image, when the project names one.
    pub image: Option<Image>,
    /// What becomes of its machine when nobody uses it; nothing when `None`.
    pub idle: Option<Idle>,
    /// Whether its machine is never put to sleep or down but by hand; default false.
    pub keep_awake: bool,
    /// Secrets; from the user's own files only.
    pub secrets: Secrets,
    /// What a repository's file asks for with it.
    pub asks: Vec<Ask>,
    /// The whole of that file as sorted lines; empty for the user's own.
    pub lines: Vec<String>,
}

/// The disk image a machine starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// One that `machine` knows: `debian-13` (the default) or `ubuntu-24.04`.
    Named(ImageName),
    /// A location for each architecture, from a table in a user's own file.
    Custom(BTreeMap<Arch, ImageSource>),
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSource {
    /// An absolute path, or an `https://` URL.
    pub location: String,
    /// Always there for a URL.
    pub digest: Option<Digest>,
    /// Direct kernel boot.
    pub kernel: Option<KernelBoot>,
}

impl ImageSource {
    /// By what it is told from another one: its digest, or else where it lies, and what boots it.
    pub fn origin(&self) -> String {
        let bytes = self.digest.as_ref().map_or(&self.location, |digest| &digest.hex);
        let kernel = self.kernel.as_ref().map(|KernelBoot { kernel, initrd, cmdline }| {
            format!(" {} {} {cmdline}", kernel.display(), initrd.display())
        });
        format!("{bytes}{}", kernel.unwrap_or_default())
    }
}

/// Direct kernel boot: the three belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelBoot {
    /// An absolute path.
    pub kernel: PathBuf,
    /// An absolute path.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub cmdline: String,
}

/// A signed apt repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptRepo {
    /// File name below `/etc/apt/sources.list.d`.
    pub name: String,
    /// `https://…`.
    pub uri: String,
    /// At least one.
    pub suites: Vec<String>,
    /// At least one.
    pub components: Vec<String>,
    /// The public key, read from the file beside the profile.
    pub key: Vec<u8>,
}

/// A file fetched by URL, verified before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// With `{version}` and `{arch}` still in it.
    pub url: String,
    /// Replaces `{version}`.
    pub version: String,
    /// By architecture.
    pub sha256: BTreeMap<Arch, String>,
    /// What happens to the verified file.
    pub target: DownloadTarget,
}

/// What happens to a verified download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadTarget {
    /// A tar archive is unpacked into this absolute folder.
    Extract(String),
    /// The file becomes this absolute path, executable.
    Install(String),
}

/// A stackable set of tools: a folder with `profile.toml`, or the body of `provision.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// `None` for provision.toml.
    pub name: Option<ProfileName>,
    /// One line.
    pub description: String,
    /// Placed before this one.
    pub requires: Vec<ProfileName>,
    /// Debian packages.
    pub apt: Vec<String>,
    /// npm packages, installed globally for the login user.
    pub npm: Vec<String>,
    /// Python tools, `uv tool install` for the login user.
    pub uv: Vec<String>,
    /// Absolute folders put before the system's in PATH.
    pub path: Vec<String>,
    /// Environment of every session.
    pub env: BTreeMap<EnvName, String>,
    /// Text of the root script.
    pub script: Option<Script>,
    /// Text of the login user's script.
    pub user_script: Option<Script>,
    /// Shell lines that must succeed at the end.
    pub check: Vec<String>,
    /// When a box with this in it is called old; the smallest one of a stack counts.
    pub max_age: Option<MaxAge>,
    /// Signed repositories.
    pub apt_repos: Vec<AptRepo>,
    /// Verified downloads.
    pub downloads: Vec<Download>,
    /// Every other file of the profile's folder, by name; scripts run with them in the current folder.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Profile {
    /// What it is called: its name, or `provision.toml`.
    pub fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| "provision.toml".to_string(), ToString::to_string)
    }
}

/// A script of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The file's name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// provision.toml: the profile that every project of its folder gets last, and the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provision {
    /// The file's own list of things to install.
    pub profile: Profile,
    /// The image for projects that name none.
    pub image: Option<Image>,
    /// `base = false` leaves the base profile out.
    pub without_base: bool,
    /// What a repository's file asks for with it.
    pub asks: Vec<Ask>,
    /// The whole of that file as sorted lines; empty for the user's own.
    pub lines: Vec<String>,
}

/// `~/.config/machine/config.toml`: what belongs to the computer, not to a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Computer {
    /// Extra certificate authorities, PEM text by file name, trusted in every guest.
    pub ca_certs: BTreeMap<String, String>,
    /// How QEMU runs the guest's processors (Linux hosts).
    pub accelerator: Accelerator,
    /// Overrides of the host's own git identity.
    pub git: GitSettings,
    /// Other locations for named images.
    pub images: BTreeMap<(ImageName, Arch), ImageSource>,
    /// The proxy that machines reach the internet by; none when `None`.
    pub proxy: Option<Proxy>,
    /// How much memory machines may take together (Linux hosts); no limit when `None`.
    pub memory_budget: Option<ByteSize>,
    /// `warm_boxes = false`: new machines always boot.
    pub without_warm_boxes: bool,
    /// What a repository's file gets without asking.
    pub caps: Caps,
    /// What machines may use of the ssh-agent.
    pub keys: KeyGrants,
    /// Whether a `limactl` that prints `<unknown>` as its version is accepted.
    pub accept_unknown_lima_version: bool,
}

/// `accelerator` in config.toml.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// KVM where it works, software emulation elsewhere.
    #[default]
    Auto,
    /// KVM or an error.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// `[git]` in config.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitSettings {
    /// `user.name`.
    pub name: Option<String>,
    /// `user.email`.
    pub email: Option<String>,
    /// A public ssh key, `ssh-ed25519 AAAA…`.
    pub signing_key: Option<String>,
}
