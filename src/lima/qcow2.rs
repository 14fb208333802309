//! Turns a qcow2 disk image into a sparse raw one: Lima's vz driver would convert a local qcow2 for every machine.
//!
//! Enters: the path of an image nobody vouches for. Leaves: a raw file, or a `Failure` and nothing on the disk.
//! Must not know where images come from. Holds a table and a cluster, plain and packed: 8 MiB at most.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::{Decompress, FlushDecompress};

use crate::failure::{Context, Failure, Result};

const MAGIC: [u8; 4] = *b"QFI\xfb";
/// 16 TiB; common file systems end there, too.
const MAX_SIZE: u64 = 16 << 40;
/// QEMU's own limit for the first-level table: 32 MiB of entries.
const MAX_L1_ENTRIES: u64 = 4 << 20;
/// The bits of a table entry that hold an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const READS_AS_ZEROS: u64 = 1;
/// The grain of holes in the raw file: the block size of the usual file systems.
const GRAIN: usize = 4096;

/// Whether the file begins like a qcow2 image; no for one that cannot be read.
pub fn is_qcow2(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == MAGIC
}

/// Writes the disk that the qcow2 image `from` holds to `to`, as raw bytes with holes where it is empty.
///
/// # Errors
/// When the image is damaged, needs another file or an unknown feature, or when `to` cannot be written; `to` then is
/// as it was, and nothing is left beside it.
pub fn to_raw(from: &Path, to: &Path) -> Result<()> {
    let attempt = || {
        let mut image = Image::open(from)?;
        // Dropped before it has its name, the temporary file is removed.
        let raw = tempfile::Builder::new().prefix(".tmp-").tempfile_in(to.parent().unwrap_or(Path::new("/")));
        let raw = raw.because(|| format!("failed to write `{}`", to.display()))?;
        image.copy_to(raw.as_file())?;
        let finish = raw.as_file().set_len(image.header.size).and_then(|()| raw.as_file().sync_all());
        let finish = finish.and_then(|()| raw.persist(to).map_err(|failed| failed.error));
        finish.because(|| format!("failed to write `{}`", to.display())).map(drop)
    };
    attempt().because(|| format!("failed to convert the image `{}` to raw", from.display()))
}

/// What the header says, checked.
struct Header {
    version: u64,
    cluster_bits: u64,
    cluster: usize,
    size: u64,
    l1_offset: u64,
}

impl Header {
    fn parse(bytes: &[u8; 112]) -> Result<Self> {
        let (version, cluster_bits) = (number(&bytes[4..8]), number(&bytes[20..24]));
        if bytes[..4] != MAGIC || !(2..=3).contains(&version) || !(9..=21).contains(&cluster_bits) {
            return Err(refused(
                "is not a qcow2 image of version 2 or 3 with clusters of 512 bytes to 2 MiB",
            ));
        }
        let (size, l1_offset) = (number(&bytes[24..32]), number(&bytes[40..48]));
        let header = Self { version, cluster_bits, cluster: 1 << cluster_bits, size, l1_offset };
        header.check(bytes).map(|()| header)
    }

    fn check(&self, bytes: &[u8; 112]) -> Result<()> {
        let (l1_entries, cluster) = (number(&bytes[36..40]), self.cluster as u64);
        // Version 2 ends at byte 72; what follows there are extensions.
        let is_new = self.version == 3;
        // Bit 0, "dirty", only says that the reference counts may be wrong, and none is looked at here.
        let features = if is_new { number(&bytes[72..80]) } else { 0 };
        let length = number(&bytes[100..104]);
        let is_odd = !(104..=cluster).contains(&length) || !length.is_multiple_of(8);
        let objections = [
            (number(&bytes[8..16]) != 0, "is only the difference to a backing file"),
            (number(&bytes[32..36]) != 0, "is encrypted"),
            (features & 1 << 1 != 0, "is marked as corrupt"),
            (features & 1 << 2 != 0, "keeps its data in another file"),
            (features & 1 << 3 != 0, "is compressed with zstd or something else that is not deflate"),
            (features & 1 << 4 != 0, "has extended L2 entries"),
            (features >> 5 != 0, "needs features that are not known here"),
            (is_new && is_odd, "has a header of an odd length"),
            (is_new && length > 104 && bytes[104] != 0, "names a compression it does not declare"),
            (self.size > MAX_SIZE, "says that its disk is larger than 16 TiB"),
            (l1_entries.max(self.tables()) > MAX_L1_ENTRIES, "has a first-level table of more than 32 MiB"),
            (l1_entries < self.tables(), "has a first-level table that is too short for its size"),
            (!self.l1_offset.is_multiple_of(cluster), "has a first-level table that begins amid a cluster"),
        ];
        objections.iter().find(|(applies, _)| *applies).map_or(Ok(()), |(_, why)| Err(refused(why)))
    }

    /// How many bytes of the disk one second-level table describes.
    fn reach(&self) -> u64 {
        (self.cluster / 8 * self.cluster) as u64
    }

    /// How many second-level tables the disk has.
    fn tables(&self) -> u64 {
        self.size.div_ceil(self.reach())
    }
}

/// The image's bytes.
struct Source {
    file: File,
    length: u64,
    /// How many bytes may still be used; see [`Source::charge`].
    unused: u64,
}

impl Source {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.length);
        end.ok_or_else(|| damaged(format!("it ends before the data needed at byte {offset}")))?;
        self.file.read_exact_at(buffer, offset).because(|| "it cannot be read")
    }

    /// Reads a table or the used part of a plain cluster.
    fn read_cluster(&mut self, offset: u64, cluster: usize, buffer: &mut [u8]) -> Result<()> {
        if !offset.is_multiple_of(cluster as u64) {
            return Err(damaged(format!("a cluster begins at byte {offset}, amid another")));
        }
        self.charge(buffer.len() as u64)?;
        self.read(offset, buffer)
    }

    /// Counts bytes that were used. Every byte of a sound image is used once at most, so that one that says otherwise
    /// is a bomb: a few small tables that name the same cluster again and again can describe terabytes.
    fn charge(&mut self, bytes: u64) -> Result<()> {
        let unused = self.unused.checked_sub(bytes);
        self.unused = unused.ok_or_else(|| damaged("its tables name more data than it holds"))?;
        Ok(())
    }
}

/// An open image with room for one cluster.
struct Image {
    source: Source,
    header: Header,
    data: Vec<u8>,
    packed: Vec<u8>,
    inflate: Decompress,
}

impl Image {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).because(|| "it cannot be opened")?;
        let length = file.metadata().because(|| "it cannot be read")?.len();
        let source = Source { file, length, unused: length };
        let mut bytes = [0; 112];
        source.read(0, &mut bytes)?;
        let header = Header::parse(&bytes)?;
        let data = vec![0; header.cluster];
        Ok(Self { source, header, data, packed: Vec::new(), inflate: Decompress::new(false) })
    }

    fn copy_to(&mut self, raw: &File) -> Result<()> {
        let mut table = vec![0; self.header.cluster];
        for index in 0..self.header.tables() {
            // One entry at a time: the table it names is read next, which costs more than this.
            let mut entry = [0; 8];
            self.source.read(self.header.l1_offset.saturating_add(index * 8), &mut entry)?;
            let offset = number(&entry) & OFFSET;
            if offset != 0 {
                self.source.read_cluster(offset, self.header.cluster, &mut table)?;
                self.copy_table(&table, index * self.header.reach(), raw)?;
            }
        }
        Ok(())
    }

    /// Copies the clusters that `table` names; the first belongs at `start` of the disk.
    fn copy_table(&mut self, table: &[u8], start: u64, raw: &File) -> Result<()> {
        let clusters = (start..self.header.size).step_by(self.header.cluster);
        for (entry, at) in table.chunks_exact(8).zip(clusters) {
            // The last cluster ends where the disk does.
            let length = usize::try_from(self.header.size - at).unwrap_or(usize::MAX).min(table.len());
            if self.load(number(entry), length)? {
                write_sparse(raw, &self.data[..length], at).because(|| "the raw file cannot be written")?;
            }
        }
        Ok(())
    }

    /// Reads `length` bytes of the cluster that `entry` describes; `false` when there is none, so that all is zero.
    fn load(&mut self, entry: u64, length: usize) -> Result<bool> {
        let is_empty = entry & READS_AS_ZEROS != 0;
        if entry & COMPRESSED != 0 {
            return self.unpack(entry, length).map(|()| true);
        }
        if is_empty && self.header.version == 2 {
            return Err(damaged("a table has an entry as only version 3 knows it"));
        }
        let offset = entry & OFFSET;
        if is_empty || offset == 0 {
            return Ok(false);
        }
        self.source.read_cluster(offset, self.header.cluster, &mut self.data[..length]).map(|()| true)
    }

    /// Unpacks a cluster, whose data may begin at any byte and share its sectors with its neighbours.
    fn unpack(&mut self, entry: u64, length: usize) -> Result<()> {
        let size_bits = self.header.cluster_bits - 8;
        let offset_bits = 62 - size_bits;
        let offset = entry & ((1 << offset_bits) - 1);
        let sectors = ((entry >> offset_bits) & ((1 << size_bits) - 1)) + 1;
        // The file may end within the last sector.
        let end = (offset / 512).saturating_add(sectors).saturating_mul(512).min(self.source.length);
        self.packed.resize(usize::try_from(end.saturating_sub(offset)).unwrap_or(0), 0);
        self.source.read(offset, &mut self.packed)?;
        self.inflate.reset(false);
        let status = self.inflate.decompress(&self.packed, &mut self.data, FlushDecompress::Finish);
        if status.is_err() || self.inflate.total_out() < length as u64 {
            return Err(damaged(format!("the compressed data at byte {offset} cannot be unpacked")));
        }
        self.source.charge(self.inflate.total_in())
    }
}

/// Writes what is not zero; the file is new, so that the rest stays a hole.
fn write_sparse(raw: &File, data: &[u8], at: u64) -> std::io::Result<()> {
    for (piece, at) in data.chunks(GRAIN).zip((at..).step_by(GRAIN)) {
        // Without an early exit the compiler compares many bytes at once.
        if piece.iter().fold(0, |all, byte| all | byte) != 0 {
            raw.write_all_at(piece, at)?;
        }
    }
    Ok(())
}

/// A number as qcow2 stores it, the most significant byte first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn damaged(why: impl std::fmt::Display) -> Failure {
    Failure::operation(format!("it is damaged: {why}"))
}

fn refused(why: impl std::fmt::Display) -> Failure {
    let hint = "use a plain image; `qemu-img convert -O raw FROM TO` makes one of what QEMU can read";
    Failure::operation(format!("it {why}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use super::*;
    use proptest::prelude::*;

    /// Where, what and how wide.
    type Put = (usize, u64, usize);

    fn changed(image: &[u8], changes: impl IntoIterator<Item = Put>) -> Vec<u8> {
        let mut image = image.to_vec();
        for (at, value, width) in changes {
            image[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
        }
        image
    }

    /// An image and its disk: header, L1, L2, plain data, two clusters for packed data, more of L2, the disk's end.
    fn fixture(version: u32, bits: u32) -> (Vec<u8>, Vec<u8>) {
        let cluster = 1 << bits;
        // The second table begins with the last cluster, which is not whole.
        let (reach, tail) = (cluster / 8 * cluster, 300);
        let (mut image, mut disk) = (vec![0; 7 * cluster + tail], vec![0; reach + tail]);
        let noise: Vec<u8> = (1..=251).cycle().take(512).chain(std::iter::repeat(0)).take(cluster).collect();
        let other: Vec<u8> = noise.iter().map(|byte| byte.wrapping_mul(3)).collect();
        disk[..cluster].copy_from_slice(&noise);
        disk[3 * cluster..4 * cluster].copy_from_slice(&other);
        disk[reach..].copy_from_slice(&noise[..tail]);
        let (magic, size) = (u32::from_be_bytes(MAGIC), u32::try_from(disk.len()).expect("a small disk"));
        // Dirty, when it is of version 3: that is harmless.
        let first = [magic, version, 0, 0, 0, bits, 0, size, 0, 2, 0, 1 << bits, 0, 0, 0, 0, 0, 0];
        let header = first.into_iter().chain([0, version - 2, 0, 0, 0, 0, 4, 104]);
        image[..104].copy_from_slice(&header.flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
        image[3 * cluster..4 * cluster].copy_from_slice(&noise);
        image[7 * cluster..].copy_from_slice(&noise[..tail]);
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        let stream = deflate.write_all(&other).and_then(|()| deflate.finish()).expect("packing");
        // It begins before the end of a sector and needs another, or ends the file within one.
        let at = if version == 3 { 4 * cluster + 509 } else { image.len() };
        image.resize(image.len().max(at + stream.len()), 0);
        image[at..at + stream.len()].copy_from_slice(&stream);
        // With the lowest bit set, the offset only reserves room.
        let reserved = if version == 3 { 4 << bits | 1 } else { 0 };
        let packed = COMPRESSED | 1 << (70 - bits) | at as u64;
        let (l1, l2) = (cluster, 2 * cluster);
        let tables = [(l1, 2 << bits | 1 << 63, 8), (l1 + 8, 6 << bits, 8), (6 * cluster, 7 << bits, 8)];
        let entries = [(l2, 3 << bits | 1 << 63, 8), (l2 + 8, reserved, 8), (l2 + 24, packed, 8)];
        (changed(&image, tables.into_iter().chain(entries)), disk)
    }

    /// Converts; checks that nothing else is left, and after a failure nothing at all.
    fn convert(image: &[u8]) -> Result<(Vec<u8>, std::fs::Metadata)> {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        File::create(&from).and_then(|mut file| file.write_all(image)).expect("an image");
        assert_eq!(is_qcow2(&from), image.starts_with(&MAGIC));
        let result = to_raw(&from, &to);
        assert_eq!(crate::disk::names_in(folder.path()).concat(), if result.is_ok() { "ab" } else { "a" });
        let (mut disk, raw) = (Vec::new(), result.map(|()| File::open(&to).expect("a raw file"))?);
        (&raw).take(64 << 20).read_to_end(&mut disk).expect("a disk");
        Ok((disk, raw.metadata().expect("a raw file")))
    }

    #[test]
    fn an_image_becomes_its_disk_with_holes() {
        for (version, bits) in [(2, 9), (3, 9), (2, 12), (3, 12), (3, 14)] {
            let (image, disk) = fixture(version, bits);
            let (raw, metadata) = convert(&image).expect("a sound image");
            assert!(raw == disk && metadata.blocks() * 512 <= 24 << 10, "{version}, {bits}: {metadata:?}");
        }
    }

    #[test]
    fn hostile_images_are_refused_for_what_is_wrong_with_them() {
        // A part of the message, and what leads to it; L1 is at 512, L2 at 1024.
        let cases: [(&str, &[Put]); 18] = [
            ("not a qcow2", &[(0, 0, 4), (4, 1, 4), (4, 4, 4), (20, 8, 4), (20, 22, 4), (20, u64::MAX, 4)]),
            ("backing file", &[(8, 512, 8)]),
            ("encrypted", &[(32, 1, 4), (32, 2, 4)]),
            ("corrupt", &[(72, 2, 8)]),
            ("another file", &[(72, 4, 8)]),
            ("zstd", &[(72, 8, 8)]),
            ("extended L2", &[(72, 16, 8)]),
            ("not known", &[(72, 32, 8), (72, 1 << 63, 8)]),
            ("odd length", &[(100, 96, 4), (100, 107, 4), (100, 520, 4)]),
            ("compression", &[(100, 112 << 8 | 1, 5)]),
            ("16 TiB", &[(24, u64::MAX, 8), (24, (1 << 44) + 1, 8)]),
            ("32 MiB", &[(24, 1 << 44, 8), (36, u64::MAX, 4)]),
            ("too short", &[(36, 1, 4)]),
            ("begins amid", &[(40, 520, 8), (20, 10, 4)]),
            ("it ends before", &[(40, !511, 8), (512, 1 << 50, 8), (512, OFFSET, 8), (1024, 1 << 50, 8)]),
            ("it ends before", &[(1048, COMPRESSED | 1 << 50, 8), (1048, u64::MAX, 8)]),
            ("be unpacked", &[(1048, COMPRESSED | 3 << 9, 8), (1048, COMPRESSED | 7, 8)]),
            ("version 3", &[(4, 2, 4)]),
        ];
        let refuses = |image: &[u8], message: &str| {
            let failure = format!("{:?}", convert(image).expect_err(message));
            assert!(failure.contains(message), "{failure} instead of {message}");
        };
        let (image, _) = fixture(3, 9);
        for (message, change) in cases.iter().flat_map(|(why, all)| all.iter().map(move |one| (why, one))) {
            refuses(&changed(&image, [*change]), message);
        }
        (0..image.len()).step_by(7).for_each(|length| refuses(&image[..length], "damaged"));
        // A bomb: all of a table names one cluster.
        for one in [3 << 9, number(&image[1048..1056])] {
            let bomb = (1024..1536).step_by(8).map(|at| (at, one, 8));
            refuses(&changed(&image, bomb), "more data than it holds");
        }
        refuses(&changed(&fixture(3, 12).0, [(2 << 12, 3 << 12 | 512, 8)]), "amid another");
    }

    proptest! {
        #[test]
        fn no_change_panics(puts in prop::collection::vec((0..1600_usize, any::<u64>(), 1..=8_usize), 1..6)) {
            let image = changed(&fixture(3, 9).0, puts);
            if let Ok((_, metadata)) = convert(&image) {
                prop_assert_eq!(metadata.len(), number(&image[24..32]));
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the other side of a comparison needs none of our care")]
    fn qemu_img_agrees() {
        let at = tempfile::tempdir().expect("a folder");
        let qemu_img = |line: &str| Command::new("qemu-img").args(line.split(' ')).current_dir(&at).output();
        if qemu_img("--version").is_err() {
            // Past the capture of the test's output: nobody shall think that it ran.
            return writeln!(std::io::stderr(), "skipped: no qemu-img to compare with").expect("a message");
        }
        let byte = |at: u32| at.wrapping_mul(at).to_be_bytes()[2] * u8::from((at >> 18) & 3 != 0);
        let disk: Vec<u8> = (0..2_500_096).map(byte).collect();
        File::create(at.path().join("disk")).and_then(|mut file| file.write_all(&disk)).expect("a disk");
        for options in ["compat=0.10", "compat=1.1", "compat=0.10 -c", "compat=1.1 -c"] {
            for size in ["512", "4k", "64k", "2M"] {
                let line = format!("convert -f raw -O qcow2 -o cluster_size={size},{options} disk image");
                assert!(qemu_img(&line).expect("a run").status.success(), "{line}");
                let image = std::fs::read(at.path().join("image")).expect("an image");
                assert!(convert(&image).expect(&line).0 == disk, "{line}");
            }
        }
    }
}
