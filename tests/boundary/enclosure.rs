//! The launcher, `pasta` and `nft` for real, with a script in the place of QEMU: what it may do, whom it reaches, and what
//! is left of its helpers when it ends. No machine is booted.
//!
//! Whatever is refused here is also tried with its door open, so that a broken fixture cannot pass.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::folders::is_root;
use crate::world::{skip, wait_until};

const PROBE: &str = include_str!("../guest/probe.pl");
const MACHINE: &str = env!("CARGO_BIN_EXE_machine");

/// `ask.pl PROTOCOL SERVER`: asks a name server for those of the root.
const ASK: &str = r#"use strict;
use IO::Socket::INET;
my ($protocol, $server) = @ARGV;
alarm 5;
my $question = "Mk\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1";
my $answer = '';
my $socket = IO::Socket::INET->new(PeerAddr => $server, PeerPort => 53, Proto => $protocol) or exit 1;
if ($protocol eq 'udp') {
    $socket->send($question);
    $socket->recv($answer, 512);
} else {
    print {$socket} pack 'n/a*', $question;
    $socket->flush;
    read $socket, my $length, 2;
    read $socket, $answer, unpack 'n', $length;
}
print "answered by $protocol\n" if $answer =~ /^Mk/;
"#;

/// Says what QEMU would be and reach, and once more when it is told that something has changed.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
case "$*" in *'-accel help') exit 1 ;; esac
probe() { echo "$1 $2 $(perl probe.pl "$@")"; }
grep '^Cap[IPEA]' /proc/self/status | tr -d '\t' | sed 's/0*$/0/'
grep '^NoNewPrivs' /proc/self/status | tr -d '\t'
echo "network $(readlink /proc/self/ns/net)"
look() {
  perl ask.pl udp 127.0.0.1
  perl ask.pl tcp 127.0.0.1
  while read -r protocol address port; do probe "$protocol" "$address" "$port"; done <targets
  echo done
}
look
until [ -e again ]; do sleep 0.1; done
look
exec sleep 60
"#;

/// A program that QEMU's launcher encloses, and listeners of this computer for it to try.
struct Enclosed {
    folder: tempfile::TempDir,
    /// Where the listeners are, and where its sshd would be.
    port: u16,
    sshd: u16,
    own: Option<IpAddr>,
    child: Option<Child>,
}

impl Drop for Enclosed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Enclosed {
    /// `None` where a machine cannot be enclosed, for which the launcher's own trial says why.
    fn new() -> Option<Self> {
        if is_root() {
            skip(
                "pasta gives root's rights up, and nobody's are not enough for it; Lima refuses root anyway",
            );
            return None;
        }
        let Some(nft) = find("nft").filter(|_| find("pasta").is_some()) else {
            skip("pasta or nft is not installed");
            return None;
        };
        let tried = Command::new(MACHINE).args(["launcher-part", "try"]).arg(nft).output().expect("started");
        if !tried.status.success() {
            skip(&String::from_utf8_lossy(&tried.stderr));
            return None;
        }
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        for name in ["launcher/bin", "blog"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let enclosed = Self { port: listen(), sshd: free_port(), own: own_address(), child: None, folder };
        let qemu = enclosed.path("qemu");
        enclosed.put("qemu", SCRIPT);
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("executable");
        enclosed.put("probe.pl", PROBE);
        enclosed.put("ask.pl", ASK);
        enclosed.put("launcher/launcher.json", &json!({"qemu": qemu}).to_string());
        symlink(MACHINE, enclosed.path("launcher/bin/qemu-system-x86_64")).expect("a link");
        Some(enclosed)
    }

    fn kill(&mut self) {
        let child = self.child.as_mut().expect("running");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// What the next start, or the running one, is to open.
    fn open(&self, host: bool) {
        let openings = json!({"host": host, "lan": false, "doors": []});
        let enclosure = json!({"pasta": find("pasta"), "nft": find("nft"), "openings": openings});
        self.put("blog/launch.json", &json!({"engine": "tcg", "enclosure": enclosure}).to_string());
    }

    /// Starts the script as Lima starts QEMU; what it says until it is done.
    fn start(&mut self, host: bool) -> (Vec<String>, impl FnMut() -> Vec<String> + use<>) {
        self.open(host);
        let own = self.own.map(|own| format!("tcp {own} {0}\nudp {own} {0}\n", self.port));
        let others = "tcp 10.0.0.1 80\ntcp 192.168.7.7 80\ntcp 169.254.169.254 80\ntcp ::ffff:10.0.0.1 80\n";
        let targets =
            format!("tcp 127.0.0.1 {0}\nudp 127.0.0.1 {0}\n{1}{others}", self.port, own.unwrap_or_default());
        self.put("targets", &targets);
        let forward = format!("user,id=net0,hostfwd=tcp:127.0.0.1:{}-:22", self.sshd);
        let mut command = Command::new(self.path("launcher/bin/qemu-system-x86_64"));
        command.args(["-netdev", &forward, "-pidfile"]).arg(self.path("blog/qemu.pid"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        self.child = Some(child);
        let mut read = move || {
            let lines = lines.by_ref().map(|line| line.expect("a line"));
            lines.take_while(|line| line != "done").collect::<Vec<_>>()
        };
        (read(), read)
    }

    /// The processes that belong to it, itself aside.
    fn helpers(&self) -> Vec<u32> {
        let own = self.child.as_ref().map_or(0, Child::id).to_string();
        let folder = self.folder.path().to_string_lossy().into_owned();
        let processes = fs::read_dir("/proc").expect("processes").flatten().filter_map(|entry| {
            let pid = entry.file_name().to_string_lossy().parse().ok()?;
            Some((pid, fs::read_to_string(entry.path().join("cmdline")).ok()?))
        });
        let is_helper = |line: &str| {
            let is_keeper = line.contains("\0keep\0") || line.contains("\0take-over\0");
            (line.contains(&folder) && is_keeper)
                || (line.contains("pasta") && line.ends_with(&format!("\0{own}\0")))
        };
        processes.filter(|(_, line)| is_helper(line)).map(|(pid, _)| pid).collect()
    }

    /// Has another helper take over, as `machine` does when nobody answers.
    fn take_over(&self) -> Child {
        let mut command = Command::new(self.path("launcher/bin/qemu-system-x86_64"));
        let own = self.child.as_ref().map_or(0, Child::id).to_string();
        command
            .args(["launcher-part", "take-over"])
            .arg(self.path("blog"))
            .args([own, self.sshd.to_string()]);
        command.stdin(Stdio::null()).spawn().expect("started")
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// Below those that the kernel gives to connections: one that is given up for a moment must be there again.
fn free_port() -> u16 {
    let drawn = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let mut ports = (0..8_000).map(|step| 21_000 + (drawn % 8_000 + step) % 8_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port")
}

/// Answers `here` at every address of this computer for as long as the test lasts; the port of TCP and UDP.
fn listen() -> u16 {
    let stream = TcpListener::bind("0.0.0.0:0").expect("a listener");
    let port = stream.local_addr().expect("its address").port();
    let datagrams = UdpSocket::bind(("0.0.0.0", port)).expect("a listener");
    std::thread::spawn(move || stream.incoming().flatten().for_each(|mut one| drop(one.write_all(b"here"))));
    std::thread::spawn(move || {
        while let Ok((_, asker)) = datagrams.recv_from(&mut [0; 16]) {
            let _ = datagrams.send_to(b"here", asker);
        }
    });
    port
}

/// This computer's address on its network; `None` without one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|own| !own.is_loopback() && !own.is_unspecified())
}

/// The lines about an address.
fn about<'a>(said: &'a [String], address: &str) -> Vec<&'a str> {
    let word = format!(" {address} ");
    said.iter().filter(|line| line.contains(&word)).map(String::as_str).collect()
}

#[test]
fn it_has_no_rights_and_reaches_neither_host_nor_neighbours() {
    let Some(mut enclosed) = Enclosed::new() else { return };
    let (said, _) = enclosed.start(false);
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(said.contains(&format!("{name}:0")), "{said:#?}");
    }
    assert!(said.contains(&"NoNewPrivs:1".to_string()), "{said:#?}");
    let ours = fs::read_link("/proc/self/ns/net").expect("a network");
    let network = said.iter().find(|line| line.starts_with("network net:")).expect("a network");
    assert!(!network.contains(&*ours.to_string_lossy()), "{network}");
    let is_closed = |address: &str| {
        let lines = about(&said, address);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("closed")), "{said:#?}");
    };
    for address in ["127.0.0.1", "10.0.0.1", "192.168.7.7", "169.254.169.254", "::ffff:10.0.0.1"] {
        is_closed(address);
    }
    // By a rule, at once, and not by silence.
    assert!(about(&said, "10.0.0.1")[0].contains("No route to host"), "{said:#?}");
    let _ = enclosed.own.map(|own| is_closed(&own.to_string()));
}

#[test]
fn what_is_opened_is_reached_and_closes_again_while_it_runs() {
    let Some(mut enclosed) = Enclosed::new() else { return };
    let (said, mut again) = enclosed.start(true);
    assert_eq!(about(&said, "127.0.0.1"), ["tcp 127.0.0.1 open", "udp 127.0.0.1 open"], "{said:#?}");
    let Some(own) = enclosed.own.map(|own| own.to_string()) else { return };
    assert_eq!(about(&said, &own), [format!("tcp {own} open"), format!("udp {own} open")], "{said:#?}");
    assert!(about(&said, "10.0.0.1")[0].contains("closed"), "{said:#?}");
    enclosed.open(false);
    // The helper looks every two seconds.
    std::thread::sleep(std::time::Duration::from_secs(5));
    enclosed.put("again", "");
    let said = again();
    assert!(about(&said, &own).iter().all(|line| line.contains("closed")), "{said:#?}");
    // To its own loopback pasta still leads, as it did when it was started.
    assert!(about(&said, "127.0.0.1").iter().all(|line| line.contains("closed")), "{said:#?}");
}

#[test]
fn names_are_looked_up_where_the_computer_does() {
    let Some(mut enclosed) = Enclosed::new() else { return };
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = text.lines().find_map(|line| line.strip_prefix("nameserver ")).unwrap_or("127.0.0.1");
    let answers = |protocol: &&str| {
        let asked = Command::new("perl").arg(enclosed.path("ask.pl")).args([protocol, server]).output();
        !asked.expect("asked").stdout.is_empty()
    };
    let outside: Vec<&str> = ["udp", "tcp"].into_iter().filter(answers).collect();
    if outside.is_empty() {
        return skip("no name server answers this computer");
    }
    let (said, _) = enclosed.start(false);
    for protocol in outside {
        assert!(said.contains(&format!("answered by {protocol}")), "{said:#?}");
    }
}

#[test]
fn its_helpers_end_with_it_however_it_ends() {
    let Some(mut enclosed) = Enclosed::new() else { return };
    let _said = enclosed.start(false);
    assert_eq!(enclosed.helpers().len(), 2, "one that keeps its network, and pasta");
    enclosed.kill();
    wait_until("its helpers have ended", || enclosed.helpers().is_empty());
}

#[test]
fn another_helper_takes_over_from_one_that_was_killed() {
    let Some(mut enclosed) = Enclosed::new() else { return };
    let (said, mut again) = enclosed.start(false);
    let mut needless = enclosed.take_over();
    assert!(needless.wait().expect("ended").success(), "there is one");
    assert_eq!(enclosed.helpers().len(), 2);
    for pid in enclosed.helpers() {
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
    wait_until("its helpers have ended", || enclosed.helpers().is_empty());
    let mut helper = enclosed.take_over();
    wait_until("there are two again", || enclosed.helpers().len() == 2);
    wait_until("sshd's port leads inside", || TcpStream::connect(("127.0.0.1", enclosed.sshd)).is_ok());
    let routes = format!("/proc/{}/net/route", enclosed.child.as_ref().map_or(0, Child::id));
    let leads_out = |line: &str| line.split('\t').nth(1) == Some("00000000");
    wait_until("a route leads out", || {
        fs::read_to_string(&routes).is_ok_and(|text| text.lines().any(leads_out))
    });
    enclosed.put("again", "");
    // Names and what is closed are as they were.
    let first = said.iter().skip_while(|line| line.starts_with("Cap") || line.starts_with("NoNew"));
    assert_eq!(again(), first.filter(|line| !line.starts_with("network ")).cloned().collect::<Vec<_>>());
    enclosed.kill();
    assert!(helper.wait().expect("ended").success());
    wait_until("its helpers have ended", || enclosed.helpers().is_empty());
}
