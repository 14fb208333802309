//! A table of text: columns as wide as their widest cell, two spaces between them.
//!
//! Enters: rows of cells, which are cleaned here: none makes lines of its own. Leaves: lines. Knows no terminal.

use super::sanitize;

/// Lays rows out; the first row is the heading. Trailing spaces are cut.
pub fn render_table(rows: &[Vec<String>]) -> String {
    let clean = |row: &Vec<String>| row.iter().map(|cell| sanitize(cell).replace('\n', " ")).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(clean).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width_of(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let padding = width.saturating_sub(width_of(cell));
            format!("{cell}{}", " ".repeat(padding))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn width_of(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::render_table;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["NAME".into(), "STATE".into()], vec!["a-long-name".into(), "running".into()]];
        assert_eq!(render_table(&rows), "NAME         STATE\na-long-name  running");
        assert_eq!(render_table(&[]), "");
        assert_eq!(render_table(&[vec!["a\nb\u{1b}[2J".into(), "c".into()]]), "a b  c");
    }
}
