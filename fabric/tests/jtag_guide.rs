//! The page about the migration shows what the example programs are: its diffs lead from one to the
//! next, and its pieces of Rust stand in one of them.

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn example(phase: usize) -> String {
    read(&format!("fabric/examples/jtag_phase{phase}.rs"))
}

/// The fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    let rest = page.split(&fence).skip(1);
    rest.map(|block| block.split("\n```").next().unwrap_or_default().to_owned() + "\n").collect()
}

/// Applies a unified diff; panics where it does not fit.
fn patched(text: &str, diff: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (mut at, mut out) = (0, Vec::new());
    for line in diff.lines() {
        if let Some(hunk) = line.strip_prefix("@@ -") {
            let start = hunk.split([',', ' ']).next().and_then(|number| number.parse().ok());
            let start: usize = start.expect("the number of a line");
            out.extend_from_slice(&lines[at..start - 1]);
            at = start - 1;
            continue;
        }
        let (kind, content) = line.split_at_checked(1).unwrap_or((" ", ""));
        if kind != "+" {
            assert_eq!(lines.get(at), Some(&content), "line {} of the program", at + 1);
            at += 1;
        }
        if kind != "-" {
            out.push(content);
        }
    }
    out.extend_from_slice(&lines[at..]);
    out.join("\n") + "\n"
}

#[test]
fn the_diffs_of_the_page_are_the_steps_between_the_programs() {
    let diffs = blocks(&read("docs/guide/migration.md"), "diff");
    assert_eq!(diffs.len(), 2);
    for (phase, diff) in (1..).zip(&diffs) {
        assert_eq!(patched(&example(phase), diff), example(phase + 1), "from phase {phase}");
        let changed = diff.lines().filter(|line| line.starts_with(['+', '-'])).count();
        assert!(changed <= 40, "{changed} lines are more than one looks at in a commit");
    }
}

#[test]
fn the_pieces_of_the_page_stand_in_the_programs() {
    let pieces = blocks(&read("docs/guide/migration.md"), "rust");
    assert!(!pieces.is_empty());
    for piece in pieces {
        assert!((1..=3).any(|phase| example(phase).contains(&piece)), "in no program:\n{piece}");
    }
}
