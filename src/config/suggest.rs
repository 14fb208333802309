//! The known word that a mistyped one is closest to.
//!
//! Enters: a word and the known ones. Leaves: one of them, or none when nothing is close.

/// The known word at the smallest edit distance, when that is at most a third of the word's length.
pub(super) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let lower = word.to_lowercase();
    let tolerated = (word.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= tolerated && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["memory", "cpus", "disk", "forward_agent", "env"];
        let cases = [
            ("memroy", Some("memory")),
            ("cpu", Some("cpus")),
            ("CPUS", Some("cpus")),
            ("forward-agent", Some("forward_agent")),
            ("envv", Some("env")),
            ("e", None),
            ("colour", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
