//! The single steps: what a profile's keys become, and what every guest gets; pure functions.
//!
//! Enters: profiles, certificates, a login shell. Leaves: steps. Which of them a machine needs is said in `stack`.
//! What only adds is chained; what sets a state stands alone, so that a new name in git does not reinstall Docker.

use std::collections::BTreeMap;

use super::shell::{quote, quote_all};
use super::step::Step;
use crate::model::{AptRepo, Arch, Download, DownloadTarget, Profile, Script, Shell};

pub(super) fn guest_step() -> Step {
    let files = [
        ("session.sh", include_str!("../../templates/guest/session.sh")),
        ("secrets.pl", include_str!("../../templates/guest/secrets.pl")),
        ("git-credential.sh", include_str!("../../templates/guest/git-credential.sh")),
        ("direnv.sh", include_str!("../../templates/guest/direnv.sh")),
        ("reclaim.sh", include_str!("../../templates/guest/reclaim.sh")),
        ("machine-reclaim.service", include_str!("../../templates/guest/machine-reclaim.service")),
        ("machine-reclaim.timer", include_str!("../../templates/guest/machine-reclaim.timer")),
    ];
    let files = files.map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).to_vec();
    let body = include_str!("../../templates/guest/guest.sh");
    Step::state("guest", "guest: session helper, apt settings".into(), body.into(), files)
}

pub(super) fn certificates_step(certificates: &BTreeMap<String, String>) -> Step {
    let files =
        certificates.iter().map(|(name, pem)| (format!("{name}.crt"), pem.clone().into_bytes())).collect();
    let body = include_str!("../../templates/guest/ca-certs.sh");
    Step::state(
        "ca-certs",
        format!("ca_certs: {}", summary(certificates.keys().cloned())),
        body.into(),
        files,
    )
}

pub(super) fn profile_steps(profile: &Profile, arch: Arch, previous: Option<Step>) -> Vec<Step> {
    let label = profile.label();
    let mut chain = Chain { previous, steps: Vec::new() };
    if !profile.apt_repos.is_empty() {
        let names = summary(profile.apt_repos.iter().map(|repo| repo.name.clone()));
        let files = profile.apt_repos.iter().map(|repo| (key_file(repo), repo.key.clone())).collect();
        chain.add(
            format!("apt sources: {names}"),
            profile.apt_repos.iter().map(apt_repo_body).collect(),
            files,
        );
    }
    if !profile.apt.is_empty() {
        chain.add(
            format!("apt: {}", summary(profile.apt.iter().cloned())),
            apt_body(&profile.apt),
            Vec::new(),
        );
    }
    for download in &profile.downloads {
        chain.add(
            format!("download: {}", short_url(&download.url)),
            download_body(download, arch),
            Vec::new(),
        );
    }
    if let Some(script) = &profile.script {
        let body = format!("bash -euo pipefail {}\n", script_path(script));
        chain.add(format!("{label}: {}", script.name), body, files(profile, script));
    }
    if !profile.npm.is_empty() {
        chain.add(
            format!("npm: {}", summary(profile.npm.iter().cloned())),
            npm_body(&profile.npm),
            Vec::new(),
        );
    }
    if !profile.uv.is_empty() {
        chain.add(format!("uv: {}", summary(profile.uv.iter().cloned())), uv_body(&profile.uv), Vec::new());
    }
    if let Some(script) = &profile.user_script {
        let body = format!("chown -R dev: .\nas_dev bash -euo pipefail {}\n", script_path(script));
        chain.add(format!("{label}: {}", script.name), body, files(profile, script));
    }
    chain.steps
}

/// A script runs with the other files of its profile beside it.
fn files(profile: &Profile, script: &Script) -> Vec<(String, Vec<u8>)> {
    let own = (script.name.clone(), script.text.clone().into_bytes());
    let others = profile.files.iter().filter(|(name, _)| **name != script.name);
    others.map(|(name, bytes)| (name.clone(), bytes.clone())).chain([own]).collect()
}

struct Chain {
    previous: Option<Step>,
    steps: Vec<Step>,
}

impl Chain {
    fn add(&mut self, name: String, body: String, files: Vec<(String, Vec<u8>)>) {
        let step = Step::chained(name, body, files, self.previous.as_ref());
        self.previous = Some(step.clone());
        self.steps.push(step);
    }
}

fn script_path(script: &Script) -> String {
    quote(&format!("./{}", script.name))
}

fn key_file(repo: &AptRepo) -> String {
    format!("{}.key", repo.name)
}

fn apt_repo_body(repo: &AptRepo) -> String {
    let (name, key) = (quote(&repo.name), quote(&key_file(repo)));
    let (suites, components) = (repo.suites.join(" "), repo.components.join(" "));
    let uri = &repo.uri;
    // apt tells a key in armour from a binary one by the file's ending.
    format!(
        "ending=gpg\n! head -c 27 {key} | grep -q 'BEGIN PGP' || ending=asc\n\
         install -D -m 0644 {key} /etc/apt/keyrings/{name}.$ending\n\
         cat >/etc/apt/sources.list.d/{name}.sources <<SOURCES\n\
         Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {components}\n\
         Signed-By: /etc/apt/keyrings/{}.$ending\nSOURCES\n",
        repo.name
    )
}

pub(super) fn apt_body(packages: &[String]) -> String {
    let packages = quote_all(packages.iter().map(String::as_str));
    format!("apt-get -q update\napt-get -q -y install --no-install-recommends -- {packages}\n")
}

fn npm_body(packages: &[String]) -> String {
    let packages = quote_all(packages.iter().map(String::as_str));
    format!("as_dev npm install --global --prefix /home/dev/.local --no-fund --no-audit -- {packages}\n")
}

fn uv_body(tools: &[String]) -> String {
    let install = |tool: &String| format!("as_dev uv tool install --quiet --force -- {}\n", quote(tool));
    tools.iter().map(install).collect::<Vec<_>>().concat()
}

fn download_body(download: &Download, arch: Arch) -> String {
    let url = download.url.replace("{version}", &download.version).replace("{arch}", arch.debian());
    let Some(sha256) = download.sha256.get(&arch) else {
        let message = format!("no sha256 for {} of {url}", arch.debian());
        return format!("echo {} >&2\nexit 1\n", quote(&message));
    };
    let fetch = format!(
        "curl --fail --silent --show-error --location --proto '=https' --retry 3 --output file -- {}\n\
         echo {} | sha256sum --check --quiet -\n",
        quote(&url),
        quote(&format!("{sha256}  file"))
    );
    let place = match &download.target {
        DownloadTarget::Extract(folder) => {
            let folder = quote(folder);
            format!("install -d {folder}\ntar --extract --no-same-owner --file file --directory {folder}\n")
        }
        DownloadTarget::Install(path) => format!("install -D -m 0755 file {}\n", quote(path)),
    };
    fetch + &place
}

pub(super) fn shell_step(shell: Shell) -> Step {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    // A .zshrc keeps zsh from asking its questions for new users.
    let body = format!(
        "path=$(command -v {name}) || {{\n{}path=$(command -v {name})\n}}\nusermod --shell \"$path\" dev\n\
         as_dev touch /home/dev/.zshrc\n",
        apt_body(&[name.to_string()])
    );
    Step::state("shell", format!("shell: {name}"), body, Vec::new())
}

/// A profile's checks run again whenever anything before them did.
pub(super) fn check_step(profile: &Profile, previous: Option<&Step>) -> Option<Step> {
    if profile.check.is_empty() {
        return None;
    }
    let body = profile.check.iter().map(|check| {
        let message = quote(&format!("check failed: {check}"));
        format!("as_dev bash -c {} || {{ echo {message}; exit 1; }}\n", quote(check))
    });
    let name = match profile.check.len() {
        1 => format!("{}: 1 check", profile.label()),
        count => format!("{}: {count} checks", profile.label()),
    };
    // Group membership and user services count from a new login on, which is what `as_dev` is.
    Some(Step::chained(name, body.collect(), Vec::new(), previous))
}

/// `git, curl, +14`: the first two names, and how many more.
fn summary(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown = names.iter().take(2).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(2) {
        0 => shown,
        more => format!("{shown}, +{more}"),
    }
}

fn short_url(url: &str) -> String {
    url.rsplit('/').next().unwrap_or(url).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::guest) fn profile() -> Profile {
        Profile {
            apt: ["jq", "tmux", "zsh"].map(String::from).to_vec(),
            npm: vec!["prettier@3.6.2".into()],
            uv: vec!["ruff==1".into()],
            script: Some(Script { name: "install.sh".into(), text: "#!/bin/bash\n".into() }),
            check: vec!["jq --version".into()],
            ..Profile::default()
        }
    }

    #[test]
    fn a_script_has_itself_and_its_profiles_files_beside_it() {
        let with_pins = Profile { files: [("pins.txt".to_string(), b"x".to_vec())].into(), ..profile() };
        let steps = profile_steps(&with_pins, Arch::Amd64, None);
        let script =
            steps.iter().find(|step| step.name.ends_with("install.sh")).expect("the script").script();
        assert!(script.contains("base64 -d >'install.sh'") && script.contains("base64 -d >'pins.txt'"));
    }

    #[test]
    fn a_download_is_verified_before_it_is_used() {
        let download = Download {
            url: "https://go.dev/dl/go{version}.linux-{arch}.tar.gz".into(),
            version: "1.2".into(),
            sha256: [(Arch::Amd64, "ab".into())].into(),
            target: DownloadTarget::Extract("/usr/local".into()),
        };
        let body = download_body(&download, Arch::Amd64);
        let check = body.find("sha256sum --check").expect("checked");
        assert!(check < body.find("tar --extract").expect("unpacked"));
        assert!(body.contains("'https://go.dev/dl/go1.2.linux-amd64.tar.gz'"));
        assert!(download_body(&download, Arch::Arm64).contains("exit 1"));
    }
}
