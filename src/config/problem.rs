//! Collects what is wrong with a file and shows all of it at once, each with its line and a caret.
//!
//! Enters: sentences with the bytes they are about. Leaves: one `Failure`.
//! Must not know what the sentences are about.

use std::fmt::Write;
use std::ops::Range;

use super::source::Source;
use crate::failure::{Failure, Kind, Result};
use crate::model::{Refused, credential_ranges, push_visible, shown};

/// Where more problems than this are found, something larger is wrong.
const PROBLEMS_SHOWN: usize = 20;
/// The longest piece of a line that is shown, in characters.
const EXCERPT_CHARACTERS: usize = 100;

/// One thing that is wrong.
#[derive(Debug)]
struct Problem {
    span: Range<usize>,
    sentence: String,
    kind: Kind,
}

/// Everything that is wrong with one file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    hints: Vec<String>,
    /// Pieces of the file with a credential, and what is shown instead.
    masks: Vec<(Range<usize>, String)>,
}

impl Problems {
    /// Notes that something is wrong with these bytes of the file.
    pub fn add(&mut self, span: Range<usize>, sentence: impl Into<String>) {
        self.list.push(Problem { span, sentence: sentence.into(), kind: Kind::Usage });
    }

    /// Notes something that is right in itself but not for a file that came with a repository.
    pub fn add_untrusted(&mut self, span: Range<usize>, sentence: impl Into<String>) {
        self.list.push(Problem { span, sentence: sentence.into(), kind: Kind::NotTrusted });
    }

    /// Notes that a parser refused the value of a key; a credential in it is hidden wherever the line is shown.
    pub fn refuse(&mut self, span: Range<usize>, key: &str, refused: &Refused) {
        if let Some(masked) = refused.masked_value() {
            self.mask(span.clone(), &format!("\"{}\"", shown(masked)));
        }
        self.add(span, format!("{}: {refused}", shown(key)));
    }

    /// Hides a piece of the file wherever its line is shown.
    pub fn mask(&mut self, span: Range<usize>, instead: &str) {
        self.masks.push((span, instead.to_owned()));
    }

    /// Adds advice to the end of the report, once.
    pub fn hint(&mut self, hint: impl Into<String>) {
        let hint = hint.into();
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether more was found than will be shown.
    pub fn is_flood(&self) -> bool {
        self.list.len() >= PROBLEMS_SHOWN
    }

    /// How much was found so far.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

/// Fails with one report when any of these files has a problem.
pub(super) fn check(files: &[(&Source, &Problems)]) -> Result<()> {
    let faulty: Vec<_> = files.iter().filter(|(_, problems)| !problems.is_empty()).collect();
    if faulty.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for (source, problems) in &faulty {
        let path = source.path.display().to_string();
        // Two files of one name are told apart by their paths.
        let label = if files.len() > 1 { &path } else { &source.label };
        render_file(&mut text, label, source, problems);
    }
    let all_untrusted = faulty
        .iter()
        .flat_map(|(_, problems)| &problems.list)
        .all(|problem| problem.kind == Kind::NotTrusted);
    let kind = if all_untrusted { Kind::NotTrusted } else { Kind::Usage };
    let mut failure = Failure::rendered(kind, text.trim_end().to_owned());
    failure.hints.extend(faulty.iter().flat_map(|(_, problems)| problems.hints.clone()));
    let paths: Vec<_> = faulty.iter().map(|(source, _)| format!("`{}`", source.path.display())).collect();
    failure.hints.push(format!("edit {}", paths.join(" and ")));
    Err(failure)
}

/// The problems of one file in the order of its text.
fn render_file(text: &mut String, label: &str, source: &Source, problems: &Problems) {
    let mut list: Vec<_> = problems.list.iter().collect();
    list.sort_by_key(|problem| problem.span.start);
    for problem in list.iter().take(PROBLEMS_SHOWN) {
        let (line, column) = source.position(problem.span.start);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "error: {label}:{line}:{column}: {}", problem.sentence);
        text.push_str(&render_excerpt(source, &problem.span, &problems.masks));
    }
    if list.len() > PROBLEMS_SHOWN {
        let _ = writeln!(text, "error: {label}: {} more problems", list.len() - PROBLEMS_SHOWN);
    }
}

/// The line that holds the start of a span, with carets below the span.
fn render_excerpt(source: &Source, span: &Range<usize>, masks: &[(Range<usize>, String)]) -> String {
    let line = source.line_range(span.start);
    let (number, _) = source.position(span.start);
    let shown = show_line(source, &line, span, masks);
    let cut = Window::around(&shown);
    let excerpt: String = shown.characters[cut.start..cut.end].iter().collect();
    let (before, after) = (if cut.start > 0 { "…" } else { "" }, if cut.is_cut_after { "…" } else { "" });
    let indent = " ".repeat(shown.carets.start - cut.start + before.chars().count());
    let carets = "^".repeat(shown.carets.end.min(cut.end).saturating_sub(shown.carets.start).max(1));
    let gutter = " ".repeat(number.to_string().len());
    format!("  {number} | {before}{excerpt}{after}\n  {gutter} | {indent}{carets}\n")
}

/// A line as it is printed, and which of its characters the carets stand below.
struct ShownLine {
    characters: Vec<char>,
    carets: Range<usize>,
}

fn show_line(
    source: &Source,
    line: &Range<usize>,
    span: &Range<usize>,
    masks: &[(Range<usize>, String)],
) -> ShownLine {
    let raw = &source.text[line.clone()];
    let logins = credential_ranges(raw)
        .into_iter()
        .map(|login| (line.start + login.start..line.start + login.end, "***".to_owned()));
    let hidden: Vec<_> = masks.iter().cloned().chain(logins).collect();
    let mut text = Vec::new();
    let mut carets = 0..0;
    let mut covered_to = line.start;
    for (offset, character) in raw.char_indices() {
        let at = line.start + offset;
        if at <= span.start {
            carets = text.len()..text.len();
        }
        if at >= covered_to {
            match hidden.iter().find(|(range, _)| range.contains(&at)) {
                Some((range, instead)) => {
                    text.extend(instead.chars());
                    covered_to = range.end;
                }
                None => push_character(&mut text, character),
            }
        }
        if at < span.end {
            carets.end = text.len();
        }
    }
    if span.start >= line.end {
        carets = text.len()..text.len();
    }
    ShownLine { characters: text, carets }
}

fn push_character(text: &mut Vec<char>, character: char) {
    if character == '\t' {
        text.extend("    ".chars());
        return;
    }
    let mut visible = String::new();
    push_visible(&mut visible, character);
    text.extend(visible.chars());
}

/// The piece of a long line that is shown.
struct Window {
    start: usize,
    end: usize,
    is_cut_after: bool,
}

impl Window {
    fn around(line: &ShownLine) -> Self {
        let length = line.characters.len();
        let fits = line.carets.end.max(line.carets.start) <= EXCERPT_CHARACTERS;
        let start =
            if length <= EXCERPT_CHARACTERS || fits { 0 } else { line.carets.start.saturating_sub(20) };
        let end = length.min(start + EXCERPT_CHARACTERS);
        Self { start, end, is_cut_after: end < length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { label: "projects.toml".into(), path: "/c/projects.toml".into(), text: text.into() }
    }

    fn excerpt(text: &str, span: Range<usize>) -> String {
        render_excerpt(&source(text), &span, &[])
    }

    #[test]
    fn carets_stand_below_the_value() {
        assert_eq!(
            excerpt("[blog]\nmemory = \"16 GB\"\n", 16..23),
            "  2 | memory = \"16 GB\"\n    |          ^^^^^^^\n"
        );
        assert_eq!(excerpt("a = 1", 5..5), "  1 | a = 1\n    |      ^\n");
        assert_eq!(excerpt("", 0..0), "  1 | \n    | ^\n");
        assert_eq!(excerpt("\tä = 1\r\n", 6..7), "  1 |     ä = 1\n    |         ^\n");
        assert_eq!(excerpt("a = \"\"\"\nb\"\"\"\n", 4..12), "  1 | a = \"\"\"\n    |     ^^^\n");
    }

    #[test]
    fn hidden_characters_are_escaped_and_counted() {
        assert_eq!(
            excerpt("a = \"\u{202e}x\" # \u{1b}", 4..10),
            "  1 | a = \"\\u{202e}x\" # \\u{1b}\n    |     ^^^^^^^^^^^\n"
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("a = \"{}\" {}", "x".repeat(200), "y".repeat(200));
        let shown = excerpt(&text, 4..206);
        assert_eq!(shown.lines().next().unwrap().chars().count(), "  1 | ".len() + 100 + 1);
        let near_the_end = excerpt(&text, 300..301);
        assert_eq!(near_the_end, format!("  1 | …{}…\n    | {}^\n", "y".repeat(100), " ".repeat(21)));
    }

    #[test]
    fn credentials_are_hidden_and_the_carets_follow() {
        assert_eq!(
            excerpt("a = \"https://u:p@h/x\", 5", 23..24),
            "  1 | a = \"https://***@h/x\", 5\n    |                        ^\n"
        );
    }

    #[test]
    fn only_distrust_is_code_5() {
        let source = source("a = 1\nb = 2\n");
        let mut problems = Problems::default();
        problems.add_untrusted(0..1, "first");
        assert_eq!(check(&[(&source, &problems)]).unwrap_err().kind, Kind::NotTrusted);
        problems.add(6..7, "second");
        let failure = check(&[(&source, &problems)]).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert_eq!(failure.hints, ["edit `/c/projects.toml`"]);
        assert_eq!(
            failure.rendered.unwrap(),
            "error: projects.toml:1:1: first\n  1 | a = 1\n    | ^\n\
             error: projects.toml:2:1: second\n  2 | b = 2\n    | ^"
        );
    }

    #[test]
    fn a_flood_is_cut() {
        let mut problems = Problems::default();
        for _ in 0..25 {
            problems.add(0..1, "again");
        }
        let text = check(&[(&source("x"), &problems)]).unwrap_err().rendered.unwrap();
        assert_eq!(text.matches("again").count(), 20);
        assert!(text.ends_with("error: projects.toml: 5 more problems"));
    }
}
