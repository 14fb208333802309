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
    format!("base64 -d >{} <<'MACHINE_FILE'\n{}\nMACHINE_FILE\n", quote(path), STANDARD.encode(bytes))
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
    use super::quote;

    #[test]
    fn quotes_survive() {
        assert_eq!(quote("a'b; $(c)"), r"'a'\''b; $(c)'");
        assert_eq!(quote(""), "''");
    }
}
