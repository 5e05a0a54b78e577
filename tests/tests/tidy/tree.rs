//! The tracked files of the repository, read once per rule.
//!
//! A file counts when git tracks it or would add it (`--others --exclude-standard`), so that a rule
//! speaks before the commit. Without git (a source archive) the directory is walked instead.

use crate::mask::mask;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

/// One text file: its path from the root, its text, and for Rust its text without comments and
/// string contents (same lines).
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
    pub(crate) executable: bool,
}

/// All text files of the repository, sorted by path.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// What a rule has to say: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    path: String,
    line: usize,
    text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.text)
    }
}

impl File {
    /// A file as a rule sees it; `code` is derived for `.rs` paths.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { mask(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code, executable: false }
    }

    /// A complaint about `line` (1-based) of this file.
    pub(crate) fn complaint(&self, line: usize, text: impl Into<String>) -> Complaint {
        Complaint { path: self.path.clone(), line, text: text.into() }
    }

    /// True for Rust sources.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The identifiers and keywords of the code, in order.
    pub(crate) fn words(&self) -> Vec<Word<'_>> {
        words(&self.code)
    }
}

/// An identifier or keyword with its line (1-based) and the byte where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
    pub(crate) end: usize,
}

/// Splits masked code into words (`[A-Za-z0-9_]+`), leaving all punctuation out.
pub(crate) fn words(code: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let (mut line, mut start) = (1, None);
    for (index, letter) in code.char_indices() {
        let in_word = letter.is_alphanumeric() || letter == '_';
        match (in_word, start) {
            (true, None) => start = Some(index),
            (false, Some(first)) => {
                found.push(Word { text: &code[first..index], line, end: index });
                start = None;
            }
            _ => {}
        }
        line += usize::from(letter == '\n');
    }
    if let Some(first) = start {
        found.push(Word { text: &code[first..], line, end: code.len() });
    }
    found
}

impl Tree {
    /// Reads the repository this package stands in; files that are not text are left out.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut paths = git_files(&root).unwrap_or_else(|| walked_files(&root));
        paths.sort();
        let files = paths.iter().filter_map(|path| read_file(&root, path)).collect();
        Self { files }
    }

    /// A tree of snippets, for the unit tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(snippets: &[(&str, &str)]) -> Self {
        Self { files: snippets.iter().map(|(path, text)| File::new(path, text)).collect() }
    }

    /// True when `path` is a file of the tree or a folder that holds one.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

/// The text of one file; none when it is gone, no plain file, or not UTF-8.
fn read_file(root: &Path, path: &str) -> Option<File> {
    let full = root.join(path);
    let text = String::from_utf8(fs::read(&full).ok()?).ok()?;
    let executable = fs::metadata(&full).ok()?.permissions().mode() & 0o111 != 0;
    Some(File { executable, ..File::new(path, &text) })
}

/// What git tracks or would add; none when git or the repository is missing.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()?;
    let listing = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> =
        listing.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

/// Every file below `root`, except what builds and git itself leave there.
fn walked_files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let path = folder.join(&name);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name != "target" && name != ".git" => {
                    folders.push(path);
                }
                Ok(kind) if kind.is_file() => found.push(path.to_string_lossy().into_owned()),
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_carry_their_line() {
        let found = words("fn one()\n{ two_2 }");
        let expected = [("fn", 1), ("one", 1), ("two_2", 2)];
        assert_eq!(found.iter().map(|word| (word.text, word.line)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_tree_holds_its_files_and_their_folders() {
        let tree = Tree::of(&[("docs/wire.md", "")]);
        assert!(tree.holds("docs/wire.md") && tree.holds("docs") && tree.holds("docs/"));
        assert!(!tree.holds("doc") && !tree.holds("docs/wire"));
    }

    #[test]
    fn git_and_the_walk_both_see_this_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let this = "tests/tests/tidy/tree.rs".to_owned();
        assert!(walked_files(&root).contains(&this));
        assert!(git_files(&root).is_none_or(|paths| paths.contains(&this)));
    }
}
