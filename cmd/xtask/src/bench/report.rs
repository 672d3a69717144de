//! How figures are printed and written.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::Error;

/// Where figures go besides the terminal.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Output {
    /// Write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table to this file, as Markdown for docs/src/reference/figures.md.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Output {
    pub(super) fn write(&self, figures: &impl Serialize, table: &Table) -> Result<(), Error> {
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(figures)? + "\n")?;
        }
        if let Some(file) = &self.markdown {
            std::fs::write(file, table.to_string())?;
        }
        Ok(())
    }
}

/// A table in Markdown, with columns of one width, so that a terminal shows it as well as a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Self {
        Self { heads: heads.iter().map(|&head| head.to_owned()).collect(), rows: Vec::new() }
    }

    /// One figure a row: what it is, and its value with the unit.
    pub(super) fn of_figures(figures: &[Figure]) -> Self {
        let mut table = Self::new(&["", ""]);
        for Figure { what, value, unit } in figures {
            table.row(vec![what.clone(), format!("{} {unit}", rounded(*value)).trim().to_owned()]);
        }
        table
    }

    /// Adds a row, which has as many cells as there are heads.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

/// The first column says what a row is about and is on the left; numbers are on the right.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.heads).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines().filter_map(|cells| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(4)
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        for (number, cells) in lines().enumerate() {
            f.write_str("|")?;
            for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, " {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if number == 0 {
                let rule = |(column, &width): (usize, &usize)| {
                    let dashes = "-".repeat(width - 1);
                    if column == 0 { format!(" {dashes}- |") } else { format!(" {dashes}: |") }
                };
                let rules: String = widths.iter().enumerate().map(rule).collect();
                writeln!(f, "|{rules}")?;
            }
        }
        Ok(())
    }
}

/// One figure by its name, where they are listed one below the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

impl Figure {
    pub(super) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit }
    }
}

/// A line for each.
pub(super) fn say_figures(figures: &[Figure]) -> Result<(), Error> {
    for Figure { what, value, unit } in figures {
        say(format_args!("  {what:<40} {value:>10.3} {unit}"))?;
    }
    Ok(())
}

pub(super) fn say(line: impl fmt::Display) -> Result<(), Error> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The middle one; of an even number the lower of the two in the middle.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The largest.
pub(super) fn worst(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().max_by(f64::total_cmp).unwrap_or(f64::NAN)
}

/// As many digits as are interesting: `0.072`, `3.46`, `59.3`, `1234`; a count has none.
pub(super) fn rounded(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        0.0..1.0 => format!("{value:.3}"),
        1.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// `15,000`.
pub(super) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 3 == head {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_in_columns() {
        let mut table = Table::new(&["nodes", "CPU, s"]);
        table.row(vec!["500".to_owned(), "0.4".to_owned()]);
        table.row(vec!["15,000".to_owned(), "12.5".to_owned()]);
        let lines = [
            "| nodes  | CPU, s |",
            "| ------ | -----: |",
            "| 500    |    0.4 |",
            "| 15,000 |   12.5 |",
            "",
        ];
        assert_eq!(table.to_string(), lines.join("\n"));
    }

    #[test]
    fn figures_are_as_long_as_they_are_interesting() {
        let said = [3.0, 0.0721, 3.456, 59.27, 1234.5].map(rounded);
        assert_eq!(said, ["3", "0.072", "3.46", "59.3", "1234"]);
        let table =
            Table::of_figures(&[Figure::new("CPU", 0.5, "s"), Figure::new("ratio", 1.5, "")]);
        assert!(
            table.to_string().ends_with("| CPU   | 0.500 s |\n| ratio |    1.50 |\n"),
            "{table}"
        );
    }

    #[test]
    fn thousands_are_told_apart() {
        let said = [0, 999, 1000, 15_000, 1_234_567].map(grouped);
        assert_eq!(said, ["0", "999", "1,000", "15,000", "1,234,567"]);
    }

    #[test]
    fn the_middle_and_the_worst() {
        assert!((median([3.0, 1.0, 2.0, 9.0]) - 2.0).abs() < f64::EPSILON);
        assert!((worst([3.0, 9.0, 2.0]) - 9.0).abs() < f64::EPSILON);
        assert!(median([]).is_nan() && worst([]).is_nan());
    }
}
