//! The form of an encrypted memory: pieces that are sealed one after the other, the last one marked as such.
//!
//! Enters: bytes and a key. Leaves: the other form, or the refusal of anything that was cut, changed, moved or added.
//! The construction is libsodium's `secretstream` (XChaCha20-Poly1305); a key is used for one stream only.

use std::io::{self, ErrorKind, Read, Write};

use orion::hazardous::aead::streaming::{ABYTES, Nonce, SecretKey, StreamTag, StreamXChaCha20Poly1305};

/// What such a file begins with; sealed into every piece, so that another form can never be taken for this one.
const MAGIC: &[u8; 16] = b"machine memory 1";
/// Its length is that of a nonce of `XChaCha20`.
pub(super) const NONCE: usize = 24;
/// Bytes in a piece; less means that it was the last to come through the pipe at that moment.
const PIECE: usize = 256 * 1024;

/// Writes a stream: [`MAGIC`], the nonce, then pieces, each begun by its length in four bytes, the highest first. A piece is
/// a message of `secretstream` with [`MAGIC`] as its additional data; the last one is empty, and tagged as the end.
/// `tests/guest/open-memory.py` reads the same.
pub(super) struct Sealer<W> {
    to: W,
    stream: StreamXChaCha20Poly1305,
    written: u64,
}

fn refused<E>(_cause: E) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "its bytes are not those that were written, or not of this key")
}

impl<W: Write> Sealer<W> {
    /// Begins a stream.
    pub fn new(key: &SecretKey, nonce: &[u8; NONCE], mut to: W) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        to.write_all(nonce)?;
        let nonce = Nonce::try_from(nonce).map_err(refused)?;
        let written = (MAGIC.len() + NONCE) as u64;
        Ok(Self { to, stream: StreamXChaCha20Poly1305::new(key, &nonce), written })
    }

    /// Seals all that `from` has. The stream is not whole before [`Self::finish`].
    pub fn copy(&mut self, from: &mut impl Read) -> io::Result<()> {
        let mut piece = vec![0u8; PIECE];
        loop {
            let length = fill(from, &mut piece)?;
            if length == 0 {
                return Ok(());
            }
            self.seal(&piece[..length], StreamTag::Message)?;
        }
    }

    /// Ends the stream; how many bytes it has.
    pub fn finish(mut self) -> io::Result<u64> {
        self.seal(&[], StreamTag::Finish)?;
        self.to.flush()?;
        Ok(self.written)
    }

    fn seal(&mut self, piece: &[u8], tag: StreamTag) -> io::Result<()> {
        let mut sealed = vec![0u8; piece.len() + ABYTES];
        self.stream.seal_chunk(piece, Some(MAGIC), &mut sealed, &tag).map_err(refused)?;
        let length = u32::try_from(sealed.len()).map_err(refused)?;
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(&sealed)?;
        self.written += 4 + u64::from(length);
        Ok(())
    }
}

/// Opens a whole stream into `to`, piece by piece as each is proven.
///
/// # Errors
/// When it is not, to its very end, what was sealed with this key. What came before has been written by then.
pub(super) fn open(key: &SecretKey, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut head = [0u8; MAGIC.len() + NONCE];
    from.read_exact(&mut head)?;
    if head[..MAGIC.len()] != *MAGIC {
        return Err(refused(()));
    }
    let nonce = Nonce::try_from(&head[MAGIC.len()..]).map_err(refused)?;
    let mut stream = StreamXChaCha20Poly1305::new(key, &nonce);
    let (mut sealed, mut piece) = (vec![0u8; PIECE + ABYTES], vec![0u8; PIECE]);
    loop {
        let mut length = [0u8; 4];
        from.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(refused)?;
        let sealed = sealed.get_mut(..length).ok_or_else(|| refused(()))?;
        from.read_exact(sealed)?;
        let tag = stream.open_chunk(sealed, Some(MAGIC), &mut piece).map_err(refused)?;
        to.write_all(&piece[..length - ABYTES])?;
        if matches!(tag, StreamTag::Finish) {
            break;
        }
    }
    // Nothing may follow the end.
    let more = from.read(&mut [0u8; 1])?;
    if more == 0 { to.flush() } else { Err(refused(())) }
}

/// Fills the buffer, unless the end comes first.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::try_from(&[byte; 32]).expect("a key")
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sealer = Sealer::new(&key(1), &[2; NONCE], &mut bytes).expect("begun");
        sealer.copy(&mut &*plain).expect("sealed");
        let written = sealer.finish().expect("ended");
        assert_eq!(bytes.len() as u64, written);
        bytes
    }

    fn opened(bytes: &[u8], key: &SecretKey) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        open(key, &mut &*bytes, &mut plain).map(|()| plain)
    }

    /// Where each piece begins, its length included.
    fn pieces(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
        let (mut at, mut found) = (MAGIC.len() + NONCE, Vec::new());
        while at < bytes.len() {
            let length = bytes[at..at + 4].try_into().expect("four bytes");
            let end = at + 4 + u32::from_be_bytes(length) as usize;
            found.push(at..end);
            at = end;
        }
        found
    }

    #[test]
    fn long_and_empty_memories_come_back() {
        let long: Vec<u8> = (0..=255u8).cycle().take(3 * PIECE + 5).collect();
        for plain in [&long[..], &long[..PIECE], b"x", b""] {
            assert_eq!(opened(&sealed(plain), &key(1)).expect("opened"), plain);
        }
        assert!(!sealed(b"a canary of sixteen").windows(8).any(|window| window == b"a canary"));
    }

    #[test]
    fn pieces_that_are_moved_dropped_or_repeated_are_noticed() {
        let plain: Vec<u8> = (0..3u8).flat_map(|number| vec![number; PIECE]).collect();
        let whole = sealed(&plain);
        let ranges = pieces(&whole);
        assert_eq!(ranges.len(), 4);
        let head = &whole[..ranges[0].start];
        let made_of = |order: &[usize]| {
            let parts = order.iter().flat_map(|index| whole[ranges[*index].clone()].to_vec());
            head.iter().copied().chain(parts).collect::<Vec<u8>>()
        };
        assert!(opened(&made_of(&[0, 1, 2, 3]), &key(1)).is_ok());
        for order in
            [&[1, 0, 2, 3][..], &[0, 2, 3], &[0, 1, 1, 2, 3], &[0, 1, 2], &[3], &[], &[0, 1, 2, 3, 3]]
        {
            assert!(opened(&made_of(order), &key(1)).is_err(), "{order:?}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_a_cut_or_an_addition_is_noticed(
            plain in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let whole = sealed(&plain);
            let at = at.index(whole.len());
            prop_assert!(opened(&whole, &key(3)).is_err());
            prop_assert!(opened(&whole[..at], &key(1)).is_err());
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(opened(&flipped, &key(1)).is_err());
            let mut longer = whole;
            longer.push(bit);
            prop_assert!(opened(&longer, &key(1)).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let with_head = [&MAGIC[..], &bytes].concat();
            prop_assert!(opened(&bytes, &key(1)).is_err());
            prop_assert!(opened(&with_head, &key(1)).is_err());
        }
    }
}
