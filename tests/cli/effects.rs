//! What was effected, in order: the log of the scripted programs in words that fit a snapshot.
//!
//! Enters: one line a call. Leaves: one line an effect. Options that never change are left out.

/// What stands before the words of a session.
const HELPER: &str = "/usr/local/lib/machine/session ";

/// Describes a whole log.
pub fn describe(log: &str) -> String {
    log.lines().filter_map(describe_call).map(|line| line + "\n").collect()
}

fn describe_call(line: &str) -> Option<String> {
    let (program, rest) = line.split_once(' ').unwrap_or((line, ""));
    match program {
        "limactl" => {
            Some(line.replace("--tty=false --log-format=json ", "").replace(" --format {{json .}}", ""))
        }
        "ssh" => describe_ssh(rest),
        "git" => Some(describe_git(rest)),
        _ => Some(line.to_string()),
    }
}

fn describe_git(rest: &str) -> String {
    let question = match rest {
        _ if rest.contains("--get-regexp") => "who commits",
        _ if rest.contains("remote.origin.url") => "what is origin",
        _ => rest,
    };
    format!("git {question}")
}

/// Where a sealed guest has what its host may boot directly.
const BOOT_FILES: &str = "cat /var/lib/machine/boot/";

/// A provisioning step is left out: the guest notes it itself, by name.
fn describe_ssh(rest: &str) -> Option<String> {
    let (options, last) = rest.split_once(" -- ").unwrap_or((rest, rest));
    let lent = if options.contains("ForwardAgent=") { ", agent lent" } else { "" };
    let terminal = if options.contains(" -t ") { " on a terminal" } else { "" };
    match last {
        "-V" => Some("ssh version".into()),
        _ if rest.starts_with("-G ") => Some(format!("ssh resolve {last}")),
        _ if rest.contains(" -O exit ") => Some("ssh close master".into()),
        _ if rest.contains("/fwd\"") && rest.contains(" -f -N ") => Some("ssh open holder of ports".into()),
        _ if rest.contains(" -O forward ") => Some(format!("ssh forward {}", way_of(rest))),
        _ if rest.contains(" -O cancel ") => Some(format!("ssh cancel {}", way_of(rest))),
        last if last.contains("/proc/net/tcp") => Some("ssh who listens".into()),
        _ if rest.contains(" -f -N ") => Some(format!("ssh open master{lent}")),
        "bash -s" => Some("ssh ask".into()),
        "ssh-add -L" => Some(format!("ssh list keys{lent}")),
        "printenv SSH_AUTH_SOCK" => Some("ssh ask over Lima's connection".into()),
        "true" => Some("ssh connect apart".into()),
        _ if last.contains("/machine/secrets status ") => Some("ssh ask for secrets".into()),
        // The guest notes what it did.
        _ if last.contains("/machine/secrets ") => None,
        _ if last.contains("systemctl stop") => Some("ssh stop steps left over".into()),
        _ if last.contains("systemd-run") => None,
        // Whether a session lasts long enough for it depends on the computer.
        _ if last.starts_with("ln -sfn ") => None,
        // The guest notes it itself, and not every host boots its kernel.
        _ if last.starts_with("sudo -n bash -s") || last.contains(BOOT_FILES) => None,
        _ => {
            let (_, words) = last.rsplit_once(HELPER).unwrap_or_else(|| panic!("{rest}"));
            Some(format!("ssh session{terminal}{lent}: {}", describe_session(words)))
        }
    }
}

/// What leads where, and which master is asked for it.
fn way_of(rest: &str) -> String {
    let way = rest.split(" -L ").nth(1).and_then(|way| way.split(' ').next()).unwrap_or_default();
    let master = if rest.contains("/ssh.sock\"") { " at Lima's master" } else { "" };
    format!("{way}{master}")
}

fn describe_session(encoded: &str) -> String {
    let mut words: Vec<String> = encoded.split(' ').map(decode).collect();
    for word in &mut words {
        if word.contains("git clone ") {
            *word = "<clone>".into();
        } else if word.contains(".git/machine-setup") {
            *word = "<setup>".into();
        }
    }
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
}

/// A dot, then the word, with `_` and two digits for bytes that a shell might change.
fn decode(word: &str) -> String {
    let word = word.strip_prefix('.').unwrap_or_else(|| panic!("{word} has no dot"));
    let mut parts = word.split('_');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("two digits"));
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
