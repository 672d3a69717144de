//! What the person at the terminal sees.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Width of running text; it fits the narrowest terminal.
const WIDTH: usize = 80;

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Bold,
    Good,
    Waiting,
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Good => "32",
            Self::Waiting => "33",
            Self::Bad => "1;31",
        }
    }
}

/// Standard output, with colours where somebody looks at them.
///
/// A reader that goes away (`| head`) stops nothing: what was started still has to be stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    colour: bool,
}

impl Out {
    /// <https://no-color.org>
    pub(crate) fn to_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: io::stdout().is_terminal() && !unwanted }
    }

    pub(crate) fn paint(self, tone: Tone, text: impl Display) -> String {
        if self.colour && tone != Tone::Plain {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_string()
        }
    }

    /// One line, in one write, so that lines of several tasks do not mix.
    #[expect(clippy::unused_self, reason = "there is one way to speak")]
    pub(crate) fn line(self, text: impl Display) {
        let text = format!("{text}\n");
        let mut stdout = io::stdout().lock();
        drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
    }

    pub(crate) fn heading(self, text: impl Display) {
        self.line(format_args!("\n{}", self.paint(Tone::Bold, format_args!("== {text}"))));
    }

    /// Running text.
    pub(crate) fn text(self, text: &str) {
        self.line(wrap(text, WIDTH).join("\n"));
    }

    /// Something that was to be is.
    pub(crate) fn ok(self, text: impl Display) {
        self.line(format_args!("{}", self.paint(Tone::Good, format_args!("ok: {text}"))));
    }

    pub(crate) fn failure(self, text: impl Display) {
        self.line(format_args!("\n{}", self.paint(Tone::Bad, format_args!("FAILED: {text}"))));
    }
}

/// `0.04 s`, `12.3 s`, `3 min 20 s`.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{:.2} s", time.as_secs_f64()),
        1..120 => format!("{:.1} s", time.as_secs_f64()),
        120.. => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Breaks text at blanks. Words that are longer than a line stand alone.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_breaks_at_blanks_only() {
        assert_eq!(wrap("one  two\n three", 7), ["one two", "three"]);
        assert_eq!(wrap("a incomprehensible b", 5), ["a", "incomprehensible", "b"]);
        assert!(wrap("", 5).is_empty());
    }

    #[test]
    fn times_are_as_long_as_they_are_interesting() {
        assert_eq!(took(Duration::from_millis(42)), "0.04 s");
        assert_eq!(took(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(took(Duration::from_secs(200)), "3 min 20 s");
    }

    #[test]
    fn without_colours_there_is_nothing_but_the_text() {
        assert_eq!(Out { colour: false }.paint(Tone::Bad, "x"), "x");
        assert_eq!(Out { colour: true }.paint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
    }
}
