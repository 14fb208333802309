//! Foreign text made harmless for a terminal: guests, Lima, git and registries never steer it.
//!
//! Enters: any text, whole or in pieces. Leaves: text whose only control characters are newline and tab, and SGR (colours)
//! where that was asked for. A whole text has no secret in it, which pieces are cleaned of where they are read.

use std::fmt::Write as _;

use crate::model::redact_text;

/// The longest SGR sequence that is kept, in characters; real ones are shorter.
const SGR_LIMIT: usize = 64;

/// Removes escape sequences (CSI, OSC, DCS and their kin), control characters and bidirectional overrides.
///
/// A carriage return becomes a newline, since progress bars use it to overwrite their line.
pub fn sanitize(text: &str) -> String {
    let text = redact_text(text);
    let mut sanitizer = Sanitizer::default();
    let mut clean = String::with_capacity(text.len());
    text.chars().for_each(|character| sanitizer.step(character, &mut clean));
    clean
}

/// JSON with everything hidden in its strings escaped; JSON itself has only its line ends outside of strings.
pub fn escape_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || !is_hidden(character) {
            clean.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(clean, "\\u{unit:04x}");
        }
    }
    clean
}

/// Cleans a stream that comes in pieces, which may end anywhere.
#[derive(Debug, Default)]
pub struct Sanitizer {
    state: State,
    /// Whether SGR sequences stay.
    keeps_colour: bool,
    /// Whether one has stayed, and is to be undone at the end.
    is_coloured: bool,
    /// Parameters of the control sequence that is being read.
    parameters: String,
    /// The start of a character whose other bytes have not come yet.
    partial: Vec<u8>,
}

/// Where in a sequence we are (ECMA-48, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After a carriage return, for which a newline was written.
    Return,
    Escape,
    /// After the intermediate bytes of an nF sequence.
    Intermediate,
    Control,
    /// In an OSC, DCS, SOS, PM or APC, up to BEL or ST.
    String,
    StringEscape,
}

impl Sanitizer {
    /// One that lets colours through.
    pub fn keeping_colour() -> Self {
        Self { keeps_colour: true, ..Self::default() }
    }

    /// The clean text of a piece; bytes that are no UTF-8 are replaced.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut clean = String::with_capacity(bytes.len());
        self.partial.extend_from_slice(bytes);
        let piece = std::mem::take(&mut self.partial);
        let mut rest = piece.as_slice();
        while !rest.is_empty() {
            let (valid, after) = match std::str::from_utf8(rest) {
                Ok(text) => (text.len(), None),
                Err(error) => (error.valid_up_to(), Some(error.error_len())),
            };
            let text = String::from_utf8_lossy(&rest[..valid]);
            text.chars().for_each(|character| self.step(character, &mut clean));
            rest = match after {
                None => &[],
                Some(Some(length)) => {
                    self.step('\u{fffd}', &mut clean);
                    &rest[valid + length..]
                }
                Some(None) => {
                    self.partial = rest[valid..].to_vec();
                    &[]
                }
            };
        }
        clean
    }

    /// What undoes the colours that were let through.
    pub fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_coloured) { "\u{1b}[0m" } else { "" }
    }

    fn step(&mut self, character: char, clean: &mut String) {
        self.state = match (self.state, character) {
            (State::Return, '\n') | (State::String, '\u{7}' | '\u{9c}') => State::Text,
            // A terminal obeys a line end wherever it stands, and an unfinished sequence must not swallow what follows.
            (State::Text | State::Return, _) | (_, '\n' | '\r') => Self::step_text(character, clean),
            (State::Escape | State::StringEscape, _) => self.step_escape(character),
            (State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Intermediate, _) => State::Text,
            (State::Control, _) => return self.step_control(character, clean),
            (State::String, '\u{1b}') => State::StringEscape,
            (State::String, _) => State::String,
        };
    }

    fn step_text(character: char, clean: &mut String) -> State {
        match character {
            '\u{1b}' => return State::Escape,
            '\u{9b}' => return State::Control,
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => return State::String,
            '\r' => {
                clean.push('\n');
                return State::Return;
            }
            '\n' | '\t' => clean.push(character),
            hidden if is_hidden(hidden) => {}
            shown => clean.push(shown),
        }
        State::Text
    }

    fn step_escape(&mut self, character: char) -> State {
        match character {
            '\u{1b}' => State::Escape,
            '[' => {
                self.parameters.clear();
                State::Control
            }
            ']' | 'P' | 'X' | '^' | '_' => State::String,
            ' '..='/' => State::Intermediate,
            // Also the `\` that ends a string.
            _ => State::Text,
        }
    }

    fn step_control(&mut self, character: char, clean: &mut String) {
        match character {
            ' '..='?' => {
                if self.parameters.len() <= SGR_LIMIT {
                    self.parameters.push(character);
                }
                return;
            }
            '@'..='~' => {
                self.state = State::Text;
                let is_sgr = character == 'm' && self.parameters.len() <= SGR_LIMIT;
                let is_plain = |c: char| c.is_ascii_digit() || c == ';' || c == ':';
                if self.keeps_colour && is_sgr && self.parameters.chars().all(is_plain) {
                    self.is_coloured = true;
                    // Writing to a String cannot fail.
                    let _ = write!(clean, "\u{1b}[{}m", self.parameters);
                }
            }
            other => self.state = Self::step_text(other, clean),
        }
        self.parameters.clear();
    }
}

/// Control characters, and the invisible ones that reorder or hide text: Unicode's category Cf, and line separators.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_text_and_drops_what_steers() {
        let cases = [
            ("plain ünïcode ✓\ttab\n", "plain ünïcode ✓\ttab\n"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;ZXZpbA==\u{1b}\\after", "after"),
            ("\u{1b}P$q\"p\u{1b}\\after", "after"),
            ("10%\r20%\r\n", "10%\n20%\n"),
            ("\u{9b}2Jx\u{9d}0;t\u{9c}y", "xy"),
            ("a\u{202e}b\u{200b}c\u{0}d\u{7f}\u{600}", "abcd"),
            ("\u{1b}(Bz\u{1b}", "z"),
            ("\u{1b}]0;unfinished\nnext", "\nnext"),
            ("\u{1b}]0;t\u{1b}[31mx", "x"),
            ("\u{1b}\u{1b}[2Jx", "x"),
            ("\u{1b}[2\nx", "\nx"),
        ];
        for (given, expected) in cases {
            assert_eq!(sanitize(given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_stream_keeps_colours_and_undoes_them() {
        let mut sanitizer = Sanitizer::keeping_colour();
        assert_eq!(sanitizer.push(b"\x1b[1;3"), "");
        assert_eq!(sanitizer.push(b"1mred\x1b[?1049h\x1b[2J\xc3"), "\u{1b}[1;31mred");
        assert_eq!(sanitizer.push(b"\xa4\xff\x1b[>4;2m"), "ä\u{fffd}");
        assert_eq!(sanitizer.finish(), "\u{1b}[0m");
        assert_eq!(sanitizer.finish(), "");
        let endless = format!("\u{1b}[{}m", "1;".repeat(1000));
        assert_eq!(Sanitizer::keeping_colour().push(endless.as_bytes()), "");
    }

    #[test]
    fn json_stays_what_it_is() {
        let value = serde_json::json!({"a": "x\u{9b}2J\u{202e}\u{7f}\u{e0041}\u{1b}\n", "b": ["ünï ✓"]});
        let text = escape_json(&format!("{value:#}"));
        assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text:?}");
        assert!(text.contains("ünï ✓"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in any::<String>()) {
            let clean = sanitize(&text);
            prop_assert!(clean.chars().all(|c| c == '\n' || c == '\t' || !is_hidden(c)));
            prop_assert_eq!(sanitize(&clean), clean);
        }

        #[test]
        fn pieces_are_as_good_as_the_whole(
            text in "(\\PC|[\u{1b}\u{9b}\u{9d}\r\n\u{7}]|\u{1b}\\[|[0-9;m]){0,40}", cut in 0_usize..200,
        ) {
            let bytes = text.as_bytes();
            let (one, two) = bytes.split_at(cut.min(bytes.len()));
            let mut sanitizer = Sanitizer::default();
            prop_assert_eq!(sanitizer.push(one) + &sanitizer.push(two), sanitize(&text));
        }
    }
}
