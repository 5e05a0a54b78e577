//! Rules about size: a line, a function and a file that a reader can take in at once, and no file
//! that nothing compiles.

use crate::tree::{Complaint, File, Tree};

const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// The ratchet: functions that may be longer than the limit, with their present length. An entry
/// may only go down or go away; the rule fails when it is higher than the truth.
pub(crate) const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// No line of Rust wider than 100 columns.
pub(crate) fn long_lines(file: &File) -> Vec<Complaint> {
    let too_wide = |line: &str| file.is_rust() && line.chars().count() > COLUMNS_MAX;
    let lines = file.text.lines().enumerate().filter(|(_, line)| too_wide(line));
    lines
        .map(|(index, line)| {
            let columns = line.chars().count();
            file.complaint(index + 1, format!("{columns} columns, limit {COLUMNS_MAX}: break it"))
        })
        .collect()
}

/// A Rust file above 600 lines says why, in a `// length:` line among its first comments.
pub(crate) fn long_file(file: &File) -> Vec<Complaint> {
    let count = file.text.lines().count();
    if !file.is_rust() || count <= FILE_LINES_MAX {
        return Vec::new();
    }
    let comments = file
        .text
        .lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("//"));
    let mut reasons = comments.filter_map(|line| line.strip_prefix("// length:"));
    if reasons.any(|reason| !reason.trim().is_empty()) {
        return Vec::new();
    }
    let text =
        format!("{count} lines, limit {FILE_LINES_MAX}: split it, or begin with `// length:`");
    vec![file.complaint(1, text)]
}

/// A function of a file: name, line it begins on, lines to its closing brace.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Every function with a body, found by counting braces in the masked code.
fn functions(file: &File) -> Vec<Function> {
    let words = file.words();
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if word.text != "fn" || file.code[word.end..].trim_start().starts_with('(') {
            continue; // the second is a function pointer's type
        }
        let Some(name) = words.get(index + 1) else { continue };
        if let Some(lines) = body_lines(&file.code[name.end..]) {
            let lines = lines + name.line - word.line;
            found.push(Function { name: name.text.to_owned(), line: word.line, lines });
        }
    }
    found
}

/// Lines from here to the brace that closes the next body; none for a declaration without one.
fn body_lines(code: &str) -> Option<usize> {
    let (mut brackets, mut braces, mut lines) = (0_i32, 0_i32, 1);
    for letter in code.chars() {
        match letter {
            '\n' => lines += 1,
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' if brackets == 0 || braces > 0 => braces += 1,
            '}' if braces == 1 => return Some(lines),
            '}' if braces > 0 => braces -= 1,
            _ => {}
        }
    }
    None
}

/// No function longer than 70 lines, except those of the ratchet at exactly their listed length.
pub(crate) fn long_functions(tree: &Tree, ratchet: &[(&str, &str, usize)]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut kept = vec![false; ratchet.len()];
    for file in &tree.files {
        for function in functions(file) {
            let Function { name, line, lines } = &function;
            let entry = ratchet.iter().position(|(path, n, _)| *path == file.path && n == name);
            let limit = entry.map_or(FUNCTION_LINES_MAX, |index| ratchet[index].2);
            if *lines > limit {
                let text = format!("fn {name} has {lines} lines, limit {limit}: split it");
                complaints.push(file.complaint(*line, text));
            }
            if let Some(index) = entry {
                kept[index] |= *lines >= limit;
            }
        }
    }
    let stale = ratchet.iter().zip(&kept).filter(|(_, kept)| !**kept);
    complaints.extend(stale.map(|((path, name, lines), _)| {
        let text = format!("fn {name} is shorter than {lines} lines now: lower or drop its entry");
        File::new(path, "").complaint(1, text)
    }));
    complaints
}

/// Every file below a `src/` is named by a `mod` of its parent, or nothing compiles it.
pub(crate) fn dead_files(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let Some((name, parents)) = parents(&file.path) else { continue };
        let declared = |parent: &File| {
            parent.words().windows(2).any(|pair| pair[0].text == "mod" && pair[1].text == name)
        };
        if !tree.files.iter().any(|other| parents.contains(&other.path) && declared(other)) {
            let text = format!("no `mod {name};` in {}: nothing compiles it", parents.join(" or "));
            complaints.push(file.complaint(1, text));
        }
    }
    complaints
}

/// The module name of a file below `src/` and the files that may declare it; none for the roots.
fn parents(path: &str) -> Option<(String, Vec<String>)> {
    let (package, inner) = path.split_once("/src/")?;
    let stem = inner.strip_suffix(".rs")?;
    if stem == "lib" || stem == "main" || stem.starts_with("bin/") {
        return None;
    }
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let (folder, name) = stem.rsplit_once('/').map_or((None, stem), |(f, name)| (Some(f), name));
    let candidates = match folder {
        None => vec![format!("{package}/src/lib.rs"), format!("{package}/src/main.rs")],
        Some(folder) => {
            vec![format!("{package}/src/{folder}.rs"), format!("{package}/src/{folder}/mod.rs")]
        }
    };
    Some((name.to_owned(), candidates))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_101_columns_is_refused() {
        let text = format!("{}\n{}\n", "é".repeat(100), "é".repeat(101));
        assert_eq!(long_lines(&File::new("a.rs", &text)).len(), 1);
        assert!(long_lines(&File::new("a.md", &text)).is_empty());
    }

    #[test]
    fn a_long_file_needs_its_reason_at_the_top() {
        let body = "fn x() {}\n".repeat(601);
        let with = |top: &str| long_file(&File::new("a.rs", &format!("{top}{body}"))).len();
        assert_eq!(with(""), 1);
        assert_eq!(with("//! Module.\n// length:\n"), 1, "an empty reason is none");
        assert_eq!(with("fn y() {}\n// length: too late\n"), 1);
        assert_eq!(with("//! Module.\n\n// length: one table, read as one\n"), 0);
        assert!(long_file(&File::new("a.rs", "fn x() {}\n")).is_empty());
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let code =
            "fn a(x: [u8; 2]) -> u8\n{\n  \"}\"; { }\n}\nfn b();\ntype C = fn(u8);\nfn d() {}";
        let found = functions(&File::new("a.rs", code));
        let measured: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(measured, [("a", 1, 4), ("d", 7, 1)]);
    }

    #[test]
    fn the_ratchet_only_turns_one_way() {
        let long = format!("fn long() {{\n{}}}\n", "x();\n".repeat(78)); // 80 lines
        let tree = Tree::of(&[("a.rs", &long)]);
        assert_eq!(long_functions(&tree, &[]).len(), 1);
        assert_eq!(long_functions(&tree, &[("a.rs", "long", 79)]).len(), 1, "it grew");
        assert_eq!(long_functions(&tree, &[("a.rs", "long", 80)]).len(), 0);
        assert_eq!(long_functions(&tree, &[("a.rs", "long", 81)]).len(), 1, "it shrank");
        assert_eq!(long_functions(&tree, &[("b.rs", "long", 80)]).len(), 2, "it is elsewhere");
        let limit = format!("fn limit() {{\n{}}}\n", "x();\n".repeat(68));
        assert!(long_functions(&Tree::of(&[("a.rs", &limit)]), &[]).is_empty());
    }

    #[test]
    fn a_file_without_its_mod_is_dead() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "mod one;\n// mod two;\n"),
            ("a/src/one.rs", "mod inner;"),
            ("a/src/one/inner.rs", ""),
            ("a/src/two.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/tests/free.rs", ""),
        ]);
        let complaints = dead_files(&tree);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].to_string().starts_with("a/src/two.rs:1: no `mod two;`"));
    }
}
