//! Rules about Markdown: one title a page, and links that lead somewhere.

use crate::tree::{Complaint, File, Tree};

/// The lines of prose with their numbers (1-based): fenced code is left out.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// Exactly one `# ` line a page.
pub(crate) fn titles(file: &File) -> Vec<Complaint> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let lines: Vec<usize> = prose(&file.text)
        .filter(|(_, line)| line.starts_with("# "))
        .map(|(line, _)| line)
        .collect();
    match lines.as_slice() {
        [_] => Vec::new(),
        [] => vec![file.complaint(1, "no `# ` title")],
        [_, second, ..] => vec![file.complaint(*second, "a second `# ` title: make it `## `")],
    }
}

/// The targets of `[text](target)` in a line, inline code left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in line.split('`').step_by(2) {
        for (at, _) in part.match_indices("](") {
            let rest = &part[at + 2..];
            found.extend(rest.split([')', ' ']).next().filter(|target| !target.is_empty()));
        }
    }
    found
}

/// `target` as a path from the root, seen from `page`; none when it climbs out of the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Every relative link leads to a file or folder of the tree.
pub(crate) fn links(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, text) in prose(&file.text) {
            for target in targets(text) {
                let path = target.split('#').next().unwrap_or_default();
                let outside = target.contains("://") || target.starts_with("mailto:");
                let found = || resolve(&file.path, path).is_some_and(|path| tree.holds(&path));
                if !outside && !path.is_empty() && !found() {
                    complaints
                        .push(file.complaint(line, format!("link to {target}: no such file")));
                }
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_exactly_one_title() {
        let count = |text| titles(&File::new("a.md", text)).len();
        assert_eq!(count("# One\n## Two\n```\n# a comment\n```\n"), 0);
        assert_eq!(count("## Two\n"), 1);
        assert_eq!(count("# One\n\n# Two\n"), 1);
        assert!(titles(&File::new("a.txt", "")).is_empty());
    }

    #[test]
    fn a_link_to_nothing_is_refused() {
        let page = "[a](../ring/src) [b](wire.md#frames) [c](https://x.test/y) [d](#here)\n\
                    [e](gone.md) ![f](../../out.png) `[g](no-link)`\n";
        let tree = Tree::of(&[("docs/page.md", page), ("docs/wire.md", ""), ("ring/src/a.rs", "")]);
        let complaints: Vec<String> = links(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert_eq!(complaints[0], "docs/page.md:2: link to gone.md: no such file");
        assert_eq!(complaints[1], "docs/page.md:2: link to ../../out.png: no such file");
    }
}
