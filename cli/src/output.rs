//! What a person and a script see: standard output for results, standard error for everything
//! beside them, colours only where they help.
//!
//! The one place of the command that writes to a terminal without a stream of its own. Text that
//! came from outside has its control characters made visible before it gets here or here.

use std::fmt::{Arguments, Display};
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::text::printable;

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Something is wrong.
    Bad,
    /// Something is as it should be.
    Good,
    /// Worth a look.
    Warning,
    /// A title.
    Bold,
    /// Less important.
    Dim,
}

impl Style {
    /// The number of the ANSI escape (ECMA-48, "select graphic rendition").
    const fn code(self) -> &'static str {
        match self {
            Self::Bad => "1;31",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bold => "1",
            Self::Dim => "2",
        }
    }
}

/// Where the command writes, and what the other end understands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Standard output is a terminal.
    terminal_out: bool,
    /// Standard error is a terminal.
    terminal_err: bool,
    /// The user wants no colours anywhere.
    plain: bool,
}

impl Output {
    /// Looks at the two streams and at `NO_COLOR` (set and not empty: no colours) and `TERM=dumb`.
    pub(crate) fn detect() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            terminal_out: io::stdout().is_terminal(),
            terminal_err: io::stderr().is_terminal(),
            plain: no_color || dumb,
        }
    }

    /// Whether standard output is a terminal: somebody looks.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal_out
    }

    /// `text` for standard output in a style, or as it is where there are no colours.
    pub(crate) fn paint(&self, style: Style, text: impl Display) -> String {
        painted(self.terminal_out && !self.plain, style, text)
    }

    /// Writes bytes to standard output and flushes.
    ///
    /// # Errors
    /// What the system says; a broken pipe ends the command quietly (see `main`).
    #[expect(clippy::unused_self, reason = "the one way to standard output")]
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Writes one line to standard output.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) fn line(&self, text: impl Display) -> io::Result<()> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes one value as one line of JSON to standard output.
    ///
    /// # Errors
    /// As [`Output::write`], or when the value has no JSON form.
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// Writes one value as one line of JSON to standard error: the account at the end.
    ///
    /// # Errors
    /// When the value has no JSON form. That nobody reads standard error is none.
    pub(crate) fn summary(&self, value: &impl Serialize) -> io::Result<()> {
        self.tell(&serde_json::to_string(value)?);
        Ok(())
    }

    /// Tells why the command ends, in one line.
    pub(crate) fn error(&self, text: Arguments<'_>) {
        self.labelled(Style::Bad, "error", text);
    }

    /// Tells of something that went wrong while the command goes on, in one line.
    pub(crate) fn warning(&self, text: Arguments<'_>) {
        self.labelled(Style::Warning, "warning", text);
    }

    /// Tells a person something worth knowing; silent when standard error is not a terminal.
    pub(crate) fn hint(&self, text: Arguments<'_>) {
        if self.terminal_err {
            let text = text.to_string();
            self.tell(&painted(!self.plain, Style::Dim, printable(&text)));
        }
    }

    /// Writes one line to standard error as it is, control characters made visible.
    pub(crate) fn report(&self, text: Arguments<'_>) {
        self.tell(&printable(&text.to_string()));
    }

    /// Shows `text` in place of the last progress line; an empty one takes it away. Silent when
    /// standard error is not a terminal.
    pub(crate) fn progress(&self, text: &str) {
        if self.terminal_err {
            let mut err = io::stderr().lock();
            // Carriage return, text, erase to the end of the line.
            let _ = write!(err, "\r{}\x1b[K", printable(text)).and_then(|()| err.flush());
        }
    }

    fn labelled(&self, style: Style, label: &str, text: Arguments<'_>) {
        let label = painted(self.terminal_err && !self.plain, style, format_args!("{label}:"));
        self.tell(&format!("{label} {}", printable(&text.to_string())));
    }

    /// One line to standard error. When nobody can be told, there is nobody to tell that.
    #[expect(clippy::unused_self, reason = "the one way to standard error")]
    fn tell(&self, line: &str) {
        let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    }
}

fn painted(colours: bool, style: Style, text: impl Display) -> String {
    if colours { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_painted_only_where_colours_are_wanted() {
        assert_eq!(painted(true, Style::Good, "ok"), "\x1b[32mok\x1b[0m");
        assert_eq!(painted(false, Style::Good, "ok"), "ok");
        let plain = Output { terminal_out: true, terminal_err: true, plain: true };
        assert_eq!(plain.paint(Style::Bad, 7), "7");
        let colours = Output { plain: false, ..plain };
        assert_eq!(colours.paint(Style::Bold, 7), "\x1b[1m7\x1b[0m");
    }
}
