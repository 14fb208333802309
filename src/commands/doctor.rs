//! `machine doctor`: looks at what `machine` needs of this computer, and says what to mend.
//!
//! Enters: nothing. Leaves: one line a check, exit code 1 when something that is needed is missing.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::context::Context;
use crate::disk;
use crate::failure::Result;
use crate::lima::launcher::{Choice, KvmNode, choose, find_enclosure, kvm_node, program_name};
use crate::lima::{Image, check_key_folder};
use crate::model::{Computer, Door, GUEST_NETWORK, HostOs, Openings, Place};
use crate::plan::look_up;
use crate::process::Cmd;
use crate::record::{MachineRecord, TrustStore};
use crate::ssh::{BINDS_SINCE, IncludeState, include_state, ssh_version};
use crate::ui;
use crate::workspace::{Workspace, site};

/// Options of `doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print a JSON document
    #[arg(long)]
    pub json: bool,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Remark,
    Bad,
}

struct Check {
    name: &'static str,
    verdict: Verdict,
    text: String,
}

/// Checks everything.
pub fn run(_args: &Args, context: &Context) -> Result<u8> {
    let workspace = Workspace::load(context)?;
    Ok(report(context, &workspace.computer))
}

/// Prints the checks; also the end of `init`.
pub fn report(context: &Context, computer: &Computer) -> u8 {
    let checks = checks(context, computer);
    let bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    if context.options.json {
        let list = checks.iter().map(|check| {
            let verdict = match check.verdict {
                Verdict::Good => "ok",
                Verdict::Remark => "remark",
                Verdict::Bad => "problem",
            };
            json!({"check": check.name, "verdict": verdict, "text": check.text})
        });
        ui::answer_json(&json!({"ok": !bad, "checks": list.collect::<Vec<_>>()}));
    } else {
        for check in &checks {
            let mark = match check.verdict {
                Verdict::Good => "✓",
                Verdict::Remark => "·",
                Verdict::Bad => "✗",
            };
            ui::answer(&format!(
                "{mark} {:<12} {}",
                check.name,
                check.text.replace('\n', "\n               ")
            ));
        }
    }
    u8::from(bad)
}

fn checks(context: &Context, computer: &Computer) -> Vec<Check> {
    let mut checks = vec![lima(context, computer)];
    checks.push(ssh(context));
    for program in ["ssh-keygen", "ssh-add", "ssh-agent", "git", "curl", "ps"] {
        checks.push(program_check(context, program));
    }
    if context.host.os == HostOs::Linux {
        checks.push(qemu(context));
        checks.push(program_check(context, "qemu-img"));
        checks.push(kvm(computer));
        checks.push(enclosure(context));
        checks.extend([packer(context), key_folder(context)]);
    }
    checks.extend(asleep(context, computer));
    checks.extend(proxy(context, computer));
    checks.push(agent(context));
    checks.push(ssh_include(context));
    checks.extend(wildcards(context));
    checks.extend(trust(context));
    checks.extend(shadowed(context));
    checks
}

fn good(name: &'static str, text: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Good, text: text.into() }
}

fn remark(name: &'static str, text: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Remark, text: text.into() }
}

fn bad(name: &'static str, text: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Bad, text: text.into() }
}

/// A sentence, and each hint in a line of its own.
fn with_hints(sentence: &str, hints: &[String]) -> String {
    std::iter::once(sentence).chain(hints.iter().map(String::as_str)).collect::<Vec<_>>().join("\n")
}

fn lima(context: &Context, computer: &Computer) -> Check {
    let say = |_: &str| ();
    let site = site(context, computer, &say);
    match site.driver().check_version(computer.accept_unknown_lima_version) {
        Ok(()) => good("limactl", path_of(context, "limactl")),
        Err(failure) => bad("limactl", with_hints(&format!("{:#}", failure.error), &failure.hints)),
    }
}

/// From 8.9 on ssh says to the agent where a connection leads, without which a machine gets no signature.
fn ssh(context: &Context) -> Check {
    let check = program_check(context, "ssh");
    if check.verdict != Verdict::Good {
        return check;
    }
    match ssh_version(&context.runner) {
        Some((major, minor)) if (major, minor) < BINDS_SINCE => {
            let need = format!("{}.{}", BINDS_SINCE.0, BINDS_SINCE.1);
            bad(
                "ssh",
                format!("OpenSSH {major}.{minor}: machines can use no key with it; install {need} or later"),
            )
        }
        Some(_) => check,
        None => remark("ssh", format!("{}: it does not say which OpenSSH it is", check.text)),
    }
}

fn path_of(context: &Context, program: &str) -> String {
    context.runner.find(program).map_or_else(String::new, |path| path.display().to_string())
}

fn program_check(context: &Context, program: &'static str) -> Check {
    match context.runner.find(program) {
        Some(path) => good(program, path.display().to_string()),
        None => bad(
            program,
            format!("not installed, or not on PATH; install your system's package for `{program}`"),
        ),
    }
}

fn qemu(context: &Context) -> Check {
    let program = program_name(context.host.arch);
    match context.runner.find(&program) {
        Some(path) => good("qemu", path.display().to_string()),
        None => bad(
            "qemu",
            format!(
                "`{program}` is not installed; `apt install qemu-system-x86 qemu-utils` or your system's packages"
            ),
        ),
    }
}

fn kvm(computer: &Computer) -> Check {
    let choice = match computer.accelerator {
        crate::model::Accelerator::Auto => Choice::Auto,
        crate::model::Accelerator::Kvm => Choice::Kvm,
        crate::model::Accelerator::Tcg => {
            return remark("accelerator", "software emulation, as config.toml says");
        }
    };
    match (choose(choice, kvm_node(), false), kvm_node()) {
        (Ok(_), KvmNode::Usable) => good("accelerator", "KVM"),
        (Ok((_, told)), _) => remark("accelerator", told.unwrap_or_default()),
        (Err(failure), _) => bad("accelerator", with_hints(&format!("{:#}", failure.error), &failure.hints)),
    }
}

/// Packs memories and saved boxes; all else works without it.
fn packer(context: &Context) -> Check {
    match context.runner.find("zstd") {
        Some(path) => good("zstd", path.display().to_string()),
        None => remark(
            "zstd",
            "not installed, or not on PATH: machines do not sleep, boxes are not warm, none is saved or loaded\n\
             `apt install zstd`, or your system's own package",
        ),
    }
}

/// Where the keys of machines that sleep lie.
fn key_folder(context: &Context) -> Check {
    match check_key_folder(&context.layout) {
        Ok(()) => good("runtime", "XDG_RUNTIME_DIR is yours alone: machines can sleep"),
        Err(failure) => remark(
            "runtime",
            with_hints(&format!("machines do not sleep: {}", failure.error.root_cause()), &failure.hints),
        ),
    }
}

/// A network of its own for each machine, which its own root cannot change.
fn enclosure(context: &Context) -> Check {
    match find_enclosure(&context.runner, &context.binary, &Openings::default()) {
        Ok(found) => good("network", format!("machines are enclosed: {}", found.pasta.display())),
        Err(lack) => remark(
            "network",
            format!(
                "a guest's root reaches this computer and its networks: {}\n{}",
                lack.reason, lack.remedy
            ),
        ),
    }
}

/// The one that machines are told of, and whether somebody answers there; or that this computer has one for itself only.
fn proxy(context: &Context, computer: &Computer) -> Option<Check> {
    let Some(proxy) = &computer.proxy else {
        let (name, _) = context.proxies.iter().find(|(name, _)| name != "no_proxy")?;
        return Some(remark(
            "proxy",
            format!(
                "this computer uses one (`{name}`), machines do not: `network = {{ proxy = \"http://…\" }}` in \
                 config.toml leads them to it"
            ),
        ));
    };
    let Door { place, port } = proxy.door();
    let addresses = match place {
        Place::Network(network) if GUEST_NETWORK.contains(network.address()) => vec![Ipv4Addr::LOCALHOST],
        Place::Network(network) => vec![network.address()],
        Place::Name(name) => look_up(&name),
    };
    let answers = |address: &Ipv4Addr| {
        let to = SocketAddr::from((*address, port.unwrap_or_default()));
        TcpStream::connect_timeout(&to, Duration::from_secs(3)).is_ok()
    };
    Some(if addresses.iter().any(answers) {
        good("proxy", format!("machines use {proxy}"))
    } else {
        remark("proxy", format!("nobody answers at {proxy}, which config.toml names for machines"))
    })
}

fn agent(context: &Context) -> Check {
    let Some(socket) = &context.agent else {
        return remark("agent", "none (SSH_AUTH_SOCK is not set): repositories over ssh cannot be cloned");
    };
    let cmd = Cmd::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", socket).time_limit(Duration::from_secs(10));
    match context.runner.read_any_status(&cmd) {
        Ok(found) if found.status.success() => {
            good("agent", format!("{} keys", found.text().lines().count()))
        }
        Ok(found) if found.status.code() == Some(1) => remark("agent", "it holds no key: `ssh-add` one"),
        _ => remark("agent", format!("nobody answers at `{}`", socket.display())),
    }
}

fn ssh_include(context: &Context) -> Check {
    let config = context.layout.ssh_config();
    let text = disk::read_text_if_there(&config).ok().flatten().unwrap_or_default();
    match include_state(&text) {
        IncludeState::Present => good("ssh hosts", "`Host machine-…` are known to ssh"),
        IncludeState::TooLow => remark(
            "ssh hosts",
            format!(
                "`Include config.d/machine` stands inside a Host in `{}`: move it to the top",
                config.display()
            ),
        ),
        IncludeState::Missing => remark(
            "ssh hosts",
            "`Host machine-…` are not known to ssh yet: `machine up` or `machine init` adds the Include",
        ),
    }
}

/// Machines whose memory cannot be used any more: better said now than when they are wanted.
fn asleep(context: &Context, computer: &Computer) -> Vec<Check> {
    let say = |_: &str| ();
    let site = site(context, computer, &say);
    let records = MachineRecord::load_all(&context.layout).into_iter();
    let notes = records.filter_map(|record| {
        let note = Image::of(&context.layout.instance(&record.name)).read_note()?;
        let why = site.driver().why_cold(&record, &note)?;
        Some(remark("sleep", format!("`{}` is asleep and {why}", record.name)))
    });
    notes.collect()
}

/// What repositories' files may have beyond their machines; nothing to tell when nobody was ever asked.
fn trust(context: &Context) -> Option<Check> {
    match TrustStore::load(&context.layout) {
        Ok(store) if store.trusted.is_empty() => None,
        Ok(store) => {
            let count = store.trusted.len();
            Some(good(
                "trust",
                format!("projects of repositories' files allowed more: {count} (`machine trust list`)"),
            ))
        }
        Err(failure) => Some(bad("trust", with_hints(&format!("{:#}", failure.error), &failure.hints))),
    }
}

/// Options that add up over blocks, which ours cannot take back: a later `Host *` still sends them.
fn wildcards(context: &Context) -> Vec<Check> {
    let text = disk::read_text_if_there(&context.layout.ssh_config()).ok().flatten().unwrap_or_default();
    let mut applies = true;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default().to_lowercase();
        match keyword.as_str() {
            "host" => applies = words.any(|pattern| pattern == "*" || pattern.starts_with("machine")),
            "match" => applies = words.next() == Some("all"),
            "sendenv" | "setenv" | "remoteforward" | "localforward" | "dynamicforward" if applies => {
                found.push(remark(
                    "ssh config",
                    format!(
                        "line {} of `{}` also counts for `ssh machine-…`: {}",
                        number + 1,
                        context.layout.ssh_config().display(),
                        line.trim()
                    ),
                ));
            }
            _ => {}
        }
    }
    found
}

/// macOS has a `/usr/bin/machine` of its own, which prints the processor's type.
fn shadowed(context: &Context) -> Option<Check> {
    let first = context.runner.find("machine")?;
    let own = std::fs::canonicalize(&context.binary).ok()?;
    let differs = std::fs::canonicalize(&first).ok()? != own;
    differs.then(|| {
        remark(
            "PATH",
            format!("`machine` on PATH is `{}`, not this program, `{}`", first.display(), own.display()),
        )
    })
}
