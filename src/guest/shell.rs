//! Small pieces of shell that other scripts are made of.
//!
//! Enters: words of any bytes but NUL. Leaves: shell text. Knows no step.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A word in single quotes; a NUL, which no shell word can hold, is left out.
pub(super) fn quote(word: &str) -> String {
    let word = word.replace('\0', "");
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Words in single quotes, separated by spaces.
pub(super) fn quote_all<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A line that writes `bytes` to `path`, whatever they are.
pub(super) fn write_file(path: &str, bytes: &[u8]) -> String {
    here_document(&format!("base64 -d >{}", quote(path)), "MACHINE_FILE", &(STANDARD.encode(bytes) + "\n"))
}

/// As [`write_file`], in a form that a person can read where the bytes are plain text.
pub(super) fn write_readable_file(path: &str, bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => here_document(&format!("cat >{}", quote(path)), "MACHINE_FILE", text),
        _ => write_file(path, bytes),
    }
}

/// Whole lines, in which every character shows as what it is: no control, no direction, no width of nothing.
fn is_plain(text: &str) -> bool {
    let is_sign = |character: char| matches!(character, '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{2ff}' | '\u{2010}'..='\u{2027}' | '\u{2190}'..='\u{2bff}');
    let is_plain = |c: char| matches!(c, '\n' | '\t' | ' '..='~') || c.is_alphanumeric() || is_sign(c);
    text.ends_with('\n') && text.chars().all(is_plain)
}

/// A command that reads `text`, which ends with a line's end, from a here-document. Its last line is made of `tag`
/// and differs from every line of the text.
pub(super) fn here_document(command: &str, tag: &str, text: &str) -> String {
    let is_free = |tag: &String| text.lines().all(|line| line != tag);
    let numbered = (2..).map(|number| format!("{tag}_{number}"));
    let tag = std::iter::once(tag.to_string()).chain(numbered).find(is_free).unwrap_or_default();
    format!("{command} <<'{tag}'\n{text}{tag}\n")
}

/// A function `as_dev` that runs a command as the login user, with the environment that user's sessions have.
pub(super) const AS_DEV: &str = r#"as_dev() {
  runuser -u dev -- env -i HOME=/home/dev USER=dev LOGNAME=dev SHELL=/bin/bash LC_ALL=C.UTF-8 \
    XDG_RUNTIME_DIR=/run/user/1000 PATH=/usr/local/bin:/usr/bin:/bin \
    bash -c '[ ! -f /etc/machine/env.sh ] || . /etc/machine/env.sh; exec "$@"' bash "$@"
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_survive() {
        assert_eq!(quote("a'b; $(c)"), r"'a'\''b; $(c)'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn plain_text_stays_readable_and_everything_else_arrives_too() {
        assert_eq!(
            write_readable_file("a'b", "é → 東\n\ttab\n".as_bytes()),
            "cat >'a'\\''b' <<'MACHINE_FILE'\né → 東\n\ttab\nMACHINE_FILE\n"
        );
        for bytes in [
            &b"no end of line"[..],
            b"",
            b"a\r\n",
            b"\xff\n",
            b"\x1b[1m\n",
            "\u{2028}\n".as_bytes(),
            "\u{202e}\n".as_bytes(),
        ] {
            assert_eq!(write_readable_file("x", bytes), write_file("x", bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_text_cannot_end_its_here_document() {
        let text = "MACHINE_FILE\nMACHINE_FILE_2\nrm -rf /\n";
        assert_eq!(
            write_readable_file("x", text.as_bytes()),
            format!("cat >'x' <<'MACHINE_FILE_3'\n{text}MACHINE_FILE_3\n")
        );
    }
}
