//! What a parser of this room says when it refuses a text, and how foreign text is shown inside such a sentence.
//!
//! Enters: text of any origin. Leaves: sentences that are safe to print: escaped, cut, without credentials.
//! Must not know where the text came from; carets and file names are added by `config/`.

use std::fmt;

/// The longest value that a message repeats, in characters.
const SHOWN_CHARACTERS: usize = 60;

/// Why a text is no value of the wanted type. `Display` is the whole sentence, the value in backticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    sentence: String,
    instead: Option<String>,
    masked: Option<String>,
}

impl Refused {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), instead: None, masked: None }
    }

    pub(super) fn instead(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }

    pub(super) fn masked(mut self, masked: Option<String>) -> Self {
        self.masked = masked;
        self
    }

    /// The refused text without its credentials, where it had some: nothing else of it may be shown.
    pub fn masked_value(&self) -> Option<&str> {
        self.masked.as_deref()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        match &self.instead {
            Some(instead) => write!(f, "; did you mean `{}`?", shown(instead)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

/// A value as a message may repeat it: credentials masked, control and direction characters escaped, cut at
/// 60 characters.
pub fn shown(value: &str) -> String {
    let masked = mask_credentials(value);
    let mut text = String::new();
    for (count, character) in masked.chars().enumerate() {
        if count == SHOWN_CHARACTERS {
            text.push('…');
            break;
        }
        push_visible(&mut text, character);
    }
    text
}

/// Appends a character, or its escape where it would move the cursor, be invisible or change the direction.
pub fn push_visible(text: &mut String, character: char) {
    if is_hidden(character) {
        text.extend(character.escape_default());
    } else {
        text.push(character);
    }
}

/// Controls, line separators, zero-width characters and everything that changes the writing direction.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00AD}'
                | '\u{061C}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// Replaces the user part of every URL in a text by `***`, except a plain ssh login name.
pub fn mask_credentials(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = 0;
    for range in credential_ranges(text) {
        masked.push_str(&text[rest..range.start]);
        masked.push_str("***");
        rest = range.end;
    }
    masked.push_str(&text[rest..]);
    masked
}

/// Where the user parts of the URLs of a text are, in bytes, in order and without overlap.
pub fn credential_ranges(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let start = from + at + 3;
        let end = text[start..].find(ends_authority).map_or(text.len(), |length| start + length);
        from = end;
        let Some(length) = text[start..end].rfind('@') else { continue };
        let is_login = text[..start].ends_with("ssh://") && !text[start..start + length].contains(':');
        if !is_login {
            found.push(start..start + length);
        }
    }
    found
}

fn ends_authority(character: char) -> bool {
    character.is_whitespace() || matches!(character, '/' | '"' | '\'' | '`' | ',' | '?' | '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_values_escaped_and_cut() {
        assert_eq!(shown("16 GB"), "16 GB");
        assert_eq!(shown("a\u{1b}[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\\n");
        assert_eq!(shown(&"x".repeat(60)), "x".repeat(60));
        assert_eq!(shown(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
    }

    #[test]
    fn masks_credentials_wherever_they_stand() {
        let cases = [
            ("https://you:hunter2@example.com/a", "https://***@example.com/a"),
            ("https://token@example.com/a", "https://***@example.com/a"),
            ("ssh://git@example.com/a", "ssh://git@example.com/a"),
            ("ssh://git:pw@example.com/a", "ssh://***@example.com/a"),
            ("x = [\"https://a@b@h/p\", \"https://c@h\"]", "x = [\"https://***@h/p\", \"https://***@h\"]"),
            ("https://example.com/@scope", "https://example.com/@scope"),
            ("://@", "://***@"),
        ];
        for (text, masked) in cases {
            assert_eq!(mask_credentials(text), masked);
        }
    }
}
