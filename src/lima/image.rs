//! Disk images: which ones we know, and how one becomes a verified local file.
//!
//! Enters: an image as configured. Leaves: a file whose digest was checked here. Lima would go on to the next entry
//! of its list when a digest does not fit, so it gets one local file and no list.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Sha256, Sha512};

use super::template::LocalImage;
use crate::disk::{self, Lock};
use crate::failure::{Context, Failure, Result};
use crate::model::{Arch, Digest, DigestAlgorithm, Host, HostOs, ImageName, ImageSource, hex};
use crate::process::{Cmd, Runner};

/// An image we ship a digest for.
struct Known {
    name: &'static str,
    arch: Arch,
    location: &'static str,
    algorithm: DigestAlgorithm,
    hex: &'static str,
}

/// Digests as Lima 2.2.0 publishes them in templates/_images/debian-13.yaml and ubuntu-24.04.yaml. A second location
/// with the same bytes is not known for either; `[images.NAME.ARCH]` in config.toml names a mirror.
const KNOWN: [Known; 4] = [
    Known {
        name: "debian-13",
        arch: Arch::Amd64,
        location: "https://cloud.debian.org/images/cloud/trixie/20260712-2537/debian-13-genericcloud-amd64-20260712-2537.qcow2",
        algorithm: DigestAlgorithm::Sha512,
        hex: "7ae53e9dbee282bfc16f289dec483dde3a8598769c38a267948310f7a2a52c662620198603bc52c142627efba379863d16079698a10b34102d55bcedd40e8d32",
    },
    Known {
        name: "debian-13",
        arch: Arch::Arm64,
        location: "https://cloud.debian.org/images/cloud/trixie/20260712-2537/debian-13-genericcloud-arm64-20260712-2537.qcow2",
        algorithm: DigestAlgorithm::Sha512,
        hex: "8543d795f2fde630eb66c492f245a8c1da19dedc636e0a8e7b3d0f95920e1a05aa911ef2d82d177d41cc53ced5fccbd2a3945d07fa5e15018914c4d864bb07ed",
    },
    Known {
        name: "ubuntu-24.04",
        arch: Arch::Amd64,
        location: "https://cloud-images.ubuntu.com/releases/noble/release-20260705/ubuntu-24.04-server-cloudimg-amd64.img",
        algorithm: DigestAlgorithm::Sha256,
        hex: "ffe6203da54deeb6db5d2a98a83f9ec8e55f149d3f7ba622e1abe5fa966ee3d6",
    },
    Known {
        name: "ubuntu-24.04",
        arch: Arch::Arm64,
        location: "https://cloud-images.ubuntu.com/releases/noble/release-20260705/ubuntu-24.04-server-cloudimg-arm64.img",
        algorithm: DigestAlgorithm::Sha256,
        hex: "7df0201546f75b8bcc1044594c806c35749421ad3c9bc1be2a3ab806cfae39cc",
    },
];

/// The built-in source of a named image.
pub fn built_in(name: ImageName, arch: Arch) -> Option<ImageSource> {
    let known = KNOWN.iter().find(|known| known.name == name.as_str() && known.arch == arch)?;
    let digest = Digest { algorithm: known.algorithm, hex: known.hex.into() };
    Some(ImageSource { location: known.location.into(), digest: Some(digest), kernel: None })
}

/// The file that `source` is, or will become in `cache`. Pure: looks at no disk.
pub fn local_path(source: &ImageSource, cache: &Path, os: HostOs) -> PathBuf {
    if !source.location.starts_with("https://") {
        return PathBuf::from(&source.location);
    }
    let name: String = source.digest.iter().flat_map(|digest| digest.hex.chars().take(32)).collect();
    // Lima's vz driver would convert a qcow2 file for every machine.
    let ending = if os == HostOs::MacOs { "raw" } else { "qcow2" };
    cache.join(format!("{name}.{ending}"))
}

/// Which bytes a source stands for: its digest, or where it has none the path, size and time of the local file.
pub fn identity(source: &ImageSource) -> String {
    if let Some(digest) = &source.digest {
        return digest.hex.clone();
    }
    let metadata = std::fs::metadata(&source.location);
    let modified = metadata.as_ref().ok().and_then(|metadata| metadata.modified().ok());
    format!("{} {} {modified:?}", source.location, metadata.map_or(0, |metadata| metadata.len()))
}

/// The download of an image, when it is one: what `--dry-run` prints and [`fetch`] runs.
pub fn download_command(source: &ImageSource, to: &Path, proxies: &[(String, String)]) -> Cmd {
    let flags = ["--fail", "--location", "--proto", "=https", "--retry", "3", "--silent", "--show-error"];
    let mut cmd = Cmd::new("curl").args(flags).args(["--continue-at", "-", "--output"]).arg(to);
    for (name, value) in proxies {
        cmd = cmd.env(name, value);
    }
    cmd.arg("--").arg(&source.location).own_group().time_limit(Duration::from_secs(4 * 3600))
}

/// Makes the image a verified local file. `progress` is told what is going on.
///
/// # Errors
/// When no byte-identical copy could be had. A partial download stays in the cache and is continued the next time.
pub fn fetch(
    source: &ImageSource,
    cache: &Path,
    host: &Host,
    proxies: &[(String, String)],
    runner: &Runner,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<LocalImage> {
    let location = local_path(source, cache, host.os);
    let kernel = source.kernel.clone().map(|boot| (boot.kernel, boot.initrd, boot.cmdline));
    let image = LocalImage { location: location.clone(), kernel };
    if !source.location.starts_with("https://") {
        check_local(source, &image, progress)?;
        return Ok(image);
    }
    disk::ensure_private_folder(cache)?;
    // Two machines that need the same image download it once.
    let _turn = Lock::wait_exclusive(&location.with_extension("lock"))?;
    if location.exists() {
        return Ok(image);
    }
    let part = location.with_extension("part");
    // A download that was whole before something else failed would be refused by the server when continued.
    let is_whole = |part: &Path| source.digest.as_ref().is_some_and(|digest| verify(part, digest).is_ok());
    if !(part.exists() && is_whole(&part)) {
        with_size_shown(&part, progress, || runner.run(&download_command(source, &part, proxies)))
            .map_err(|failure| unavailable(failure, source))?;
        progress("verifying the image");
        if let Some(digest) = &source.digest
            && let Err(failure) = verify(&part, digest)
        {
            disk::remove_file(&part)?;
            return Err(unavailable(failure, source));
        }
    }
    publish(&part, &location, host.os, progress)?;
    Ok(image)
}

fn publish(part: &Path, location: &Path, os: HostOs, progress: &(dyn Fn(&str) + Sync)) -> Result<()> {
    if os == HostOs::MacOs && super::qcow2::is_qcow2(part) {
        progress("converting the image to raw");
        super::qcow2::to_raw(part, location)?;
        return disk::remove_file(part);
    }
    std::fs::rename(part, location).because(|| format!("failed to write `{}`", location.display()))
}

fn check_local(source: &ImageSource, image: &LocalImage, progress: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let kernel = image.kernel.iter().flat_map(|(kernel, initrd, _)| [kernel, initrd]);
    for file in std::iter::once(&image.location).chain(kernel) {
        File::open(file).because(|| format!("failed to open the image file `{}`", file.display()))?;
    }
    if let Some(digest) = &source.digest {
        progress("verifying the image");
        verify(&image.location, digest)?;
    }
    Ok(())
}

/// Compares a file's digest with the expected one.
fn verify(path: &Path, digest: &Digest) -> Result<()> {
    let actual = match digest.algorithm {
        DigestAlgorithm::Sha256 => hash_file::<Sha256>(path),
        DigestAlgorithm::Sha512 => hash_file::<Sha512>(path),
    };
    let actual = actual.because(|| format!("failed to read `{}`", path.display()))?;
    if actual == digest.hex {
        return Ok(());
    }
    let sentence = format!("the image `{}` is not the expected one", path.display());
    Err(Failure::operation(format!("its digest is {actual}, expected {}", digest.hex)).because(sentence))
}

/// The SHA-256 of a file's bytes, in hexadecimal digits.
pub fn sha256_file(path: &Path) -> Result<String> {
    hash_file::<Sha256>(path).because(|| format!("failed to read `{}`", path.display()))
}

/// The SHA-256 of all that is to be read, in hexadecimal digits.
pub fn sha256_of(from: &mut impl Read) -> std::io::Result<String> {
    hash::<Sha256>(from)
}

fn hash_file<D: sha2::Digest>(path: &Path) -> std::io::Result<String> {
    hash::<D>(&mut File::open(path)?)
}

fn hash<D: sha2::Digest>(from: &mut impl Read) -> std::io::Result<String> {
    let mut hasher = D::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Runs `work` while telling how large the file has become.
fn with_size_shown<T>(path: &Path, progress: &(dyn Fn(&str) + Sync), work: impl FnOnce() -> T) -> T {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let megabytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len() / 1_000_000);
                progress(&format!("downloading the image, {megabytes} MB so far"));
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        let result = work();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    })
}

fn unavailable(failure: Failure, source: &ImageSource) -> Failure {
    let digest = source.digest.as_ref().map_or_else(String::new, |digest| format!("\ndigest = \"{digest}\""));
    failure.because(format!("failed to download the image `{}`", source.location)).hint(format!(
        "name another place with the same bytes in config.toml, below `[images.NAME.ARCH]`:\nlocation = \"https://…\"{digest}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_images_have_a_digest_for_both_architectures() {
        for known in &KNOWN {
            let source = built_in(known.name.parse().expect("a known name"), known.arch).expect("known");
            let digest = source.digest.expect("a digest");
            let length = if digest.algorithm == DigestAlgorithm::Sha256 { 64 } else { 128 };
            assert_eq!(digest.hex.len(), length);
            assert!(source.location.contains(known.arch.debian()));
        }
        let both = |arch| KNOWN.iter().filter(move |known| known.arch == arch).map(|known| known.name);
        assert!(both(Arch::Amd64).eq(both(Arch::Arm64)));
    }

    #[test]
    fn a_wrong_digest_is_said_with_both() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        disk::write_atomic(&path, b"abc", 0o600).expect("written");
        let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = |hex: &str| Digest { algorithm: DigestAlgorithm::Sha256, hex: hex.into() };
        assert!(verify(&path, &digest(right)).is_ok());
        let failure = verify(&path, &digest("00")).expect_err("wrong");
        assert!(format!("{:#}", failure.error).contains(right), "{failure:?}");
    }
}
