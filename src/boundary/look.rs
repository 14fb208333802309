//! Looking at the host: files, routes, ports. No program is started and nothing is changed.
//!
//! Enters: paths, addresses, output of `ssh -G`. Leaves: observations, empty where something could not be looked at.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::observed::{Cidata, Mode, Private};
use crate::layout::Layout;

/// Something on this computer or in its network answers within this time, or is taken as not there.
const PATIENCE: Duration = Duration::from_millis(500);
/// What always stands on the disk that Lima hands to a guest (cidata.go).
const IN_CIDATA: &str = "LIMA_CIDATA_USER=dev";
/// Lima's data is some 200 KB; a larger file is not it.
const CIDATA_LIMIT: u64 = 16 << 20;

/// The files and folders of ours that a machine rests on, those that are there.
pub fn look_at_modes(layout: &Layout, name: &str, id: &str) -> Vec<Mode> {
    let sockets = layout.sockets(id);
    let paths = [
        layout.data.clone(),
        layout.lima_home(),
        layout.lima_key(),
        layout.instance(name).join("lima.yaml"),
        sockets.join("agent"),
        sockets.join("mux"),
        sockets.join("known_hosts"),
        sockets.join("config"),
        sockets,
        layout.state.clone(),
        layout.machine(name),
        layout.machine(name).join("machine.json"),
        layout.machine(name).join("rendered.yaml"),
        layout.ssh_hosts(),
    ];
    let ours = rustix::process::geteuid().as_raw();
    paths.into_iter().filter_map(|path| look_at_mode(path, ours)).collect()
}

fn look_at_mode(path: PathBuf, ours: u32) -> Option<Mode> {
    let metadata = std::fs::symlink_metadata(&path).ok()?;
    Some(Mode { bits: metadata.permissions().mode() & 0o7777, own: metadata.uid() == ours, path })
}

/// Looks for private texts in every byte of the disk that Lima hands to the guest.
pub fn look_at_cidata(path: &Path, private: &[Private]) -> Option<Cidata> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(CIDATA_LIMIT).read_to_end(&mut bytes).ok()?;
    let holds = |text: &str| bytes.windows(text.len().max(1)).any(|window| window == text.as_bytes());
    let leaks = private.iter().filter(|private| holds(&private.text)).map(|private| private.what.clone());
    Some(Cidata { readable: holds(IN_CIDATA), leaks: leaks.collect() })
}

/// Reads what `ssh -G` prints: an option and its value a line.
pub fn read_ssh_options(output: &str) -> Vec<(String, String)> {
    let lines = output.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(key, value)| (key.to_ascii_lowercase(), value.to_string())).collect()
}

/// The router of this computer, as Linux tells it; nothing elsewhere.
pub fn default_router() -> Option<Ipv4Addr> {
    parse_route(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// Reads `/proc/net/route`: addresses are hexadecimal, in the processor's order, which is little-endian on both of ours.
fn parse_route(table: &str) -> Option<Ipv4Addr> {
    let gateway = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        let [_, "00000000", gateway] = words[..] else { return None };
        u32::from_str_radix(gateway, 16).ok().filter(|address| *address != 0)
    };
    table.lines().find_map(gateway).map(|address| Ipv4Addr::from(address.swap_bytes()))
}

/// The first of these ports at which somebody answers.
pub fn first_open_port(address: IpAddr, ports: &[u16]) -> Option<SocketAddr> {
    ports.iter().map(|port| SocketAddr::new(address, *port)).find(|address| is_open(*address))
}

/// Whether somebody answers at a TCP address.
pub fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

/// The addresses of this computer at which somebody says `word`, on any of these ports, by TCP or UDP.
pub fn look_at_ports(own: &[IpAddr], ports: &[u16], word: &str) -> Vec<SocketAddr> {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    let hosts = loopback.into_iter().chain(own.iter().copied());
    let all = hosts.flat_map(|host| ports.iter().map(move |port| SocketAddr::new(host, *port)));
    all.filter(|address| {
        let answers = [greet_stream(*address), greet_datagram(*address)];
        answers.into_iter().flatten().any(|answer| answer.trim_end() == word)
    })
    .collect()
}

fn greet_stream(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = [0u8; 64];
    let count = stream.read(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

/// A port without a listener refuses at once, on this computer's own addresses.
fn greet_datagram(address: SocketAddr) -> std::io::Result<String> {
    let any =
        if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?\n")?;
    let mut bytes = [0u8; 64];
    let count = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::write_atomic;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn the_router_is_that_of_the_default_route() {
        let table = "Iface\tDestination\tGateway\tFlags\neth0\t0002A8C0\t00000000\t0001\neth0\t00000000\t0102A8C0\t0003\n";
        assert_eq!(parse_route(table), Some(Ipv4Addr::new(192, 168, 2, 1)));
        assert_eq!(parse_route("Iface\tDestination\tGateway\ntun0\t00000000\t00000000\n"), None);
    }

    #[test]
    fn a_leak_in_limas_data_is_found_and_a_strange_file_is_not_called_clean() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cidata.iso");
        let private = [Private { what: "your home folder".into(), text: "/home/me".into() }];
        assert_eq!(look_at_cidata(&file, &private), None);
        write_atomic(&file, b"\0LIMA_CIDATA_USER=dev\0", 0o600).expect("written");
        assert_eq!(look_at_cidata(&file, &private), Some(Cidata { readable: true, leaks: Vec::new() }));
        write_atomic(&file, b"\0\xff/home/me/x", 0o600).expect("written");
        let found = look_at_cidata(&file, &private).expect("read");
        assert_eq!(found, Cidata { readable: false, leaks: vec!["your home folder".into()] });
    }

    #[test]
    fn a_guests_listener_is_known_by_its_word() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let answering = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                stream.expect("a connection").write_all(b"word\n").expect("said");
            }
        });
        assert!(look_at_ports(&[], &[port], "other").is_empty());
        assert_eq!(look_at_ports(&[], &[port], "word"), [SocketAddr::from(([127, 0, 0, 1], port))]);
        answering.join().expect("answered");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        let answering = std::thread::spawn(move || {
            let (_, from) = socket.recv_from(&mut [0u8; 8]).expect("greeted");
            socket.send_to(b"word\n", from).expect("said");
        });
        assert_eq!(look_at_ports(&[], &[port], "word").len(), 1);
        answering.join().expect("answered");
    }

    #[test]
    fn only_what_is_there_is_looked_at() {
        let home = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(home.path(), |_| None);
        assert!(look_at_modes(&layout, "blog", "1").is_empty());
        crate::disk::ensure_private_folder(&layout.data).expect("a folder");
        let found = look_at_modes(&layout, "blog", "1");
        assert_eq!(found, [Mode { path: layout.data.clone(), bits: 0o700, own: true }]);
    }
}
