//! Sizes of memory and disks, always in binary units, since `GB` means two things.
//!
//! Enters: text such as `4GiB`. Leaves: bytes. Must not know what the host has.

use std::fmt;
use std::str::FromStr;

use super::refused::{Refused, shown};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
/// The units that are read, the largest first.
const UNITS: [(&str, u64); 3] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB)];
/// More than any disk, so that sums of sizes cannot overflow.
const LARGEST: u64 = 1 << 60;

/// A size in bytes. Parsed ones are whole MiB and never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of so many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of so many GiB.
    pub const fn from_gib(gib: u64) -> Self {
        Self(gib * GIB)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size for people, rounded to two decimals: `6 GiB`, `1.5 TiB`, `512 MiB`.
    pub fn human(self) -> String {
        let (unit, bytes) = UNITS.into_iter().find(|(_, bytes)| self.0 >= *bytes).unwrap_or(("MiB", MIB));
        format!("{} {unit}", decimal(self.0, bytes))
    }

    /// The size of something measured, for people: `388 MiB`, `1.5 GiB`, `0 MiB`.
    pub fn approximate(self) -> String {
        let (unit, bytes) = UNITS.into_iter().find(|(_, bytes)| self.0 >= *bytes).unwrap_or(("MiB", MIB));
        if bytes == MIB {
            return format!("{} {unit}", (self.0 + MIB / 2) / MIB);
        }
        let tenths = (u128::from(self.0) * 10 + u128::from(bytes) / 2) / u128::from(bytes);
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A quotient with at most two decimals and no trailing zeros.
fn decimal(bytes: u64, unit: u64) -> String {
    let hundredths = (u128::from(bytes) * 100 + u128::from(unit) / 2) / u128::from(unit);
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match (rest, rest % 10) {
        (0, _) => whole.to_string(),
        (_, 0) => format!("{whole}.{}", rest / 10),
        _ => format!("{whole}.{rest:02}"),
    }
}

impl fmt::Display for ByteSize {
    /// Exact, in the largest unit that needs no more than two decimals: `6GiB`, `1.5TiB`, `513MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_exact =
            |unit: u64| self.0 >= unit && (u128::from(self.0) * 100).is_multiple_of(u128::from(unit));
        match UNITS.into_iter().find(|(_, unit)| is_exact(*unit)) {
            Some((name, unit)) => f.pad(&format!("{}{name}", decimal(self.0, unit))),
            None => f.pad(&format!("{}B", self.0)),
        }
    }
}

/// Why a number with a unit is no size.
enum Fault {
    Form,
    TooLarge,
    Zero,
    /// Holds the whole MiB below it.
    NotWhole(u128),
}

impl FromStr for ByteSize {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (number, unit) = split(text);
        let value = shown(text);
        read(number, unit).map_err(|fault| match fault {
            Fault::Form => wrong_form(text),
            Fault::TooLarge => Refused::new(format!("`{value}` is larger than any disk")),
            Fault::Zero => Refused::new(format!("expected a size above zero, got `{value}`")),
            Fault::NotWhole(mib) => Refused::new(format!("`{value}` is no whole number of MiB"))
                .instead(format!("{}MiB", mib.max(1))),
        })
    }
}

fn read(number: &str, unit: &str) -> Result<ByteSize, Fault> {
    let (_, unit_bytes) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(Fault::Form)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 6 {
        return Err(Fault::Form);
    }
    let bytes = multiply(whole, fraction, unit_bytes).ok_or(Fault::TooLarge)?;
    match u64::try_from(bytes) {
        Ok(0) => Err(Fault::Zero),
        Ok(bytes) if bytes.is_multiple_of(MIB) => Ok(ByteSize(bytes)),
        _ => Err(Fault::NotWhole(bytes / u128::from(MIB))),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `None` above [`LARGEST`]; parts of a byte are rounded up, so that they are seen not to be whole MiB.
fn multiply(whole: &str, fraction: &str, unit: u64) -> Option<u128> {
    let unit = u128::from(unit);
    let whole_bytes = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = fraction.parse::<u128>().ok()?;
    let bytes = whole_bytes.checked_add((parts * unit).div_ceil(scale))?;
    (bytes <= u128::from(LARGEST)).then_some(bytes)
}

/// The number and what follows it.
fn split(text: &str) -> (&str, &str) {
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    text.split_at(end)
}

fn wrong_form(text: &str) -> Refused {
    let refused = Refused::new(format!("expected a size such as `4GiB`, got `{}`", shown(text)));
    let (number, unit) = split(text.trim());
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "g" | "gb" | "gib" | "gi" => "GiB",
        "m" | "mb" | "mib" | "mi" => "MiB",
        "t" | "tb" | "tib" | "ti" => "TiB",
        _ => return refused,
    };
    if read(number, unit).is_ok() { refused.instead(format!("{number}{unit}")) } else { refused }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_binary_units() {
        let cases = [
            ("4GiB", 4 * GIB, "4GiB", "4 GiB"),
            ("512MiB", 512 * MIB, "512MiB", "512 MiB"),
            ("1TiB", TIB, "1TiB", "1 TiB"),
            ("1.5GiB", 1536 * MIB, "1.5GiB", "1.5 GiB"),
            ("1.25TiB", 1280 * GIB, "1.25TiB", "1.25 TiB"),
            ("1025MiB", 1025 * MIB, "1025MiB", "1 GiB"),
            ("0.5GiB", 512 * MIB, "512MiB", "512 MiB"),
        ];
        for (text, bytes, display, human) in cases {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes);
            assert_eq!((size.to_string().as_str(), size.human().as_str()), (display, human));
        }
        assert_eq!(ByteSize::from_bytes(1000).to_string(), "1000B");
        assert_eq!(ByteSize::from_bytes(u64::MAX).human(), "16777216 TiB");
    }

    #[test]
    fn what_was_measured_is_rounded() {
        let cases = [
            (0, "0 MiB"),
            (4096, "0 MiB"),
            (MIB / 2, "1 MiB"),
            (388 * MIB + 1000, "388 MiB"),
            (GIB, "1.0 GiB"),
            (1_566_000_000, "1.5 GiB"),
            (3 * TIB / 2, "1.5 TiB"),
            (u64::MAX, "16777216.0 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(ByteSize::from_bytes(bytes).approximate(), text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        let expected = "expected a size such as `4GiB`, got ";
        let cases = [
            ("16 GB", format!("{expected}`16 GB`; did you mean `16GiB`?")),
            ("16G", format!("{expected}`16G`; did you mean `16GiB`?")),
            ("4gb", format!("{expected}`4gb`; did you mean `4GiB`?")),
            ("512m", format!("{expected}`512m`; did you mean `512MiB`?")),
            ("4", format!("{expected}`4`; did you mean `4GiB`?")),
            (" 4GiB", format!("{expected}` 4GiB`; did you mean `4GiB`?")),
            ("4GiB ", format!("{expected}`4GiB `; did you mean `4GiB`?")),
            ("", format!("{expected}``")),
            ("-4GiB", format!("{expected}`-4GiB`")),
            ("+4GiB", format!("{expected}`+4GiB`")),
            ("4KiB", format!("{expected}`4KiB`")),
            ("1.GiB", format!("{expected}`1.GiB`")),
            ("1.1234567g", format!("{expected}`1.1234567g`")),
            (".5GiB", format!("{expected}`.5GiB`")),
            ("1.2.3GiB", format!("{expected}`1.2.3GiB`")),
            ("1e3GiB", format!("{expected}`1e3GiB`")),
            ("٤GiB", format!("{expected}`٤GiB`")),
            ("0GiB", "expected a size above zero, got `0GiB`".into()),
            ("0.3GiB", "`0.3GiB` is no whole number of MiB; did you mean `307MiB`?".into()),
            ("99999999999TiB", "`99999999999TiB` is larger than any disk".into()),
            (
                "99999999999999999999999999999999999999999999GiB",
                "`99999999999999999999999999999999999999999999GiB` is larger than any disk".into(),
            ),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<ByteSize>().unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,40}|[0-9.]{0,60}[kMGTiB ]{0,4}") {
            if let Ok(size) = text.parse::<ByteSize>() {
                prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
            }
        }

        #[test]
        fn whole_mebibytes_round_trip(mib in 1_u64..1 << 40) {
            let size = ByteSize::from_bytes(mib * MIB);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }
}
