//! Whether this computer can give a machine a network of its own, found out by trying; where not, what to mend.
//!
//! Enters: what runs programs, this program. Leaves: an enclosure, or a lack with its remedy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Enclosure, part};
use crate::model::Openings;
use crate::process::Runner;

/// Where administrators' programs are, which are on no user's PATH in Debian.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];
/// The trial takes some 20 ms.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a machine cannot be enclosed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// A sentence.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

/// Finds the programs and tries the rest out.
pub fn find_enclosure(runner: &Runner, binary: &Path, openings: &Openings) -> Result<Enclosure, Lack> {
    let pasta = find(runner, "pasta").ok_or_else(|| missing("pasta", "passt"))?;
    let nft = find(runner, "nft").ok_or_else(|| missing("nft", "nftables"))?;
    let cmd = part(binary, "try").arg(&nft).time_limit(LIMIT);
    match runner.read_any_status(&cmd) {
        Ok(tried) if tried.status.success() => Ok(Enclosure { pasta, nft, openings: openings.clone() }),
        Ok(tried) => Err(explain(&tried.tail, binary)),
        Err(failure) => Err(explain(&[failure.error.to_string()], binary)),
    }
}

fn find(runner: &Runner, program: &str) -> Option<PathBuf> {
    let in_system = || {
        SYSTEM_FOLDERS.map(|folder| Path::new(folder).join(program)).into_iter().find(|path| path.is_file())
    };
    runner.find(program).or_else(in_system)
}

fn missing(program: &str, package: &str) -> Lack {
    Lack {
        reason: format!("`{program}` is not installed"),
        remedy: format!("install it: `apt install {package}`, or your system's package `{package}`"),
    }
}

/// What the trial's last words mean.
fn explain(words: &[String], binary: &Path) -> Lack {
    let plain =
        |line: &String| line.trim_start_matches("error: ").trim_start_matches("caused by: ").to_string();
    let reason = words.iter().map(plain).collect::<Vec<_>>().join(": ");
    let remedy = if reason.contains("/dev/net/tun") {
        "load it, `sudo modprobe tun`, and let users open it, as other systems do: `sudo chmod 666 /dev/net/tun`".into()
    } else if reason.contains("without the rights") {
        format!(
            "give this program an AppArmor profile: `printf 'abi <abi/4.0>,\\nprofile machine \"{}\" flags=(unconfined) {{\\n  \
             userns,\\n}}\\n' | sudo tee /etc/apparmor.d/machine && sudo apparmor_parser -r /etc/apparmor.d/machine`",
            binary.display()
        )
    } else if reason.contains("network rules") {
        "load the kernel's part: `sudo modprobe nf_tables nft_reject_inet`".into()
    } else {
        "allow it: `sudo sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`, as far as your \
         kernel knows these"
            .into()
    };
    Lack { reason, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lack_has_its_remedy() {
        let remedy = |words: &str| {
            let words: Vec<String> = words.lines().map(String::from).collect();
            explain(&words, Path::new("/opt/machine")).remedy
        };
        assert!(
            remedy("error: `/dev/net/tun` cannot be opened\ncaused by: Permission denied")
                .contains("chmod 666")
        );
        let apparmor = remedy("error: this system gives you a namespace without the rights to use it");
        assert!(apparmor.contains("profile machine \"/opt/machine\"") && apparmor.contains("userns,"));
        assert!(remedy("error: the kernel does not take network rules from you").contains("nf_tables"));
        assert!(
            remedy("error: this system does not let you make a namespace of your own").contains("sysctl")
        );
        assert!(missing("pasta", "passt").remedy.contains("apt install passt"));
        let told = explain(&["error: a".into(), "caused by: b".into()], Path::new("/m"));
        assert_eq!(told.reason, "a: b");
    }
}
