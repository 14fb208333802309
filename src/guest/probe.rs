//! What a guest sees and reaches of its host: one script, and the reading of its answer.
//!
//! Enters: targets as numbers and words of ours; then the lines of an answer, which a hostile guest may have written.
//! Leaves: known words only. A guest that lies can hide a way, never invent what was heard on the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::shell::{here_document, quote};

/// Something to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the answer calls it; letters, digits and `-`.
    pub name: String,
    /// Its address as the guest sees it.
    pub address: IpAddr,
    /// The TCP port; 0 is not tried.
    pub tcp: u16,
    /// The UDP port; 0 is not tried.
    pub udp: u16,
}

/// What the guest is told; each word is of letters and digits.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Frames the answer.
    pub mark: &'a str,
    /// What the login user says where somebody answers.
    pub user_word: &'a str,
    /// What root says.
    pub root_word: &'a str,
    /// The address that answers for names.
    pub dns: IpAddr,
    /// What to try.
    pub targets: &'a [Target],
}

/// What trying came to, in the guest's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Somebody answered.
    Open,
    /// Refused, or without a route.
    Closed,
    /// No answer in four seconds.
    Silent,
}

/// What a guest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// What the login user came to, by the target's name; `control` is the guest's own sshd, `DNS` the resolver.
    pub tried: BTreeMap<String, Tried>,
    /// What root came to in a network of its own, past the rules inside the guest; empty when that could not be tried.
    pub past: BTreeMap<String, Tried>,
    /// Whether the login user may become root by `sudo`.
    pub root: bool,
    /// What makes it as good as root.
    pub ways: Vec<String>,
    /// Type and folder of everything that is mounted.
    pub mounts: Vec<(String, String)>,
    /// The environment of a session, and /etc/environment.
    pub variables: String,
    /// The login user's line of the password file.
    pub account: String,
    /// The guest's name for itself.
    pub hostname: String,
    /// Agent sockets that lie in the guest.
    pub agent_sockets: u64,
    /// Those at which an agent answers.
    pub agents_answering: u64,
    /// The ports at which the guest listens for some seconds.
    pub listening: Vec<u16>,
    /// Escape sequences as they arrived.
    pub escape: String,
    /// What is at `/run/secrets`; `None` when the guest did not say.
    pub secrets: Option<Place>,
}

/// What is at `/run/secrets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Empty,
    /// A folder.
    Folder {
        /// The kind of filesystem that is mounted there; `none` when none is.
        kind: String,
        /// Its options.
        options: Vec<String>,
        /// Permission bits and owner, such as `700 dev`.
        access: String,
        /// How many secrets there are.
        count: u64,
        /// Whether another user of the guest may enter; `None` when that could not be tried.
        others: Option<bool>,
        /// Whether the guest has swap space.
        swaps: bool,
    },
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, options, mode, owner, count, others, swaps] = words[..] else {
            return words.is_empty().then_some(Self::Empty);
        };
        Some(Self::Folder {
            kind: shorten(kind),
            options: shorten(options).split(',').map(String::from).collect(),
            access: shorten(&format!("{mode} {owner}")),
            count: count.parse().ok()?,
            others: (others != "unknown").then_some(others != "closed"),
            swaps: swaps != "0",
        })
    }
}

/// Lines of a kind that are kept: a flood is an attack or a bug.
const LINES: usize = 500;
/// There are no more ways to become root that the script knows.
const WAYS: usize = 5;

/// The script that asks, run as the login user.
pub fn probe_script(question: &Question) -> String {
    let program =
        |name: &str, text: &str| here_document(&format!("{name}=$(cat"), "MACHINE_PROGRAM", text) + ")\n";
    let targets: Vec<String> = question.targets.iter().map(Target::word).collect();
    let words = [
        ("mark", question.mark),
        ("user_word", question.user_word),
        ("root_word", question.root_word),
        ("dns", &question.dns.to_string()),
        ("targets", &targets.join(" ")),
    ];
    let words: Vec<String> = words.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect();
    words.concat()
        + &program("reach", include_str!("../../templates/guest/reach.pl"))
        + &program("listen", include_str!("../../templates/guest/listen.pl"))
        + include_str!("../../templates/guest/boundary.sh")
}

impl Target {
    fn word(&self) -> String {
        format!("{},{},{},{}", self.name, self.address, self.tcp, self.udp)
    }
}

impl Probed {
    /// Reads an answer; `None` when its end is missing.
    pub fn parse(answer: &str, mark: &str) -> Option<Self> {
        let frame = format!("{mark}\n");
        let mut parts = answer.split(&frame);
        let (_, framed, _) = (parts.next()?, parts.next()?, parts.next()?);
        let mut probed = Self::default();
        framed.lines().for_each(|line| probed.note(line));
        Some(probed)
    }

    fn note(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest) {
            ("tried", rest) => note_tried(&mut self.tried, rest),
            ("past", rest) => note_tried(&mut self.past, rest),
            ("mount", rest) if self.mounts.len() < LINES => {
                self.mounts.extend(rest.split_once(' ').map(|(kind, at)| (shorten(kind), shorten(at))));
            }
            ("variables", rest) => {
                let bytes = STANDARD.decode(rest).unwrap_or_default();
                self.variables = String::from_utf8_lossy(&bytes).replace('\0', "\n");
            }
            ("account", rest) => self.account = shorten(rest),
            ("hostname", rest) => self.hostname = shorten(rest),
            ("escape", rest) => self.escape = shorten(rest),
            ("secrets", rest) => self.secrets = Place::parse(rest),
            ("agent", "dead") => self.agent_sockets += 1,
            ("agent", "answers") => {
                self.agent_sockets += 1;
                self.agents_answering += 1;
            }
            ("listening", rest) => {
                self.listening = rest.split(' ').take(3).filter_map(|port| port.parse().ok()).collect();
            }
            ("root", "") => self.root = true,
            ("way", rest) if self.ways.len() < WAYS => self.ways.push(shorten(rest)),
            _ => {}
        }
    }

    /// What the login user came to at a target.
    pub fn tried(&self, name: &str) -> Option<Tried> {
        self.tried.get(name).copied()
    }

    /// Whether the guest's half works at all: its own sshd answered, and so did the resolver, which is outside of it.
    pub fn works(&self) -> bool {
        self.tried("control") == Some(Tried::Open) && self.tried("DNS") == Some(Tried::Open)
    }

    /// Whether root's half works: the resolver answered in the network that root made.
    pub fn root_works(&self) -> bool {
        self.past.get("DNS") == Some(&Tried::Open)
    }
}

fn note_tried(tried: &mut BTreeMap<String, Tried>, rest: &str) {
    let Some((name, what)) = rest.split_once(' ') else { return };
    let what = match what {
        "open" => Tried::Open,
        "closed" => Tried::Closed,
        "silent" => Tried::Silent,
        _ => return,
    };
    if tried.len() < LINES {
        tried.insert(shorten(name), what);
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &str = "Welcome!\nM\nescape \u{1b}]52;c;eA==\u{7}\naccount dev:x:1000:1000::/home/dev:/bin/bash\n\
        hostname lima-blog\nmount ext4 /\nvariables SE9NRT0vaG9tZS9kZXYAQT0x\nagent dead\n\
        agent answers\nway sudo\nsecrets tmpfs rw,noexec 700 dev 2 closed 0\nlistening 1 2 70000\ntried control open\ntried DNS open\ntried lo4 closed\nroot\npast DNS silent\n\
        past lo4 open\ntried x maybe\nrm -rf /\nM\n";

    #[test]
    fn reads_known_words() {
        let probed = Probed::parse(ANSWER, "M").expect("framed");
        assert!(probed.works() && probed.root && !probed.root_works());
        assert_eq!(probed.ways, ["sudo"]);
        assert_eq!(probed.tried("lo4"), Some(Tried::Closed));
        assert_eq!(probed.past["lo4"], Tried::Open);
        assert_eq!(probed.tried("x"), None);
        assert_eq!(probed.mounts, [("ext4".to_string(), "/".to_string())]);
        assert_eq!(probed.variables, "HOME=/home/dev\nA=1");
        assert_eq!((probed.agent_sockets, probed.agents_answering), (2, 1));
        assert_eq!(probed.listening, [1, 2]);
        assert!(probed.escape.contains('\u{1b}'));
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let folder = |others, swaps| Place::Folder {
            kind: "tmpfs".into(),
            options: words("rw noexec"),
            access: "700 dev".into(),
            count: 2,
            others,
            swaps,
        };
        assert_eq!(probed.secrets, Some(folder(Some(false), false)));
        assert_eq!(Place::parse("tmpfs rw,noexec 700 dev 2 open 1"), Some(folder(Some(true), true)));
        assert_eq!(Place::parse("tmpfs rw,noexec 700 dev 2 unknown 0"), Some(folder(None, false)));
        assert_eq!((Place::parse(""), Place::parse("tmpfs rw")), (Some(Place::Empty), None));
        assert_eq!(Probed::parse("M\ntried lo4 closed\n", "M"), None, "half an answer is none");
    }

    #[test]
    fn a_flood_is_cut() {
        let lines: Vec<String> =
            (0..2000).map(|number| format!("tried n{number} open\nmount a {number}\n")).collect();
        let lines = lines.concat();
        let probed =
            Probed::parse(&format!("M\n{lines}account {}\nM\n", "x".repeat(9999)), "M").expect("framed");
        assert_eq!((probed.tried.len(), probed.mounts.len(), probed.account.len()), (LINES, LINES, 200));
    }

    #[test]
    fn the_script_holds_both_programs_and_all_targets() {
        let targets = [
            Target { name: "lo6".into(), address: "fec0::2".parse().expect("an address"), tcp: 5, udp: 0 },
            Target {
                name: "metadata".into(),
                address: "169.254.169.254".parse().expect("an address"),
                tcp: 80,
                udp: 7,
            },
        ];
        let dns = "192.168.5.3".parse().expect("an address");
        let question = Question { mark: "M1", user_word: "u", root_word: "r", dns, targets: &targets };
        let script = probe_script(&question);
        assert!(script.contains("\ntargets='lo6,fec0::2,5,0 metadata,169.254.169.254,80,7'\n"));
        assert!(
            script.contains("\nMACHINE_PROGRAM\n)\nlisten=$(cat <<'MACHINE_PROGRAM'\n# Listens"),
            "{script}"
        );
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in any::<String>()) {
            let _ = Probed::parse(&answer, "M");
            let _ = Probed::parse(&format!("M\n{answer}\nM\n"), "M");
        }
    }
}
