//! The dialect of the file: that of gcfg, the reader of the Go programs, which is git-config's.
//!
//! Only the form is judged here, not which keys there are.

use ccm_core::cloud::ConfigError;
use winnow::combinator::{alt, cut_err, delimited, eof, opt, preceded, repeat, terminated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::token::{any, one_of, take_till, take_while};
use winnow::{ModalResult, Parser};

/// `[Name]` or `[Name "id"]`, with what stands below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) id: Option<String>,
    /// Counted from 1.
    pub(super) line: u64,
    pub(super) variables: Vec<Variable>,
}

/// `Key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) key: String,
    /// Without quotes and escapes. `None`: the key stands alone, without `=`.
    pub(super) value: Option<String>,
    /// Counted from 1.
    pub(super) line: u64,
}

/// Takes the file apart.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Section>, ConfigError> {
    let text = str::from_utf8(bytes).map_err(|err| {
        let line = 1 + newlines(&String::from_utf8_lossy(&bytes[..err.valid_up_to()]));
        ConfigError::new("the file is not UTF-8").at_line(line)
    })?;
    // Editors on Windows put it in front.
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut sections: Vec<Section> = Vec::new();
    let mut line = 1;
    while !rest.is_empty() {
        let before = rest;
        let found = statement.parse_next(&mut rest).map_err(|err| wrong(&err).at_line(line))?;
        match found {
            Statement::Nothing => {}
            Statement::Header(name, id) => {
                sections.push(Section { name, id, line, variables: Vec::new() });
            }
            Statement::Variable(key, value) => {
                let Some(section) = sections.last_mut() else {
                    let why = "stands before the first section: expected [Global] above it";
                    return Err(ConfigError::new(why).at_key(key).at_line(line));
                };
                section.variables.push(Variable { key, value, line });
            }
        }
        line += newlines(&before[..before.len() - rest.len()]);
    }
    Ok(sections)
}

fn newlines(text: &str) -> u64 {
    text.matches('\n').count() as u64
}

/// Says what the grammar looked for, as closely as it knows. What stands there is not repeated.
fn wrong(err: &ErrMode<ContextError>) -> ConfigError {
    let context = match err {
        ErrMode::Backtrack(err) | ErrMode::Cut(err) => Some(err.context()),
        ErrMode::Incomplete(_) => None,
    };
    let wanted = context.into_iter().flatten().find_map(|context| match context {
        StrContext::Expected(wanted) => Some(wanted.to_string()),
        _ => None,
    });
    ConfigError::new(format!("expected {}", wanted.as_deref().unwrap_or("something else")))
}

/// What stands in one line, or in several that are joined by a backslash at the end.
enum Statement {
    Nothing,
    Header(String, Option<String>),
    Variable(String, Option<String>),
}

fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

fn statement(input: &mut &str) -> ModalResult<Statement> {
    let what = alt((
        header.map(|(name, id)| Statement::Header(name, id)),
        variable.map(|(key, value)| Statement::Variable(key, value)),
        end.map(|()| Statement::Nothing),
    ))
    .context(expected(
        "a section such as [Global], a key such as Region = eu-west-1, or a comment",
    ));
    preceded(blanks, what).parse_next(input)
}

fn header(input: &mut &str) -> ModalResult<(String, Option<String>)> {
    let inside = (
        delimited(blanks, name.context(expected("the name of a section after \"[\"")), blanks),
        opt(terminated(id, blanks)),
    );
    let close = (
        ']'.context(expected("\"]\"")),
        end.context(expected("nothing but a comment behind \"]\"")),
    );
    preceded('[', cut_err(terminated(inside, close))).parse_next(input)
}

/// The part in quotes. There only a quote and a backslash may be escaped.
fn id(input: &mut &str) -> ModalResult<String> {
    let escaped = preceded('\\', one_of(['\\', '"']));
    let plain = one_of(|c| !matches!(c, '"' | '\\' | '\n'));
    let inside = terminated(repeat(1.., alt((escaped, plain))), '"');
    preceded('"', cut_err(inside.context(expected("a name in quotes")))).parse_next(input)
}

fn variable(input: &mut &str) -> ModalResult<(String, Option<String>)> {
    let value = opt(preceded('=', cut_err(value)));
    let end = cut_err(end).context(expected("\"=\" and a value behind the key"));
    (terminated(name, blanks), terminated(value, end)).parse_next(input)
}

fn name(input: &mut &str) -> ModalResult<String> {
    (one_of(char::is_alphabetic), take_while(0.., |c: char| c.is_alphanumeric() || c == '-'))
        .take()
        .map(str::to_owned)
        .parse_next(input)
}

/// A piece of a value.
enum Piece<'a> {
    /// As it stands. Blanks at the end of a value do not count.
    Plain(&'a str),
    /// From between quotes.
    Quoted(String),
    Escaped(char),
    /// A backslash at the end of the line.
    Joined,
}

fn value(input: &mut &str) -> ModalResult<String> {
    let piece = alt((
        take_while(1.., |c| !matches!(c, '"' | '\\' | ';' | '#' | '\n')).map(Piece::Plain),
        quoted.map(Piece::Quoted),
        ('\\', opt('\r'), '\n').map(|_| Piece::Joined),
        escape.map(Piece::Escaped),
    ));
    let (mut text, length) = preceded(
        blanks,
        repeat(0.., piece).fold(
            || (String::new(), 0),
            |(mut text, mut length), piece| {
                match piece {
                    Piece::Plain(plain) => {
                        text.push_str(plain);
                        if !plain.trim_end().is_empty() {
                            length = text.trim_end().len();
                        }
                    }
                    Piece::Quoted(quoted) => {
                        text.push_str(&quoted);
                        length = text.len();
                    }
                    Piece::Escaped(c) => {
                        text.push(c);
                        length = text.len();
                    }
                    Piece::Joined => {}
                }
                (text, length)
            },
        ),
    )
    .parse_next(input)?;
    text.truncate(length);
    Ok(text)
}

fn quoted(input: &mut &str) -> ModalResult<String> {
    let plain = one_of(|c| !matches!(c, '"' | '\\' | '\n'));
    let close = cut_err('"').context(expected("a closing quote in the same line"));
    delimited('"', repeat(0.., alt((escape, plain))), close).parse_next(input)
}

fn escape(input: &mut &str) -> ModalResult<char> {
    let escaped = any.verify_map(|c| match c {
        '\\' | '"' => Some(c),
        'n' => Some('\n'),
        't' => Some('\t'),
        _ => None,
    });
    preceded('\\', cut_err(escaped))
        .context(expected("\\\\, \\\", \\n or \\t: a backslash is written twice"))
        .parse_next(input)
}

fn blanks(input: &mut &str) -> ModalResult<()> {
    take_while(0.., [' ', '\t', '\r']).void().parse_next(input)
}

/// The rest of a line that may hold no more than a comment.
fn end(input: &mut &str) -> ModalResult<()> {
    let comment = (one_of([';', '#']), take_till(0.., '\n'));
    (blanks, opt(comment), alt(('\n'.void(), eof.void()))).void().parse_next(input)
}
