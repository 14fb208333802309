//! YAML, written and read: the one place that knows the crate for it.
//!
//! Enters: values, or text. Leaves: text that Lima's own parser reads back as the same values.

use serde::Serialize;

use crate::failure::{Failure, Result};

/// Writes a value as block-style YAML. A text of one line stays one line, so that a person can copy it. One of several
/// lines must begin with a line that is not blank and end with a line's end: Lima's parser refuses the one and forgets
/// spaces at the other's end.
///
/// # Errors
/// When it cannot be written, which would be a bug of the serialiser.
pub(super) fn write<T: Serialize>(value: &T) -> Result<String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|cause| Failure::operation(format!("failed to write YAML: {cause}")))
}

/// Reads a lima.yaml, ours or Lima's stored copy, for comparison.
pub fn parse(yaml: &str) -> Result<serde_json::Value> {
    serde_saphyr::from_str(yaml)
        .map_err(|cause| Failure::operation(format!("failed to read a lima.yaml: {cause}")))
}
