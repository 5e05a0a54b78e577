//! Blanks comments and the contents of string and character literals, so that rules about code do
//! not trip over words in prose. Lines keep their numbers; everything blanked becomes spaces.

/// The text with comments and literal contents replaced by spaces.
pub(crate) fn mask(text: &str) -> String {
    let mut masker = Masker { letters: text.chars().collect(), at: 0, out: String::new() };
    while masker.at < masker.letters.len() {
        masker.step();
    }
    masker.out
}

struct Masker {
    letters: Vec<char>,
    at: usize,
    out: String,
}

impl Masker {
    /// Takes one construct: a comment, a literal, or a single letter of code.
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.blank_while(|masker| masker.peek(0) != '\n'),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', '\\') => self.character(),
            ('\'', _) if self.peek(2) == '\'' => self.blank(3),
            ('r', '"' | '#') if !self.follows_word() => self.raw_string(),
            _ => {
                self.out.push(self.peek(0));
                self.at += 1;
            }
        }
    }

    /// The letter `ahead` places from here, or NUL past the end.
    fn peek(&self, ahead: usize) -> char {
        self.letters.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// True when the letter before belongs to a word, so that `r` here is no raw-string prefix
    /// (`b` and `c` may stand before it).
    fn follows_word(&self) -> bool {
        let before = |back: usize| self.at.checked_sub(back).map(|index| self.letters[index]);
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        match before(1) {
            Some('b' | 'c') => before(2).is_some_and(is_word),
            Some(letter) => is_word(letter),
            None => false,
        }
    }

    fn blank(&mut self, count: usize) {
        for _ in 0..count.min(self.letters.len() - self.at) {
            self.out.push(if self.peek(0) == '\n' { '\n' } else { ' ' });
            self.at += 1;
        }
    }

    fn blank_while(&mut self, keep_on: impl Fn(&Self) -> bool) {
        while self.at < self.letters.len() && keep_on(self) {
            self.blank(1);
        }
    }

    /// Block comments nest.
    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.letters.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.blank(1);
                    continue;
                }
            }
            self.blank(2);
            if depth == 0 {
                return;
            }
        }
    }

    /// A string with escapes.
    fn string(&mut self) {
        self.blank(1);
        while self.at < self.letters.len() && self.peek(0) != '"' {
            self.blank(if self.peek(0) == '\\' { 2 } else { 1 });
        }
        self.blank(1);
    }

    /// A character literal that begins with an escape.
    fn character(&mut self) {
        self.blank(3);
        self.blank_while(|masker| masker.peek(0) != '\'');
        self.blank(1);
    }

    /// A raw string, or the `r` of a raw identifier (`r#type`), which is code.
    fn raw_string(&mut self) {
        let mut hashes = 0;
        while self.peek(1 + hashes) == '#' {
            hashes += 1;
        }
        if self.peek(1 + hashes) != '"' {
            self.out.push('r');
            self.at += 1;
            return;
        }
        self.blank(hashes + 2);
        let closes = |masker: &Self| {
            masker.peek(0) == '"' && (1..=hashes).all(|index| masker.peek(index) == '#')
        };
        self.blank_while(|masker| !closes(masker));
        self.blank(hashes + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    /// What is left when runs of spaces are joined.
    fn left(text: &str) -> String {
        mask(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_vanish_and_lines_stay() {
        assert_eq!(left("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(mask("a /* b\n c */ d\n").matches('\n').count(), 2);
    }

    #[test]
    fn strings_vanish_with_their_escapes() {
        assert_eq!(left(r#"a("b \" c") d"#), "a( ) d");
        assert_eq!(left("a(r#\"b \" c\"#) d"), "a( ) d");
        assert_eq!(left("a(br\"b\\\") d"), "a(b ) d");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        assert_eq!(left("&'a str; '{'; '\\''; '\\u{7d}'; x"), "&'a str; ; ; ; x");
        assert_eq!(left("r#fn for\"x\""), "r#fn for");
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_text() {
        assert_eq!(left("a \"b"), "a");
        assert_eq!(left("a /* b"), "a");
        assert_eq!(left("a r#\"b"), "a");
    }
}
