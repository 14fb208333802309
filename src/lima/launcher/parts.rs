//! What the launcher does besides becoming QEMU, each in a process of its own: the namespaces before it, the helper beside
//! it, the two steps of that helper that need another identity.
//!
//! Enters: command lines of our own. Leaves: this process as another program, or an end.

use std::ffi::OsString;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keeper::{
    self, Keeper, end_with_parent, hand_over, is_kept, standard_input, wait_for_network, wanted_rules,
};
use super::{Enclosure, PART, namespace, read_launch, runner};
use crate::disk;
use crate::failure::{Context, Failure, Result};
use crate::process::{Cmd, Runner, replace};

const TUN: &str = "/dev/net/tun";
/// What QEMU's user-mode network asks inside: the relay, which asks outside.
const RESOLV_CONF: &[u8] = b"# Name look-ups are answered by a helper of this machine, outside its namespace.\nnameserver 127.0.0.1\n";
/// How long loading a few rules may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Runs one part.
///
/// # Errors
/// When it cannot do its work. Success of `try` is an answer; the others become another program.
pub(super) fn run(argv0: &Path, args: &[OsString]) -> Result<()> {
    let text = |index: usize| args.get(index).and_then(|arg| arg.to_str()).unwrap_or_default();
    let path = |index: usize| args.get(index).map(PathBuf::from).unwrap_or_default();
    let pid = |index: usize| text(index).parse::<i32>().ok().ok_or_else(|| unknown(args));
    match text(0) {
        name @ ("keep" | "take-over") => {
            let port = text(3).parse().ok().ok_or_else(|| unknown(args))?;
            let keeper = Keeper { link: argv0.to_owned(), instance: path(1), qemu: pid(2)?, port };
            if name == "keep" { keeper.keep(&runner()) } else { keeper.take_over(runner()) }
        }
        "name-server" => {
            namespace::join(pid(1)?)?;
            let (udp, tcp) = namespace::bind_name_server()?;
            hand_over(&standard_input()?, &udp, &tcp)
        }
        "pasta" => {
            end_with_parent(pid(1)?)?;
            Err(replace(&path(2), args.get(3..).unwrap_or_default()))
        }
        "rules" => {
            namespace::join(pid(1)?)?;
            namespace::lend_rights()?;
            Err(replace(&path(2), &["-f", "-"].map(OsString::from)))
        }
        "try" => try_out(&path(1)),
        _ => Err(unknown(args)),
    }
}

fn unknown(args: &[OsString]) -> Failure {
    Failure::usage(format!("the launcher has no part `{PART} {args:?}`"))
}

/// Finds out by doing it whether a machine can be enclosed here: `nft` is the program for the rules.
fn try_out(nft: &Path) -> Result<()> {
    let tun = std::fs::OpenOptions::new().read(true).write(true).open(TUN);
    tun.map(|_| ()).because(|| format!("`{TUN}` cannot be opened"))?;
    namespace::enter(Path::new("/dev/null"))?;
    namespace::lend_rights()?;
    load(nft, "table inet enclosure\n")
}

fn load(nft: &Path, rules: &str) -> Result<()> {
    let cmd = Cmd::new(nft).args(["-f", "-"]).input(rules).time_limit(LIMIT);
    runner().run(&cmd).map_err(|failure| failure.because("the kernel does not take network rules from you"))
}

/// Encloses this process: its own network, with pasta at the other end and the rules in between, and no rights left.
///
/// # Errors
/// When any of it fails, with pasta's own words. The process should end then, and its helper does.
pub(super) fn enclose(argv0: &Path, instance: &Path, port: u16, enclosure: &Enclosure) -> Result<()> {
    let resolv_conf = instance.join("resolv.conf");
    disk::write_atomic(&resolv_conf, RESOLV_CONF, 0o644)?;
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let keeper = Keeper { link: argv0.to_owned(), instance: instance.to_owned(), qemu: own, port };
    let (mut near, far) = UnixStream::pair().because(|| "failed to make a pair of sockets")?;
    // While this process is still outside: there the helper stays.
    runner().attach(&keeper.command("keep"), far.into(), &keeper::open_log(instance)?)?;
    let rules = wanted_rules(enclosure, port)?;
    namespace::enter(&resolv_conf)?;
    let (udp, tcp): (UdpSocket, TcpListener) = namespace::bind_name_server()?;
    namespace::lend_rights()?;
    load(&enclosure.nft, &rules)?;
    hand_over(&near, &udp, &tcp)?;
    wait_for_network(&mut near)?;
    namespace::drop_rights()
}

/// Has another helper take over where that of a running QEMU was killed; says whether it was.
///
/// # Errors
/// When none can be started.
pub fn keep_enclosed(link: &Path, instance: &Path, qemu: i32, port: u16, host: &Runner) -> Result<bool> {
    let is_enclosed = read_launch(instance).is_ok_and(|launch| launch.enclosure.is_some());
    if !is_enclosed || is_kept(instance)? {
        return Ok(false);
    }
    let keeper = Keeper { link: link.to_owned(), instance: instance.to_owned(), qemu, port };
    let log = disk::open_log(&instance.join("network.log"))?;
    host.detach(&keeper.command("take-over"), &log).map(|_child| true)
}
