//! Draws lines over the ones before, on a terminal, with plain ANSI escapes (ECMA-48): cursor up,
//! erase the line. Nothing is hidden or saved, so an end at any moment leaves a usable terminal.

use std::fmt::Write as _;
use std::io;

use rustix::termios::tcgetwinsize;

use crate::output::{Output, Style};
use crate::text::{printable, shortened};

/// A line in pieces, each with its own style.
pub(super) type Line = Vec<(Option<Style>, String)>;

/// A line of one piece.
pub(super) fn plain(text: impl Into<String>) -> Line {
    vec![(None, text.into())]
}

/// Where the lines stand.
#[derive(Debug)]
pub(super) struct Screen<'a> {
    output: &'a Output,
    /// Lines drawn and to be drawn over.
    drawn: usize,
}

impl<'a> Screen<'a> {
    pub(super) const fn new(output: &'a Output) -> Self {
        Self { output, drawn: 0 }
    }

    /// Whether `lines` can be drawn over each other here: standard output is a terminal that moves
    /// its cursor, and high enough.
    pub(super) fn is_live(&self, lines: usize) -> bool {
        let is_dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        self.output.is_terminal() && !is_dumb && size().is_some_and(|(rows, _)| rows > lines)
    }

    /// Draws lines over the ones drawn before.
    ///
    /// # Errors
    /// What the system says of standard output.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let columns = size().map_or(80, |(_, columns)| columns);
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for line in lines {
            let _ = writeln!(text, "\r{}\x1b[K", rendered(line, columns, self.output));
        }
        // What an earlier, longer drawing left below.
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        self.output.write(text.as_bytes())
    }

    /// Writes lines that stay, in full width.
    ///
    /// # Errors
    /// What the system says of standard output.
    pub(super) fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        self.drawn = 0;
        let mut text = String::new();
        for line in lines {
            text.push_str(rendered(line, usize::MAX, self.output).trim_end());
            text.push('\n');
        }
        self.output.write(text.as_bytes())
    }
}

/// Rows and columns of the terminal; none when it does not say.
fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    let (rows, columns) = (usize::from(size.ws_row), usize::from(size.ws_col));
    (rows > 0 && columns > 0).then_some((rows, columns))
}

/// A line cut to the columns, painted, without a control character of its own.
fn rendered(line: &Line, columns: usize, output: &Output) -> String {
    let (mut text, mut left) = (String::new(), columns);
    for (style, piece) in line {
        let piece = piece.replace('\t', " ");
        let piece = printable(&piece);
        if left == 0 {
            break;
        }
        let piece = shortened(&piece, left);
        left -= piece.chars().count().min(left);
        match style {
            Some(style) => text.push_str(&output.paint(*style, piece)),
            None => text.push_str(&piece),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_wraps_and_never_commands_the_terminal() {
        let output = Output::detect();
        let line = vec![(None, "ab\t\x1b[2J".to_owned()), (None, "größe".to_owned())];
        assert_eq!(rendered(&line, usize::MAX, &output), "ab \\u{1b}[2Jgröße");
        for columns in 0..20 {
            assert!(rendered(&line, columns, &output).chars().count() <= columns, "{columns}");
        }
        assert_eq!(rendered(&plain("größe"), 4, &output), "grö…");
    }
}
