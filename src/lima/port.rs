//! The fixed port that reaches a machine's sshd.
//!
//! Enters: the ports of all other machines, stopped ones included. Leaves: one that nobody else has.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::model::SSH_PORTS;

/// Whether nobody on this host listens on the port. Another `machine` that looks at this very moment is nobody.
pub fn is_free(port: u16) -> bool {
    (0..3).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(30));
        }
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    })
}

/// The lowest port that no machine has and nobody listens on.
pub fn choose_port(taken: &[u16]) -> Result<u16> {
    let free = SSH_PORTS.into_iter().find(|port| !taken.contains(port) && is_free(*port));
    free.ok_or_else(|| {
        let (first, last) = (SSH_PORTS.start(), SSH_PORTS.end());
        Failure::operation(format!("no free port between {first} and {last} on 127.0.0.1"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_given_twice_nor_taken_from_a_stranger() {
        let first = choose_port(&[]).expect("a port");
        let second = choose_port(&[first]).expect("another port");
        assert!(SSH_PORTS.contains(&first) && second > first);
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, second)).expect("bound");
        assert!(!is_free(second));
        assert_ne!(choose_port(&[first]).expect("a third port"), second);
        drop(stranger);
    }
}
