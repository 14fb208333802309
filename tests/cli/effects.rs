//! What was effected, in order: the log of the scripted programs in words that fit a snapshot.
//!
//! Enters: one line a call. Leaves: one line an effect. Options that never change are left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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

/// A provisioning step is left out: the guest notes it itself, by name.
fn describe_ssh(rest: &str) -> Option<String> {
    let lent = if rest.contains("ForwardAgent=") { ", agent lent" } else { "" };
    let last = rest.rsplit(" -- ").next().unwrap_or(rest);
    let terminal = if rest.contains(" -t ") { " on a terminal" } else { "" };
    match last {
        _ if rest.starts_with("-G ") => Some(format!("ssh resolve {last}")),
        _ if rest.contains(" -O exit ") => Some("ssh close master".into()),
        _ if rest.contains(" -f -N ") => Some(format!("ssh open master{lent}")),
        "bash -s" => Some("ssh ask".into()),
        _ if last.contains("systemctl stop") => Some("ssh stop steps left over".into()),
        _ if last.contains("systemd-run") => None,
        _ => {
            let word =
                last.strip_prefix("/usr/local/lib/machine/session ").unwrap_or_else(|| panic!("{rest}"));
            Some(format!("ssh session{terminal}{lent}: {}", describe_session(word)))
        }
    }
}

fn describe_session(word: &str) -> String {
    let bytes = STANDARD.decode(word).expect("base64");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut words: Vec<String> = text.split('\0').map(String::from).collect();
    assert_eq!(words.pop().as_deref(), Some(""), "each word ends with NUL");
    for word in &mut words {
        if word.contains("git clone ") {
            *word = "<clone>".into();
        } else if word.contains(".git/machine-setup") {
            *word = "<setup>".into();
        }
    }
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
}
