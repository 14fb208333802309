//! A TOML file as sorted lines, one for each value: the same for two files that say the same.
//!
//! Enters: text. Leaves: lines such as `blog.cpus = 4`, for a digest and for showing what has changed.
//! Must not know any key by name.

use toml::{Table, Value};

/// The lines of a file, each after `label`; none when it is no TOML.
pub(super) fn normalise(label: &str, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Ok(table) = text.parse::<Table>() {
        push_table(&mut lines, &format!("{label}: "), &table);
    }
    lines.sort();
    lines
}

fn push_table(lines: &mut Vec<String>, path: &str, table: &Table) {
    for (key, value) in table {
        let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let key = if is_bare { key.clone() } else { json(&Value::String(key.clone())) };
        match value {
            Value::Table(inner) if !inner.is_empty() => push_table(lines, &format!("{path}{key}."), inner),
            value => lines.push(format!("{path}{key} = {}", json(value))),
        }
    }
}

/// JSON has one line for every value, and escapes what ends one.
fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn layout_and_order_do_not_count() {
        let one = normalise(
            "f",
            "# a\n[blog]\nrepos = [\n \".\", # b\n]\ncpus = 2\nenv = { B = 'x', \"a.b\" = \"1\\n2\" }\n",
        );
        let two =
            normalise("f", "blog.cpus = 2\nblog.repos = [\".\"]\n[blog.env]\n'a.b' = \"1\\n2\"\nB = \"x\"\n");
        assert_eq!(one, two);
        assert_eq!(
            one,
            [
                "f: blog.cpus = 2",
                r#"f: blog.env."a.b" = "1\n2""#,
                r#"f: blog.env.B = "x""#,
                r#"f: blog.repos = ["."]"#
            ]
        );
    }

    #[test]
    fn other_values_are_other_lines() {
        let of = |text| normalise("f", text);
        assert_ne!(of("a = 1"), of("a = \"1\""));
        assert_ne!(of("a = \"x\\ny\""), of("a = 'x\\ny'"));
        assert_ne!(of("a.b = 1"), of("\"a.b\" = 1"));
        assert_ne!(of("a = [1, 2]"), of("a = [2, 1]"));
        assert_eq!(of("a = {}"), ["f: a = {}"]);
        assert!(of("a = ").is_empty());
    }
}
