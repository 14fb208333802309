//! Who is at the other end of a Unix socket.
//!
//! Enters: a connected stream. Leaves: the process and its user, where the system tells.

use std::os::unix::net::UnixStream;

/// A process that has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user when it connected.
    pub uid: u32,
    /// Its pid then.
    pub pid: i32,
}

/// The process that has connected. macOS tells it by a call that needs `unsafe`, so there the folder's mode decides.
#[cfg(target_os = "linux")]
pub fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let found = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(Peer { uid: found.uid.as_raw(), pid: found.pid.as_raw_nonzero().get() })
}

/// The process that has connected. macOS tells it by a call that needs `unsafe`, so there the folder's mode decides.
#[cfg(not(target_os = "linux"))]
pub const fn peer_of(_stream: &UnixStream) -> Option<Peer> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_where_the_system_tells() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let own = rustix::process::geteuid().as_raw();
        let own = cfg!(target_os = "linux").then(|| Peer { uid: own, pid: std::process::id().cast_signed() });
        assert_eq!(peer_of(&one), own);
    }
}
