//! Conversations of OpenSSH's own programs, for the tests of this room.
//!
//! Enters: recorded.txt. Leaves: what was asked in each connection, in order. Only tests know it.

const TEXT: &str = include_str!("recorded.txt");

/// What was asked in the connection of a number.
pub(super) fn asked(connection: u8) -> Vec<Vec<u8>> {
    let prefix = format!("{connection} ask ");
    TEXT.lines().filter_map(|line| line.strip_prefix(&prefix)).map(bytes).collect()
}

/// Every message of either side.
pub(super) fn messages() -> Vec<Vec<u8>> {
    let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(' ').next()).map(bytes).collect()
}

/// The first two keys that the recorded agent held.
pub(super) fn identities() -> Vec<u8> {
    let line = TEXT.lines().find(|line| line.contains("answer 0c")).expect("recorded");
    bytes(line.rsplit(' ').next().expect("hexadecimal"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}
