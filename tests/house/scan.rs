//! Reads Rust text just far enough for the house rules: no comments, no literals, no tests, functions by their braces.
//!
//! Enters: files. Leaves: their text, their code, the length of their functions. It is no parser: a function is seen
//! where `fn` begins a line, a closure counts to the function around it, and what a macro makes is not seen.

use std::fs;
use std::path::Path;

/// One file of the tree.
pub struct File {
    /// Its path, from the top of the tree.
    pub path: String,
    /// All of its text.
    pub text: String,
    /// The same lines with comments, strings and character literals blank.
    pub code: String,
}

/// A function and how long it is, with signature and closing brace.
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its lines.
    pub lines: usize,
}

impl File {
    /// A file of this text.
    pub fn new(path: &str, text: &str) -> Self {
        let code = if is_rust(path) { blank_literals(text) } else { text.to_string() };
        Self { path: path.into(), text: text.into(), code }
    }

    /// Its code without tests.
    pub fn own_code(&self) -> String {
        self.without_tests(&self.code)
    }

    /// Its text, comments and strings included, without tests.
    pub fn own_text(&self) -> String {
        self.without_tests(&self.text)
    }

    /// `of` without the items below `#[cfg(test)]`; nothing of a file that is a test altogether.
    fn without_tests(&self, of: &str) -> String {
        if ["_tests.rs", "/testing.rs"].iter().any(|ending| self.path.ends_with(ending)) {
            return String::new();
        }
        let mut kept = Vec::new();
        let mut lines = of.lines();
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]" {
                // rustfmt puts the end of an item at the start of a line.
                lines.by_ref().find(|line| *line == "}" || line.ends_with(';') && !line.starts_with(' '));
            } else {
                kept.push(line);
            }
        }
        kept.join("\n")
    }
}

/// Whether a path is that of a Rust file.
pub fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "rs")
}

/// Every text file below these folders, in order, whose path fits.
pub fn files_below(roots: &[&str], fits: impl Fn(&str) -> bool) -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<String> = roots.iter().map(ToString::to_string).collect();
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        let place = top.join(&path);
        if place.is_dir() {
            let names =
                fs::read_dir(&place).expect("a readable folder").map(|entry| entry.expect("an entry"));
            waiting.extend(names.map(|name| format!("{path}/{}", name.file_name().display())));
        } else if let (true, Ok(text)) = (fits(&path), fs::read_to_string(&place)) {
            files.push(File::new(&path, &text));
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The functions of code whose literals are blank.
pub fn functions(code: &str) -> Vec<Function> {
    let mut start = 0;
    let mut found = Vec::new();
    for line in code.split_inclusive('\n') {
        let name = function_name(line);
        found.extend(name.map(|name| Function { name: name.into(), lines: length(&code[start..]) }));
        start += line.len();
    }
    found
}

/// The name of the function whose signature begins in this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let modifier = |word: &str| ["const", "async", "unsafe"].contains(&word) || word.starts_with("pub");
    let inside_pub = |word: &str| word.ends_with(')');
    before.split_whitespace().all(|word| modifier(word) || inside_pub(word)).then_some(())?;
    after.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

/// How many lines an item takes: up to the brace that closes its first one, or to the semicolon of a bare signature.
fn length(code: &str) -> usize {
    let (mut round, mut curly) = (0, 0);
    let end = code.find(|c: char| {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => curly += 1,
            '}' => curly -= 1,
            _ => {}
        }
        (c == '}' && curly == 0) || (c == ';' && curly == 0 && round == 0)
    });
    code[..end.unwrap_or(code.len())].matches('\n').count() + 1
}

/// Replaces comments and literals by spaces; every line stays where it is.
fn blank_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let literal = literal_length(rest, code.chars().last());
        let (token, after) =
            rest.split_at(literal.unwrap_or_else(|| rest.chars().next().map_or(0, char::len_utf8)));
        if literal.is_some() {
            code.extend(token.chars().map(|c| if c == '\n' { c } else { ' ' }));
        } else {
            code.push_str(token);
        }
        rest = after;
    }
    code
}

/// How many bytes the comment or literal takes that begins here, if one does.
fn literal_length(rest: &str, before: Option<char>) -> Option<usize> {
    let to_end = |end: Option<usize>| Some(end.unwrap_or(rest.len()));
    if rest.starts_with("//") {
        return to_end(rest.find('\n'));
    }
    if rest.starts_with("/*") {
        return to_end(rest.find("*/").map(|end| end + 2));
    }
    if rest.starts_with('"') {
        return to_end(after_escapes(rest, '"'));
    }
    if rest.starts_with('\'') {
        let mut ahead = rest.chars().skip(1);
        let (first, second) = (ahead.next(), ahead.next());
        // Anything else is a lifetime.
        return if first == Some('\\') || second == Some('\'') { after_escapes(rest, '\'') } else { None };
    }
    let in_word = before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') && before != Some('b');
    let hashes = rest.strip_prefix('r').filter(|_| !in_word)?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    hashes[count..].starts_with('"').then_some(())?;
    let opening = count + 2;
    let closing = format!("\"{}", "#".repeat(count));
    to_end(rest[opening..].find(&closing).map(|end| opening + end + closing.len()))
}

/// The length of a literal that ends at `quote`, where a backslash takes the next character with it.
fn after_escapes(rest: &str, quote: char) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return Some(at + 1);
        }
    }
    None
}

#[test]
fn literals_and_comments_are_blank_and_lines_stay() {
    let cases = [
        ("a \"{ \\\" }\" b", "a          b"),
        ("a r#\"{ \" \\\"# b", "a            b"),
        ("br\"x\\\" c", "b      c"),
        ("f('{', '\\'', 'a) // {", "f(   ,     , 'a)     "),
        ("/* {\n */ }", "    \n    }"),
        ("for\"x\"", "for   "),
    ];
    for (given, expected) in cases {
        assert_eq!(blank_literals(given), expected, "{given}");
    }
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let code = "const fn a() {}\nimpl X {\n    pub(in crate::x) fn b<'a>(\n        x: [u8; 2],\n    ) -> u8 {\n        {\n        }\n    }\n    fn c();\n}\n";
    let found: Vec<(String, usize)> = functions(code).into_iter().map(|one| (one.name, one.lines)).collect();
    let expected = [("a", 1), ("b", 6), ("c", 1)].map(|(name, lines)| (name.to_string(), lines));
    assert_eq!(found, expected);
}
