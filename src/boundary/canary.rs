//! Listeners of our own on this computer, for the length of a probe: what a guest must not reach.
//!
//! Enters: addresses, and a word for each who may come. Leaves: who came, by what was heard here and not by what a guest
//! says about it. Each listener is first reached by ourselves: one that does not hear us proves nothing.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A way from a guest to this computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// 127.0.0.1.
    Loopback4,
    /// `::1`.
    Loopback6,
    /// The IPv4 address that this computer has in its network.
    Address4,
    /// The IPv6 address.
    Address6,
}

/// Who may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// We ourselves.
    Host,
    /// The guest's login user.
    User,
    /// The guest's root, past the rules inside the guest.
    Root,
}

/// What each says who comes; nobody else can know it.
#[derive(Clone, Debug)]
pub struct Words {
    /// Ours.
    pub host: String,
    /// The login user's.
    pub user: String,
    /// Root's.
    pub root: String,
}

/// Where one listener stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// By which way.
    pub way: Way,
    /// Its address on this computer.
    pub address: IpAddr,
    /// Its TCP port.
    pub tcp: u16,
    /// Its UDP port.
    pub udp: u16,
}

/// Who was heard, by which way.
pub type Heard = BTreeSet<(Way, Who)>;

/// The listeners, until dropped.
pub struct Canaries {
    /// Where they stand.
    pub stands: Vec<Stand>,
    words: Words,
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// The longest a connection may keep a listener waiting for its word.
const PATIENCE: Duration = Duration::from_millis(400);
/// Connections that one listener hears out, so that a guest that opens many and says nothing does not keep us.
const VISITS: usize = 50;

/// This computer's own addresses: those that packets to the outside would come from. Nothing is sent.
pub fn own_addresses() -> Vec<(Way, IpAddr)> {
    let from = |local: IpAddr, outside: SocketAddr| {
        let socket = UdpSocket::bind((local, 0)).ok()?;
        socket.connect(outside).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
    };
    let any4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    // Addresses for documentation (RFC 5737, RFC 3849), which are nobody's.
    let outside4 = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), 9);
    let outside6 = SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), 9);
    let found = [(Way::Address4, from(any4, outside4)), (Way::Address6, from(any6, outside6))];
    found.into_iter().filter_map(|(way, address)| Some((way, address?))).collect()
}

impl Canaries {
    /// Listens on both loopback addresses and on `own`; an address that this computer does not have is left out.
    pub fn open(own: &[(Way, IpAddr)], words: Words) -> Self {
        let loopback =
            [(Way::Loopback4, Ipv4Addr::LOCALHOST.into()), (Way::Loopback6, Ipv6Addr::LOCALHOST.into())];
        let (heard, stop) = (Arc::new(Mutex::new(Heard::new())), Arc::new(AtomicBool::new(false)));
        let (mut stands, mut threads) = (Vec::new(), Vec::new());
        for (way, address) in loopback.into_iter().chain(own.iter().copied()) {
            let Ok((stand, tcp, udp)) = bind(way, address) else { continue };
            let listener = Listener { way, words: words.clone(), heard: Arc::clone(&heard) };
            let stopped = Arc::clone(&stop);
            stands.push(stand);
            threads.push(thread::spawn(move || listener.listen(&tcp, &udp, &stopped)));
        }
        Self { stands, words, heard, stop, threads }
    }

    /// Comes ourselves: the positive control.
    pub fn visit(&self) {
        let word = format!("{}\n", self.words.host);
        for stand in &self.stands {
            let to = SocketAddr::new(stand.address, stand.tcp);
            // One that cannot be reached is not heard, which is what is asked here.
            let _ = TcpStream::connect_timeout(&to, PATIENCE)
                .and_then(|mut stream| stream.write_all(word.as_bytes()));
        }
    }

    /// Ends, and tells who was heard.
    pub fn close(mut self) -> Heard {
        self.end();
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in a listener must not become one here.
            let _ = thread.join();
        }
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        self.end();
    }
}

fn bind(way: Way, address: IpAddr) -> std::io::Result<(Stand, TcpListener, UdpSocket)> {
    let tcp = TcpListener::bind((address, 0))?;
    let udp = UdpSocket::bind((address, 0))?;
    tcp.set_nonblocking(true)?;
    udp.set_nonblocking(true)?;
    let stand = Stand { way, address, tcp: tcp.local_addr()?.port(), udp: udp.local_addr()?.port() };
    Ok((stand, tcp, udp))
}

struct Listener {
    way: Way,
    words: Words,
    heard: Arc<Mutex<Heard>>,
}

impl Listener {
    fn listen(&self, tcp: &TcpListener, udp: &UdpSocket, stop: &AtomicBool) {
        let mut visits = 0;
        // What has arrived when the end comes is heard still.
        loop {
            let last = stop.load(Ordering::Relaxed);
            let mut bytes = [0u8; 64];
            let mut idle = true;
            while let Ok((stream, _)) = tcp.accept() {
                idle = false;
                visits += 1;
                self.hear_stream(stream, visits);
            }
            while let Ok(count) = udp.recv(&mut bytes) {
                idle = false;
                self.hear(&bytes[..count]);
            }
            if last {
                return;
            }
            if idle {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn hear_stream(&self, mut stream: TcpStream, visits: usize) {
        if visits > VISITS {
            return;
        }
        let mut bytes = [0u8; 64];
        let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        if let Ok(count) = ready.and_then(|()| stream.read(&mut bytes)) {
            self.hear(&bytes[..count]);
        }
    }

    fn hear(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let who = match text.trim_end() {
            word if word == self.words.host => Who::Host,
            word if word == self.words.user => Who::User,
            word if word == self.words.root => Who::Root,
            // Somebody else of this computer, who has nothing to do with it.
            _ => return,
        };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert((self.way, who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canaries() -> Canaries {
        let [host, user, root] = ["host", "user", "root"].map(String::from);
        Canaries::open(&[], Words { host, user, root })
    }

    fn stand(canaries: &Canaries) -> Stand {
        *canaries.stands.iter().find(|stand| stand.way == Way::Loopback4).expect("127.0.0.1")
    }

    #[test]
    fn only_who_came_is_heard_and_only_by_its_word() {
        let canaries = canaries();
        assert!(canaries.stands.iter().all(|stand| stand.tcp > 0 && stand.udp > 0));
        let stand = stand(&canaries);
        for word in ["stranger\n", "use", ""] {
            let mut stream = TcpStream::connect((stand.address, stand.tcp)).expect("connected");
            stream.write_all(word.as_bytes()).expect("said");
        }
        canaries.visit();
        let heard: Vec<Who> =
            canaries.close().into_iter().filter(|(way, _)| *way == stand.way).map(|(_, who)| who).collect();
        assert_eq!(heard, [Who::Host]);
    }

    #[test]
    fn a_datagram_is_heard_too() {
        let canaries = canaries();
        let stand = stand(&canaries);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.send_to(b"root\n", (stand.address, stand.udp)).expect("sent");
        thread::sleep(Duration::from_millis(50));
        assert!(canaries.close().contains(&(Way::Loopback4, Who::Root)));
    }
}
