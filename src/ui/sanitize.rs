//! Foreign text made harmless for a terminal: guests, Lima, git and registries never steer it.
//!
//! Enters: any text. Leaves: text whose only control characters are newline and tab. Knows nobody.

use std::iter::Peekable;
use std::str::Chars;

/// Removes escape sequences (CSI, OSC, DCS and their kin), control characters and bidirectional overrides.
///
/// A carriage return becomes a newline, since progress bars use it to overwrite their line.
pub fn sanitize(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_csi(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            '\r' => {
                if rest.peek() != Some(&'\n') {
                    clean.push('\n');
                }
            }
            '\n' | '\t' => clean.push(character),
            hidden if is_hidden(hidden) => {}
            shown => clean.push(shown),
        }
    }
    clean
}

/// Control characters, and the invisible ones that reorder or hide text.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn skip_escape(rest: &mut Peekable<Chars>) {
    match rest.next() {
        Some('[') => skip_csi(rest),
        // OSC, DCS, SOS, PM, APC: a string up to BEL or ST.
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        // nF sequences have intermediate bytes before the final one.
        Some(' '..='/') => {
            while rest.next_if(|c| matches!(c, ' '..='/')).is_some() {}
            rest.next();
        }
        _ => {}
    }
}

fn skip_csi(rest: &mut Peekable<Chars>) {
    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

fn skip_string(rest: &mut Peekable<Chars>) {
    while let Some(character) = rest.next() {
        match character {
            // BEL or ST end it; an unfinished one must not swallow the lines after it.
            '\u{7}' | '\u{9c}' | '\n' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sanitize;
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
            ("a\u{202e}b\u{200b}c\u{0}d\u{7f}", "abcd"),
            ("\u{1b}(Bz\u{1b}", "z"),
        ];
        for (given, expected) in cases {
            assert_eq!(sanitize(given), expected, "{given:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in any::<String>()) {
            let clean = sanitize(&text);
            prop_assert!(clean.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
            prop_assert_eq!(sanitize(&clean), clean);
        }
    }
}
