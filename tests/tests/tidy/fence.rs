//! Rules about what code may do where: `unsafe` only in the files listed here, never inside a
//! macro, and no printing from a library.

use crate::tree::{Complaint, File, Tree};

/// The one list of files that may contain `unsafe`. A `*` stands for any part of a file name.
pub(crate) const UNSAFE_FILES: &[&str] = &[
    // The ring: memory, and the two sides that write and read it.
    "ring/src/memory.rs",
    "ring/src/producer.rs",
    "ring/src/consumer.rs",
    // One plain function per system call.
    "dataplane/src/sys.rs",
    "dataplane/src/sys/receive.rs",
    "dataplane/src/sys/send.rs",
    // The rings of io_uring and the buffers the kernel fills.
    "dataplane/src/io/uring/ring.rs",
    "dataplane/src/io/uring/buffers.rs",
    // Counting allocators: implementing `GlobalAlloc` cannot be done without.
    "tests/tests/no_alloc.rs",
    "fabric/tests/*alloc*.rs",
    // The same for fuzzed readers, and the clock of one thread.
    "fabric/fuzz/src/lib.rs",
];

/// Crates that are linked by others and leave standard output to their user.
const LIBRARIES: &[&str] =
    &["ring/src/", "wire/src/", "dataplane/src/", "control/src/", "fabric/src/", "derive/src/"];

/// `unsafe` appears in the listed files and nowhere else; a listed file without any is struck off.
pub(crate) fn unsafe_files(tree: &Tree, list: &[&str]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        let first = file.words().into_iter().find(|word| word.text == "unsafe");
        let listed = list.iter().any(|pattern| matches(pattern, &file.path));
        match (first, listed) {
            (Some(word), false) => {
                let text = "unsafe outside the listed files: write it safely, or move it there";
                complaints.push(file.complaint(word.line, text));
            }
            (None, true) => {
                complaints.push(file.complaint(1, "listed for unsafe but has none: strike it off"));
            }
            _ => {}
        }
    }
    complaints
}

/// True when `path` fits `pattern`, where each `*` stands for any run of letters without a slash.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == path };
    let Some(rest) = path.strip_prefix(before) else { return false };
    let stops = (0..=rest.len()).filter(|&index| rest.is_char_boundary(index));
    stops
        .take_while(|&index| !rest[..index].contains('/'))
        .any(|index| matches(after, &rest[index..]))
}

/// No `macro_rules!` has `unsafe` in it: a reader of the call would not see it.
pub(crate) fn unsafe_macros(file: &File) -> Vec<Complaint> {
    let words = file.words();
    let mut complaints = Vec::new();
    for word in words.iter().filter(|word| word.text == "macro_rules") {
        let end = word.end + group_bytes(&file.code[word.end..]);
        let inside = |other: &&crate::tree::Word<'_>| other.end > word.end && other.end <= end;
        if let Some(hidden) = words.iter().filter(inside).find(|other| other.text == "unsafe") {
            let text = "unsafe inside a macro: make it a function in a listed file";
            complaints.push(file.complaint(hidden.line, text));
        }
    }
    complaints
}

/// Bytes up to the end of the first bracketed group, whatever its brackets.
fn group_bytes(code: &str) -> usize {
    let mut depth = 0;
    for (index, letter) in code.char_indices() {
        match letter {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' if depth == 1 => return index + 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Libraries do not print, and `dbg!` stays nowhere.
pub(crate) fn prints(file: &File) -> Vec<Complaint> {
    let in_library = LIBRARIES.iter().any(|folder| file.path.starts_with(folder));
    let banned = |word: &str| match word {
        "dbg" => true,
        "print" | "println" | "eprint" | "eprintln" => in_library,
        _ => false,
    };
    let words = file.words().into_iter();
    words
        .filter(|word| banned(word.text) && file.code[word.end..].starts_with('!'))
        .map(|word| file.complaint(word.line, format!("leftover {}!: remove it", word.text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[&str] = &["a/sys.rs", "b/*alloc*.rs"];

    #[test]
    fn unsafe_is_found_only_in_code_and_only_elsewhere() {
        let count = |path, text| unsafe_files(&Tree::of(&[(path, text)]), LIST).len();
        assert_eq!(count("a/other.rs", "fn a() { unsafe { b() } }"), 1);
        assert_eq!(count("a/sys.rs", "unsafe fn a() {}"), 0);
        assert_eq!(count("b/no_alloc_test.rs", "unsafe impl X for Y {}"), 0);
        assert_eq!(count("b/deep/alloc.rs", "unsafe impl X for Y {}"), 1);
        assert_eq!(count("a/other.rs", "#![forbid(unsafe_code)] // unsafe\n\"unsafe\";"), 0);
        assert_eq!(count("a/sys.rs", "fn safe() {}"), 1, "listed for nothing");
    }

    #[test]
    fn a_macro_with_unsafe_is_refused_even_in_a_listed_file() {
        let count = |text| unsafe_macros(&File::new("a/sys.rs", text)).len();
        assert_eq!(count("macro_rules! a { () => { unsafe { b() } } }"), 1);
        assert_eq!(count("macro_rules! a { () => { b() } }\nfn c() { unsafe { d() } }"), 0);
    }

    #[test]
    fn libraries_keep_quiet_and_dbg_goes_everywhere() {
        let count = |path, text| prints(&File::new(path, text)).len();
        assert_eq!(count("ring/src/lib.rs", "println!(\"a\"); eprint!(\"b\");"), 2);
        assert_eq!(count("ring/src/lib.rs", "/// println!(\"a\")\nfn println() {}"), 0);
        assert_eq!(count("cli/src/main.rs", "println!(\"a\")"), 0);
        assert_eq!(count("cli/src/main.rs", "dbg!(a)"), 1);
    }
}
