//! Rules about words: the glossary's in names, and none that belong to a note for later, to one
//! machine or to one package registry. Words that must not stand in a tracked file are put together
//! from halves here, because this file is tracked too.

use crate::tree::{Complaint, File};

/// Names of files and folders that name no thing.
const EMPTY_FILE_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "manager", "misc", "common"];

/// Ends of type names that name no thing.
const EMPTY_TYPE_ENDS: &[&str] =
    &["Manager", "Helper", "Helpers", "Util", "Utils", "Handle", "Engine"];

/// Short forms and the words to write instead.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("pkt", "packet"),
    ("seq", "sequence"),
    ("rx", "receive"),
    ("tx", "transmit"),
    ("cfg", "config"),
    ("mgr", "the thing itself"),
];

/// The one file that speaks the kernel's own names.
const KERNEL_NAMES: &str = "dataplane/src/sys.rs";

const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

const REGISTRY_HOSTS: &[&str] = &[
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("py", "pi.org"),
    concat!("files.python", "hosted.org"),
    concat!("proxy.go", "lang.org"),
    concat!("deb.de", "bian.org"),
    concat!("arti", "factory"),
];

/// The source that every package of a lock file has, whatever mirror served it.
const LOCK_SOURCE: &str =
    concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");

/// No file or folder is called by a word that names no thing.
pub(crate) fn file_names(file: &File) -> Vec<Complaint> {
    let parts = file.path.split(['/', '.', '-', '_']);
    parts
        .filter(|part| EMPTY_FILE_NAMES.contains(&part.to_lowercase().as_str()))
        .map(|part| file.complaint(1, format!("`{part}` names no thing: name what it holds")))
        .collect()
}

/// No type ends in a word that names no thing.
pub(crate) fn type_names(file: &File) -> Vec<Complaint> {
    let words = file.words();
    let defined = words.windows(2).filter(|pair| {
        matches!(pair[0].text, "struct" | "enum" | "trait" | "union" | "type")
            && EMPTY_TYPE_ENDS.iter().any(|end| pair[1].text.ends_with(end))
    });
    defined
        .map(|pair| {
            let text = format!("type {}: name the thing, see the glossary", pair[1].text);
            file.complaint(pair[1].line, text)
        })
        .collect()
}

/// A getter is called by its field, a predicate says what is, not what is not.
pub(crate) fn function_names(file: &File) -> Vec<Complaint> {
    let words = file.words();
    let getter = |name: &str| name.starts_with("get_") && name != "get_mut"; // as in `std`
    let banned = |name: &str| getter(name) || name.starts_with("is_not_");
    let defined = words.windows(2).filter(|pair| pair[0].text == "fn" && banned(pair[1].text));
    defined
        .map(|pair| {
            let text = format!("fn {}: `x()` for a getter, a positive predicate", pair[1].text);
            file.complaint(pair[1].line, text)
        })
        .collect()
}

/// Identifiers use whole words, except beside the kernel.
pub(crate) fn abbreviations(file: &File) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if file.path == KERNEL_NAMES {
        return complaints;
    }
    for word in file.words() {
        if word.text == "cfg" && file.code[word.end..].starts_with(['(', '!'])
            || word.text == "cfg_attr"
        {
            continue; // conditional compilation
        }
        for (short, long) in ABBREVIATIONS {
            if word.text.split('_').any(|part| part.eq_ignore_ascii_case(short)) {
                complaints.push(file.complaint(word.line, format!("{}: say {long}", word.text)));
            }
        }
    }
    complaints
}

/// What is left to do is an issue, not a note in the source.
pub(crate) fn notes_for_later(file: &File) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut parts = line.split(|letter: char| !letter.is_alphanumeric());
        if let Some(note) = parts.find(|part| NOTES.contains(part)) {
            complaints.push(file.complaint(index + 1, format!("{note}: open an issue instead")));
        }
    }
    let unfinished = |word: &str| matches!(word, "todo" | "unimplemented");
    let words = file.words().into_iter();
    complaints.extend(
        words
            .filter(|word| unfinished(word.text) && file.code[word.end..].starts_with('!'))
            .map(|word| file.complaint(word.line, format!("{}!: finish it", word.text))),
    );
    complaints
}

/// No absolute path of the machine somebody works on.
pub(crate) fn machine_paths(file: &File) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for path in MACHINE_PATHS {
            let absolute = |(at, _): (usize, &str)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|letter| !letter.is_alphanumeric() && !"/._-}".contains(letter))
            };
            if line.match_indices(path).any(absolute) {
                let text = format!("{path}… exists on one machine only: say it relative");
                complaints.push(file.complaint(index + 1, text));
            }
        }
    }
    complaints
}

/// No package registry by name; in a lock file only the public one.
pub(crate) fn registry_hosts(file: &File) -> Vec<Complaint> {
    let is_lock = file.path.ends_with("Cargo.lock");
    let named = |line: &str| REGISTRY_HOSTS.iter().any(|host| line.contains(host));
    let foreign = |line: &str| is_lock && line.starts_with("source =") && line != LOCK_SOURCE;
    let lines = file.text.lines().enumerate().filter(|(_, line)| named(line) || foreign(line));
    lines
        .map(|(index, _)| {
            file.complaint(index + 1, "names a registry host: leave that to the user")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_file_names_are_refused() {
        let count = |path| file_names(&File::new(path, "")).len();
        assert_eq!(count("ring/src/utils.rs"), 1);
        assert_eq!(count("tests/tests/common/mod.rs"), 1);
        assert_eq!(count("ring/src/session_manager.rs"), 1);
        assert_eq!(count("ring/src/managers_view.rs"), 0);
    }

    #[test]
    fn empty_type_names_are_refused() {
        let count = |text| type_names(&File::new("a.rs", text)).len();
        assert_eq!(count("pub struct SessionManager;\nenum PathUtil {}"), 2);
        assert_eq!(count("struct Managers; fn f(x: JoinHandle) {} // struct AHelper"), 0);
    }

    #[test]
    fn getters_and_negations_are_refused() {
        let count = |text| function_names(&File::new("a.rs", text)).len();
        assert_eq!(count("fn get_size() {} fn is_not_empty() {}"), 2);
        assert_eq!(count("fn size() { x.get_ref() } fn get_mut() {}"), 0);
    }

    #[test]
    fn abbreviations_are_refused_outside_the_kernel_file() {
        let text = "let (pkt, seq_next) = RX; #[cfg(test)] cfg!(x); sequence";
        assert_eq!(abbreviations(&File::new("a.rs", text)).len(), 3);
        assert!(abbreviations(&File::new(KERNEL_NAMES, text)).is_empty());
    }

    #[test]
    fn notes_for_later_are_refused() {
        let note = format!("// {}: later\nmktemp a.XXXXXX\n", NOTES[0]);
        assert_eq!(notes_for_later(&File::new("a.sh", &note)).len(), 1);
        assert_eq!(notes_for_later(&File::new("a.rs", "fn a() { todo!() }")).len(), 1);
        assert!(notes_for_later(&File::new("Cargo.toml", "todo = \"warn\"")).is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        let count = |text: &str| machine_paths(&File::new("a.md", text)).len();
        for path in MACHINE_PATHS {
            assert_eq!(count(&format!("cd {path}main")), 1);
            assert_eq!(count(&format!("{path}main")), 1);
            assert_eq!(count(&format!("see src{path}main and ~{path}")), 1);
            assert_eq!(count(&format!("see src{path}main and ..{path}")), 0);
        }
    }

    #[test]
    fn registry_hosts_are_refused() {
        let count = |path, text: &str| registry_hosts(&File::new(path, text)).len();
        for host in REGISTRY_HOSTS {
            assert_eq!(count("a.toml", &format!("https://{host}/x")), 1);
        }
        assert_eq!(count("Cargo.lock", LOCK_SOURCE), 0);
        assert_eq!(count("Cargo.lock", "source = \"registry+https://mirror.example/index\""), 1);
        assert_eq!(count("docs/a.md", "source = a place"), 0);
    }
}
