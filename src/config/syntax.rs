//! TOML text → tree, with every syntax error and every key that stands twice.
//!
//! Enters: a `Source`. Leaves: its tree, unless the text is too broken to be judged further.
//! Must not know which keys exist.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::problem::Problems;
use super::source::Source;
use crate::model::shown;

const DUPLICATE: &str = "duplicate key";

/// Parses a file. `None` when the tree would not be what the author meant; then the problems say why.
pub(super) fn parse<'s>(source: &'s Source, problems: &mut Problems) -> Option<DeTable<'s>> {
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    let tree = tree.into_inner();
    let mut is_whole = true;
    let mut told_lines = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        if error.message() == DUPLICATE {
            add_duplicate(source, &tree, span, problems);
            continue;
        }
        is_whole = false;
        // What follows on a broken line is mostly the same mistake, seen again.
        let line = source.line_range(span.start).start;
        if !told_lines.contains(&line) {
            told_lines.push(line);
            problems.add(span, describe(&error));
        }
    }
    is_whole.then_some(tree)
}

fn describe(error: &Error) -> String {
    let message: String = error.message().chars().flat_map(char::escape_debug).collect();
    let message = message.replace("\\\"", "\"").replace("\\'", "'");
    if message.contains("recurs") {
        return "lists and tables are nested too deeply".into();
    }
    format!("no valid TOML: {message}")
}

fn add_duplicate(source: &Source, tree: &DeTable<'_>, span: Range<usize>, problems: &mut Problems) {
    let name = source.text.get(span.clone()).unwrap_or_default();
    // Each search parses the text once more, so a file of nothing but one key gets no search for each.
    let first = if problems.is_flood() { None } else { find_first(&source.text, tree, &span) };
    let sentence = match first.map(|first| source.position(first)) {
        Some((line, column)) => {
            format!("`{}` is here for a second time, first at {line}:{column}", shown(name))
        }
        None => format!("`{}` is here for a second time", shown(name)),
    };
    problems.add(span, sentence);
}

/// A key that is in no table of the text, since it cannot be written without quotes.
const PROBE: &str = "\u{b7}";

/// Where the key at these bytes stood first.
fn find_first(text: &str, tree: &DeTable<'_>, span: &Range<usize>) -> Option<usize> {
    let name = read_path(&format!("[{}]", text.get(span.clone())?))?.pop()?;
    if let Some(first) = find_inline(tree, text, &name, span.start) {
        return Some(first);
    }
    let line = text[..span.start].rfind('\n').map_or(0, |end| end + 1);
    let (before, start) = (&text[..line], &text[line..span.start]);
    if start.trim_start().starts_with('[') {
        let header = text[line..].lines().next().unwrap_or_default();
        let (tree, _) = DeTable::parse_recoverable(before);
        return find_path(&tree.into_inner(), &read_path(header)?);
    }
    // The text before it with another key in its place: that lands in the table which has the first one.
    let probed = format!("{before}{start}\"{PROBE}\" = 1\n");
    let (tree, _) = DeTable::parse_recoverable(&probed);
    find_beside_probe(&tree.into_inner(), &name)
}

/// The key's place in the innermost inline table around a byte.
fn find_inline(table: &DeTable<'_>, text: &str, name: &str, at: usize) -> Option<usize> {
    let is_inline = |value: &Spanned<DeValue<'_>>| text.as_bytes().get(value.span().start) == Some(&b'{');
    let inner = |value: &Spanned<DeValue<'_>>| {
        let table = value.get_ref().as_table()?;
        let found = find_inline(table, text, name, at);
        let own = || table.get_key_value(name).map(|(key, _)| key.span().start);
        if is_inline(value) && value.span().contains(&at) { found.or_else(own) } else { found }
    };
    flat_values(table).find_map(inner)
}

fn find_path(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (name, rest) = path.split_first()?;
    let (key, value) = table.get_key_value(name.as_str())?;
    if rest.is_empty() {
        return Some(key.span().start);
    }
    let last = value.get_ref().as_array().and_then(|items| items.last()).unwrap_or(value);
    find_path(last.get_ref().as_table()?, rest)
}

fn find_beside_probe(table: &DeTable<'_>, name: &str) -> Option<usize> {
    if table.contains_key(PROBE) {
        return table.get_key_value(name).map(|(key, _)| key.span().start);
    }
    flat_values(table).find_map(|value| find_beside_probe(value.get_ref().as_table()?, name))
}

/// The values of a table, with the items of its lists.
fn flat_values<'t>(table: &'t DeTable<'_>) -> impl Iterator<Item = &'t Spanned<DeValue<'t>>> {
    table.iter().flat_map(|(_, value)| match value.get_ref().as_array() {
        Some(items) => items.iter().collect::<Vec<_>>(),
        None => vec![value],
    })
}

/// The names of a header such as `[a."b.c"]`.
fn read_path(header: &str) -> Option<Vec<String>> {
    let tree = DeTable::parse(header).ok()?.into_inner();
    let mut path = Vec::new();
    let mut table = &tree;
    while let Some((key, value)) = table.iter().next() {
        path.push(key.get_ref().to_string());
        let value = value.get_ref();
        let inner = value.as_array().and_then(|items| items.iter().next()).map_or(value, Spanned::get_ref);
        table = inner.as_table()?;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::judge;

    fn problems_of(text: &str) -> String {
        judge(text, |source, problems| drop(parse(source, problems)))
    }

    #[test]
    fn tells_several_syntax_errors_at_once() {
        insta::assert_snapshot!(problems_of("[blog\nmemory = \"4GiB\"\ncpus = = 4\n"), @r#"
        error: projects.toml:1:6: no valid TOML: unclosed table, expected `]`
          1 | [blog
            |      ^
        error: projects.toml:3:8: no valid TOML: extra `=`, expected nothing
          3 | cpus = = 4
            |        ^
        hint: edit `DIR/projects.toml`
        "#);
        insta::assert_snapshot!(problems_of("[blog]\nmemory = \"4GiB\nrepos = [\n"), @r#"
        error: projects.toml:2:15: no valid TOML: invalid basic string, expected `"`
          2 | memory = "4GiB
            |               ^
        error: projects.toml:3:10: no valid TOML: unclosed array, expected `]`
          3 | repos = [
            |          ^
        hint: edit `DIR/projects.toml`
        "#);
    }

    #[test]
    fn tells_both_places_of_a_key() {
        insta::assert_snapshot!(problems_of(concat!(
            "[blog]\nmemory = \"4GiB\"\nenv = { memory = \"x\", A = \"1\", A = \"2\" }\nmemory = \"6GiB\"\n",
            "\n[shop]\nmemory = \"1GiB\"\n\n[blog]\ncpus = 1\nmemory = \"1GiB\"\na.b = 1\na.b = 2\n",
            "[[x.y]]\nb = 1\n[[x.y]]\nb = 2\nb = 3\n[x.y.z]\n[x.y.z]\n",
        )), @r#"
        error: projects.toml:3:32: `A` is here for a second time, first at 3:23
          3 | env = { memory = "x", A = "1", A = "2" }
            |                                ^
        error: projects.toml:4:1: `memory` is here for a second time, first at 2:1
          4 | memory = "6GiB"
            | ^^^^^^
        error: projects.toml:9:2: `blog` is here for a second time, first at 1:2
          9 | [blog]
            |  ^^^^
        error: projects.toml:11:1: `memory` is here for a second time, first at 2:1
          11 | memory = "1GiB"
             | ^^^^^^
        error: projects.toml:13:3: `b` is here for a second time, first at 12:3
          13 | a.b = 2
             |   ^
        error: projects.toml:18:1: `b` is here for a second time, first at 17:1
          18 | b = 3
             | ^
        error: projects.toml:20:6: `z` is here for a second time, first at 19:6
          20 | [x.y.z]
             |      ^
        hint: edit `DIR/projects.toml`
        "#);
    }

    #[test]
    fn tells_deep_nesting_in_one_line() {
        insta::assert_snapshot!(problems_of(&format!("a = 1\nb = {}\n", "[".repeat(500))), @"
        error: projects.toml:2:85: lists and tables are nested too deeply
          2 | b = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…
            |                                                                                     ^
        hint: edit `DIR/projects.toml`
        ");
    }

    #[test]
    fn a_flood_of_duplicates_takes_no_time() {
        let report = problems_of(&"a = 1\n".repeat(20_000));
        assert!(report.contains("error: projects.toml: 19979 more problems"), "{report}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(
            text in "\\PC{0,80}|([a-c]( = |\\.)|[1\"']|\\[{1,2}[ab.]{0,4}\\]{0,2}\n|[{}\\[\\],\n#]){0,60}",
        ) {
            problems_of(&text);
        }
    }
}
