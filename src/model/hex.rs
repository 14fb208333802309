//! Bytes as a person or a file shows them.
//!
//! Enters: bytes, such as a digest. Leaves: two lower-case hexadecimal digits for each.

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!((hex(&[0, 15, 255]), hex(&[])), ("000fff".into(), String::new()));
    }
}
