//! From a project of the configuration to a file for plain Lima, on a computer that knows nothing of this one.
//!
//! Enters: a project and its surroundings. Leaves: what is rendered, and what a person should know of it. Identity,
//! certificates and secrets of this computer stay here; how git hosts are reached goes along, as cloning needs it.

use std::collections::BTreeMap;

use super::goal::headline;
use super::remote;
use super::select::{Workspace, folder_of};
use super::trust::load_stack;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::guest::{GitLogins, Stack, Step, Wanted, export, list_steps};
use crate::lima::image::built_in;
use crate::lima::{Export, PublicImage};
use crate::model::{
    Arch, Computer, GitHost, GitIdentity, Image, ImageName, ImageSource, Isolation, Profile, Project,
    Transport,
};

const ARCHITECTURES: [Arch; 2] = [Arch::Amd64, Arch::Arm64];

/// The images of a file, and what is to be said about them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Images {
    public: Vec<PublicImage>,
    notes: Vec<String>,
}

/// Gathers what a project's file consists of. `note` is told what differs from the machine that `up` makes.
///
/// # Errors
/// When no image of the project has a public address, or the key of a git host is not known here.
pub fn build_export(
    context: &Context,
    workspace: &Workspace,
    project: &Project,
    note: &dyn Fn(&str),
) -> Result<Export> {
    let folder = folder_of(project);
    let (provision, profiles) = load_stack(context, project)?;
    let (image, file) = match (&project.image, provision.image) {
        (Some(image), _) => (image.clone(), project.file.clone()),
        (None, Some(image)) => (image, folder.provision()),
        (None, None) => (Image::Named(ImageName::Debian13), folder.provision()),
    };
    let images = public_images(&image, &workspace.computer).map_err(|failure| {
        failure.because(format!(
            "`{}` cannot be exported with the image in `{}`",
            project.name,
            file.display()
        ))
    })?;
    images.notes.iter().for_each(|text| note(text));
    if project.isolation.is_strict() {
        note(
            "`isolation = \"strict\"` takes a way in for root that only `machine` has: in the file, the login user has sudo",
        );
    }
    let git_hosts = remote::git_hosts(context, &project.repos)?;
    let steps: Vec<(Arch, Vec<Step>)> = images
        .public
        .iter()
        .map(|image| (image.arch, steps(project, &profiles, &git_hosts, image.arch)))
        .collect();
    let provisioning = export(&steps, &project.repos, &project.setup);
    let needs_agent = project.repos.iter().any(|repo| repo.url.transport() == Transport::Ssh);
    Ok(Export {
        name: project.name.clone(),
        headline: headline(project, &profiles, &image),
        cpus: project.cpus,
        memory: project.memory,
        disk: project.disk,
        images: images.public,
        shell: project.shell,
        repos: project.repos.clone(),
        ports: project.ports.clone(),
        forward_agent: project.forward_agent && needs_agent,
        scripts: provisioning.scripts,
        probe: provisioning.probe,
    })
}

fn steps(project: &Project, profiles: &[Profile], git_hosts: &[GitHost], arch: Arch) -> Vec<Step> {
    let ca_certs = BTreeMap::new();
    list_steps(&Wanted {
        // Root's way in is this computer's own.
        stack: Stack { profiles, ca_certs: &ca_certs, arch, isolation: Isolation::Standard },
        env: project.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        shell: project.shell,
        identity: &GitIdentity::default(),
        // The secrets that they name are not on another computer.
        git_logins: GitLogins::default(),
        git_hosts,
        needs_git: !project.repos.is_empty(),
        openings: None,
        proxy: None,
        allow: &[],
    })
}

fn public_images(image: &Image, computer: &Computer) -> Result<Images> {
    match image {
        Image::Named(name) => Ok(named_images(*name, &computer.images)),
        Image::Custom(sources) => custom_images(sources),
    }
}

/// A named image has a public address, whatever stands in its place on this computer.
fn named_images(name: ImageName, configured: &BTreeMap<(ImageName, Arch), ImageSource>) -> Images {
    let mut images = Images::default();
    for arch in ARCHITECTURES {
        let own = configured.get(&(name, arch));
        let known = || built_in(name, arch).and_then(|source| publish(arch, &source).ok());
        match own.map(|source| publish(arch, source)) {
            None => images.public.extend(known()),
            Some(Ok(image)) => images.public.push(image),
            Some(Err((key, value))) => {
                let Some(image) = known() else { continue };
                images.notes.push(format!(
                    "`images.{name}.{}.{key}` in config.toml is a file of this computer, `{value}`: the public \
                     image of {name} is exported",
                    arch.debian()
                ));
                images.public.push(image);
            }
        }
    }
    images
}

/// An image of the user's own is left out where it is a file; one must remain.
fn custom_images(sources: &BTreeMap<Arch, ImageSource>) -> Result<Images> {
    let mut images = Images::default();
    for (arch, source) in sources {
        match publish(*arch, source) {
            Ok(image) => images.public.push(image),
            Err((key, value)) => images.notes.push(format!(
                "`image.{}.{key}` is `{value}`, a file that no other computer has",
                arch.debian()
            )),
        }
    }
    if images.public.is_empty() {
        return Err(Failure::usage(images.notes.join("; "))
            .hint("give it an `https://` address with its `digest` there, or name a known image: `image = \"debian-13\"`"));
    }
    Ok(images)
}

/// The image as every computer can have it, else the key that keeps it here, with its value.
fn publish(arch: Arch, source: &ImageSource) -> Result<PublicImage, (&'static str, String)> {
    let location = &source.location;
    match (&source.kernel, &source.digest) {
        (Some(boot), _) => Err(("kernel", boot.kernel.display().to_string())),
        (None, Some(digest)) if location.starts_with("https://") => {
            Ok(PublicImage { arch, location: location.clone(), digest: digest.clone() })
        }
        _ => Err(("location", location.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, DigestAlgorithm, KernelBoot};

    fn source(location: &str, kernel: Option<&str>) -> ImageSource {
        ImageSource {
            location: location.into(),
            digest: Some(Digest { algorithm: DigestAlgorithm::Sha256, hex: "ab".repeat(32) }),
            kernel: kernel.map(|path| KernelBoot {
                kernel: path.into(),
                initrd: "/srv/initrd".into(),
                cmdline: "root=/dev/vda".into(),
            }),
        }
    }

    fn locations(images: &Images) -> Vec<&str> {
        images.public.iter().map(|image| image.location.as_str()).collect()
    }

    #[test]
    fn a_named_image_is_the_public_one_for_both_architectures() {
        let images = named_images(ImageName::Debian13, &BTreeMap::new());
        assert_eq!(images.public.iter().map(|image| image.arch).collect::<Vec<_>>(), ARCHITECTURES);
        assert!(locations(&images).iter().all(|location| location.starts_with("https://cloud.debian.org/")));
        assert_eq!(images.notes, Vec::<String>::new());
    }

    #[test]
    fn what_stands_in_its_place_counts_when_others_can_have_it() {
        let configured = [
            ((ImageName::Debian13, Arch::Amd64), source("https://mirror.example/d.qcow2", None)),
            ((ImageName::Debian13, Arch::Arm64), source("/srv/d.qcow2", None)),
        ];
        let images = named_images(ImageName::Debian13, &configured.into());
        assert_eq!(locations(&images)[0], "https://mirror.example/d.qcow2");
        assert!(locations(&images)[1].starts_with("https://cloud.debian.org/"));
        assert_eq!(images.notes.len(), 1);
        assert!(images.notes[0].contains(
            "`images.debian-13.arm64.location` in config.toml is a file of this computer, `/srv/d.qcow2`"
        ));
    }

    #[test]
    fn a_kernel_keeps_an_image_here() {
        let image =
            Image::Custom([(Arch::Amd64, source("https://x.example/d", Some("/srv/vmlinuz")))].into());
        let failure = public_images(&image, &Computer::default()).expect_err("not public");
        assert!(failure.error.to_string().contains("`image.amd64.kernel` is `/srv/vmlinuz`"), "{failure:?}");
    }

    #[test]
    fn one_public_image_of_two_is_enough() {
        let (here, there) = (source("/srv/d.qcow2", None), source("https://x.example/d", None));
        let images = custom_images(&[(Arch::Amd64, here.clone()), (Arch::Arm64, there)].into()).expect("one");
        assert_eq!((locations(&images).len(), images.notes.len()), (1, 1));
        let failure = custom_images(&[(Arch::Amd64, here)].into()).expect_err("none");
        assert!(
            failure.error.to_string().contains("`image.amd64.location` is `/srv/d.qcow2`"),
            "{failure:?}"
        );
    }
}
