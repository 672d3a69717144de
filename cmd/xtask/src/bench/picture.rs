//! Groups of bars as an SVG picture that can be read on light and dark pages.
//!
//! The picture brings its own ground, so it does not matter on what it lies; the reader's system says which of the two
//! it is. Widths of texts are reckoned generously from their letters, because fonts differ.

use std::fmt;

/// Some figures, for each of which there are as many bars as there are series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) title: String,
    pub(super) series: Vec<String>,
    pub(super) groups: Vec<Group>,
}

/// One figure. The longest of its bars has the whole width: they are compared with one another and with nothing else.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) what: String,
    /// The value and what is written beside the bar, in the order of the series.
    pub(super) bars: Vec<(f64, String)>,
}

const MARGIN: u32 = 20;
const BAR: u32 = 14;
const GAP: u32 = 14;
/// Of the longest bar.
const WIDEST: u32 = 360;
/// Of a letter of the size that all texts have: a wide one of a wide font.
const LETTER: u32 = 8;
const HEAD: u32 = 72;

/// Colours that are told apart by those who see red and green alike: <https://jfly.uni-koeln.de/color/>.
const STYLE: &str = "\
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }\
    .title { font-weight: 600 }\
    .ground { fill: #ffffff; stroke: #d0d7de }\
    .s0 { fill: #0072b2 } .s1 { fill: #d55e00 } .s2 { fill: #e69f00 }\
    @media (prefers-color-scheme: dark) {\
    text { fill: #e6edf3 }\
    .ground { fill: #161b22; stroke: #3d444d }\
    .s0 { fill: #56b4e9 } .s1 { fill: #e8743b } .s2 { fill: #f0c35e }\
    }";

/// Reckoned width of a text.
fn width(text: &str) -> u32 {
    text.chars().map(|_| LETTER).sum()
}

impl Picture {
    /// Where bars begin.
    fn left(&self) -> u32 {
        let longest = self.groups.iter().map(|group| width(&group.what)).max();
        MARGIN + longest.unwrap_or_default() + GAP
    }

    fn size(&self) -> (u32, u32) {
        let texts = self.groups.iter().flat_map(|group| &group.bars).map(|(_, text)| width(text));
        let bars = self.left() + WIDEST + GAP + texts.max().unwrap_or_default() + MARGIN;
        let legend = self.series.iter().map(|name| 2 * BAR + width(name) + GAP).sum::<u32>();
        let head = width(&self.title).max(legend) + 2 * MARGIN;
        let tall = |group: &Group| group.bars.iter().map(|_| BAR).sum::<u32>() + GAP;
        let high: u32 = self.groups.iter().map(tall).sum();
        (bars.max(head), HEAD + high + MARGIN)
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wide, high) = self.size();
        let title = Escaped(&self.title);
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img">"#
        )?;
        writeln!(f, "<title>{title}</title>\n<style>{STYLE}</style>")?;
        let (inner_wide, inner_high) = (wide - 1, high - 1);
        writeln!(
            f,
            r#"<rect class="ground" x="0.5" y="0.5" width="{inner_wide}" height="{inner_high}" rx="6"/>"#
        )?;
        writeln!(f, r#"<text class="title" x="{MARGIN}" y="28">{title}</text>"#)?;
        let mut x = MARGIN;
        for (number, name) in self.series.iter().enumerate() {
            writeln!(
                f,
                r#"<rect class="s{number}" x="{x}" y="42" width="{BAR}" height="{BAR}"/>"#
            )?;
            let beside = x + BAR + BAR / 2;
            writeln!(f, r#"<text x="{beside}" y="53">{}</text>"#, Escaped(name))?;
            x = beside + width(name) + GAP;
        }
        let left = self.left();
        let mut y = HEAD;
        for group in &self.groups {
            writeln!(
                f,
                r#"<text x="{MARGIN}" y="{}">{}</text>"#,
                y + BAR - 3,
                Escaped(&group.what)
            )?;
            let longest = group.bars.iter().map(|(value, _)| *value).fold(0.0, f64::max);
            for (number, (value, text)) in group.bars.iter().enumerate() {
                let long = length(*value, longest);
                let tall = BAR - 2;
                writeln!(
                    f,
                    r#"<rect class="s{number}" x="{left}" y="{y}" width="{long:.1}" height="{tall}"/>"#
                )?;
                let (beside, base) = (f64::from(left + GAP / 2) + long, y + BAR - 3);
                writeln!(f, r#"<text x="{beside:.1}" y="{base}">{}</text>"#, Escaped(text))?;
                y += BAR;
            }
            y += GAP;
        }
        writeln!(f, "</svg>")
    }
}

/// A bar that is there has at least a pixel.
fn length(value: f64, longest: f64) -> f64 {
    if value > 0.0 && longest > 0.0 { (f64::from(WIDEST) * value / longest).max(1.0) } else { 0.0 }
}

/// A text between tags.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            _ => write!(f, "{letter}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let bar = |value: f64| (value, format!("{value} s"));
        let group = |what: &str, values: [f64; 3]| Group {
            what: what.to_owned(),
            bars: values.map(bar).to_vec(),
        };
        Picture {
            title: "nodes & <Services>".to_owned(),
            series: ["ours", "Go", "Go, tuned"].map(str::to_owned).to_vec(),
            groups: vec![group("CPU", [1.0, 100_000.0, 50_000.0]), group("none", [0.0, 0.0, 0.0])],
        }
    }

    /// The value of an attribute.
    fn attribute(line: &str, name: &str) -> Option<f64> {
        line.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0.parse().ok()
    }

    #[test]
    fn the_longest_bar_has_the_width_and_the_shortest_can_be_seen() {
        let svg = picture().to_string();
        let bars = svg.lines().filter(|line| line.contains("height=\"12\""));
        let bars: Vec<_> = bars.filter_map(|line| attribute(line, "width")).collect();
        assert_eq!(bars, [1.0, 360.0, 180.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn no_text_leaves_the_picture() {
        let svg = picture().to_string();
        let (wide, high) = picture().size();
        let (wide, high) = (f64::from(wide), f64::from(high));
        let texts: Vec<_> = svg.lines().filter(|line| line.starts_with("<text")).collect();
        assert_eq!(texts.len(), 1 + 3 + 2 * (1 + 3));
        for line in texts {
            let text = line.split_once('>').unwrap().1.strip_suffix("</text>").unwrap();
            let end = attribute(line, "x").unwrap() + f64::from(width(text));
            assert!(end <= wide && attribute(line, "y").unwrap() <= high, "{line}");
        }
    }

    #[test]
    fn what_tags_are_made_of_is_escaped() {
        let svg = picture().to_string();
        assert!(svg.contains("nodes &amp; &lt;Services&gt;</title>"), "{svg}");
        let open = |tag: &str| svg.matches(&format!("<{tag}")).count();
        assert_eq!(open("text"), svg.matches("</text>").count());
        assert_eq!(open("svg"), 1);
    }
}
