//! Name resolution for a namespace: what is asked inside is asked again outside, of the computer's own resolver, wherever
//! that listens.
//!
//! Enters: sockets that are bound inside. Leaves: nothing; threads that answer for as long as the process lives.
//! The resolver's address is read for each question, so that a new network's counts at once.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::disk;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// How long a name server may take before the next one is asked. The guest asks again after five seconds.
const LIMIT: Duration = Duration::from_secs(2);
/// Questions at a time, of each kind; a guest that floods waits for itself alone.
const AT_A_TIME: usize = 64;
/// The most that UDP can carry here.
const DATAGRAM: usize = 65_535;

/// Answers until the process ends.
pub(super) fn start(udp: UdpSocket, tcp: TcpListener) {
    std::thread::spawn(move || answer_datagrams(&Arc::new(udp)));
    std::thread::spawn(move || answer_connections(&tcp));
}

fn answer_datagrams(inside: &Arc<UdpSocket>) {
    let turns = Arc::new(());
    let mut question = vec![0; DATAGRAM];
    loop {
        let Ok((length, asker)) = inside.recv_from(&mut question) else { return };
        if Arc::strong_count(&turns) > AT_A_TIME {
            continue;
        }
        let (inside, turn, question) = (inside.clone(), turns.clone(), question[..length].to_vec());
        std::thread::spawn(move || {
            let answer = name_servers().into_iter().find_map(|server| ask(server, &question));
            // Nobody to tell: the guest's own resolver gives up in its time.
            let _ = answer.map(|answer| inside.send_to(&answer, asker));
            drop(turn);
        });
    }
}

/// Asks one name server; an answer to another question than ours is none.
fn ask(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { "[::]:0".parse().ok()? };
    let outside = UdpSocket::bind(any).ok()?;
    outside.set_read_timeout(Some(LIMIT)).ok()?;
    outside.connect(server).ok()?;
    outside.send(question).ok()?;
    let mut answer = vec![0; DATAGRAM];
    loop {
        let length = outside.recv(&mut answer).ok()?;
        if answer.get(..2) == question.get(..2) {
            answer.truncate(length);
            return Some(answer);
        }
    }
}

fn answer_connections(inside: &TcpListener) {
    let turns = Arc::new(());
    for asker in inside.incoming().flatten() {
        if Arc::strong_count(&turns) > AT_A_TIME {
            continue;
        }
        let turn = turns.clone();
        std::thread::spawn(move || {
            // A connection that breaks off is the asker's to repeat.
            let _ = converse(asker);
            drop(turn);
        });
    }
}

/// Passes questions and answers on, each behind its length (RFC 1035, section 4.2.2).
fn converse(mut asker: TcpStream) -> std::io::Result<()> {
    let connect = |server| TcpStream::connect_timeout(&server, LIMIT).ok();
    let Some(mut server) = name_servers().into_iter().find_map(connect) else { return Ok(()) };
    for stream in [&asker, &server] {
        stream.set_read_timeout(Some(LIMIT * 5))?;
        stream.set_write_timeout(Some(LIMIT))?;
    }
    loop {
        pass(&mut asker, &mut server)?;
        pass(&mut server, &mut asker)?;
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
    let mut length = [0; 2];
    from.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    from.read_exact(&mut message)?;
    to.write_all(&[&length[..], &message].concat())
}

fn name_servers() -> Vec<SocketAddr> {
    let text = disk::read_text_if_there(Path::new(RESOLV_CONF)).ok().flatten().unwrap_or_default();
    parse_name_servers(&text)
}

/// Reads `nameserver` lines; without one it is this computer itself (resolv.conf(5)).
fn parse_name_servers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let (word, rest) = line.trim_start().split_once(char::is_whitespace)?;
        let server = server(rest.split_whitespace().next()?, &interface_number)?;
        (word == "nameserver").then_some(server)
    };
    let mut found: Vec<SocketAddr> = text.lines().filter_map(address).take(3).collect();
    if found.is_empty() {
        found.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    found
}

/// A name server's address. One that counts on one link only names that: `fe80::1%wlan0`, or by its number.
fn server(text: &str, number_of: &dyn Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, link)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, PORT));
    };
    let scope = link.parse().ok().or_else(|| number_of(link))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into())
}

fn interface_number(name: &str) -> Option<u32> {
    if name.contains('/') {
        return None;
    }
    let text = disk::read_text_if_there(&Path::new("/sys/class/net").join(name).join("ifindex")).ok()??;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_a_link_keeps_its_link() {
        let of = |text: &str| server(text, &|name| (name == "wlan0").then_some(7)).map(|at| at.to_string());
        assert_eq!(of("fe80::1%wlan0").as_deref(), Some("[fe80::1%7]:53"));
        assert_eq!(of("fe80::1%3").as_deref(), Some("[fe80::1%3]:53"));
        assert_eq!((of("fe80::1%gone"), of("9.9.9.9%wlan0")), (None, None));
        assert_eq!(interface_number("lo"), Some(1));
    }

    #[test]
    fn name_servers_are_those_of_resolv_conf() {
        let text = "# nameserver 9.9.9.9\nsearch corp\nnameserver 127.0.0.53\n nameserver\t2001:db8::1 # x\nnameserver x\n";
        let shown: Vec<String> = parse_name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.53:53", "[2001:db8::1]:53"]);
        assert_eq!(parse_name_servers("options edns0\n")[0].to_string(), "127.0.0.1:53");
        assert_eq!(parse_name_servers(&"nameserver 1.1.1.1\n".repeat(9)).len(), 3);
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = server.local_addr().expect("an address");
        let serve = std::thread::spawn(move || {
            let mut question = [0; 16];
            let (_, asker) = server.recv_from(&mut question).expect("a question");
            server.send_to(b"\0\x09forged", asker).expect("sent");
            server.send_to(b"\0\x07answer", asker).expect("sent");
        });
        assert_eq!(ask(address, b"\0\x07question").as_deref(), Some(&b"\0\x07answer"[..]));
        serve.join().expect("served");
    }

    #[test]
    fn messages_over_tcp_are_passed_on_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let mut asker = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (mut inner, _) = listener.accept().expect("accepted");
        asker.write_all(b"\0\x03abc").expect("sent");
        let mut back = inner.try_clone().expect("a clone");
        pass(&mut inner, &mut back).expect("passed");
        let mut got = [0; 5];
        asker.read_exact(&mut got).expect("an answer");
        assert_eq!(&got, b"\0\x03abc");
    }
}
