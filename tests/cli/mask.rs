//! Takes out of a text what differs from run to run: paths, times, ports, process ids, random names.
//!
//! Enters: what a program wrote. Leaves: text for a snapshot.

use std::path::Path;

/// What is said where a machine gets no network of its own.
pub const NOT_ENCLOSED: &str = "nothing but the guest's own floor keeps it from this computer";

/// A folder of a test and the short name that stands for it.
pub struct Mask(Vec<(String, &'static str)>);

impl Mask {
    /// Masks `folders`, the longest path first.
    pub fn new(folders: &[(&Path, &'static str)]) -> Self {
        let mut pairs: Vec<(String, &'static str)> =
            folders.iter().map(|(path, name)| (path.display().to_string(), *name)).collect();
        pairs.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self(pairs)
    }

    /// The text with everything masked.
    pub fn apply(&self, text: &str) -> String {
        let named = self.0.iter().fold(text.to_string(), |text, (path, name)| text.replace(path, name));
        let named =
            named.replace("ssh ready, software emulation", "ssh ready").replace(&launcher_variable(), "");
        // Not every host boots a guest's kernel, or can give a machine a network of its own.
        let mut in_row = false;
        let is_everywhere = |line: &&str| {
            // The row of `doctor` about that, with its remedy below it.
            in_row = ["✓ network ", "· network "].iter().any(|mark| line.starts_with(mark))
                || (in_row && line.starts_with("               "));
            !in_row && !line.contains("/var/lib/machine/boot/") && !line.starts_with(NOT_ENCLOSED)
        };
        let everywhere = named.lines().filter(is_everywhere);
        everywhere.map(|line| mask_times(&mask_session(&mask_words(line))) + "\n").collect()
    }
}

/// A table without the column that tells of processes' memory, which differs from run to run and between systems.
pub fn without_resident(text: &str) -> String {
    let heading = text.lines().find_map(|line| Some((line.find("RESIDENT")?, line.find("DISK")?)));
    let (from, to) = heading.expect("a table with the column");
    let is_row = |line: &str| line.len() > to && line.is_char_boundary(from) && line[..from].ends_with("  ");
    let cut = |line: &str| format!("{}{}", &line[..from], &line[to..]);
    text.lines().map(|line| if is_row(line) { cut(line) } else { line.to_string() } + "\n").collect()
}

/// What tells Lima to run us as QEMU: on Linux only, and with the processor's name in it.
fn launcher_variable() -> String {
    let arch = std::env::consts::ARCH;
    let name = arch.to_uppercase();
    format!("QEMU_SYSTEM_{name}=~/.local/share/machine/launcher/bin/qemu-system-{arch} ")
}

/// What a session is told, in base64: scripts that change with every improvement.
fn mask_session(line: &str) -> String {
    const HELPER: &str = "/usr/local/lib/machine/session ";
    let Some((before, rest)) = line.split_once(HELPER) else { return line.to_string() };
    let word = rest.find('\'').unwrap_or(rest.len());
    format!("{before}{HELPER}WORDS{}", &rest[word..])
}

/// Digests, uuids, ports, process ids.
fn mask_words(line: &str) -> String {
    let mut masked = String::new();
    let mut word = String::new();
    for character in line.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        masked.push_str(mask_word(&word, &masked));
        word.clear();
        masked.push(character);
    }
    masked.trim_end().to_string()
}

fn mask_word<'w>(word: &'w str, before: &str) -> &'w str {
    let is_hex = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = word.parse::<u32>().ok();
    match word.len() {
        _ if before.ends_with(".tmp-") => "X",
        _ if before.ends_with("_bytes\": ") => word,
        _ if number.is_some() && before.ends_with("process ") => "PID",
        7 if is_hex && before.ends_with("commit ") => "ID",
        8 if is_hex => "ID",
        32 | 64 | 128 if is_hex => "HASH",
        5 if number.is_some_and(|port| (20_000..30_000).contains(&port)) => "PORT",
        _ if number.is_some() && before.ends_with("<<'") => "N",
        _ if number.is_some() && before.ends_with("ms\": ") => "N",
        _ => word,
    }
}

/// `     0.4 s` becomes ` T s`, whatever the width.
fn mask_times(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let mut masked: Vec<&str> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let is_time = word.contains('.') && word.parse::<f64>().is_ok();
        let in_seconds = words.get(index + 1).is_some_and(|unit| unit.starts_with('s'));
        if is_time && in_seconds {
            while masked.last().is_some_and(|last| last.is_empty()) {
                masked.pop();
            }
            masked.push("T");
        } else {
            masked.push(word);
        }
    }
    masked.join(" ")
}

#[test]
fn masks_what_differs_and_nothing_else() {
    let mask = Mask::new(&[(Path::new("/tmp/x/home"), "~"), (Path::new("/tmp/x"), "<world>")]);
    let line = "boot ready    12.5 s in /tmp/x/home/s/0a1b2c3d on 20001 of /tmp/x, 40 GiB (process 20017)";
    assert_eq!(mask.apply(line), "boot ready T s in ~/s/ID on PORT of <world>, 40 GiB (process PID)\n");
    assert_eq!(mask.apply("\"disk_used_bytes\": 24576,"), "\"disk_used_bytes\": 24576,\n");
}
