//! Rules about scripts: short, strict, and explained at the top.

use crate::tree::{Complaint, File};

const SCRIPT_LINES_MAX: usize = 80;
const FIRST_LINE: &str = "#!/usr/bin/env bash";
const STRICT: &str = "set -euo pipefail";
const GO_TO_ROOT: &str = "cd \"$(dirname ";

/// A script begins with `#!` (a command), or lies in `scripts/` (a part that commands read).
fn is_script(file: &File) -> bool {
    file.text.starts_with("#!") && !file.is_rust() || file.path.starts_with("scripts/")
}

/// At most 80 lines, a header comment with an example; for commands strict mode, run from the root.
pub(crate) fn shape(file: &File) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if !is_script(file) {
        return complaints;
    }
    let mut say = |line: usize, text: &str| complaints.push(file.complaint(line, text));
    let lines: Vec<&str> = file.text.lines().collect();
    if lines.len() > SCRIPT_LINES_MAX {
        say(SCRIPT_LINES_MAX + 1, "longer than 80 lines: split it");
    }
    let is_command = file.text.starts_with("#!");
    let header =
        lines.iter().skip(usize::from(is_command)).take_while(|line| line.starts_with('#'));
    let header: Vec<&&str> = header.collect();
    if header.len() < 2 || !header.iter().any(|line| line.starts_with("# Example: ")) {
        say(1, "no header: say what it does, why, and give an `# Example: `");
    }
    if is_command && lines.first() != Some(&FIRST_LINE) {
        say(1, "scripts are bash: begin with `#!/usr/bin/env bash`");
    }
    if is_command && !lines.contains(&STRICT) {
        say(1, "not strict: `set -euo pipefail`");
    }
    if is_command && !lines.iter().any(|line| line.starts_with(GO_TO_ROOT)) {
        say(1, "runs where it is called: go to the root with `cd \"$(dirname \"$0\")/..\"`");
    }
    if is_command != file.executable {
        say(1, "a command is executable and begins with `#!`; a part of one is and does neither");
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#!/usr/bin/env bash\n# Does a thing, because.\n# Example: scripts/thing\n\
                        set -euo pipefail\ncd \"$(dirname \"$0\")/..\"\n";

    fn count(text: &str) -> usize {
        shape(&File { executable: text.starts_with("#!"), ..File::new("scripts/thing", text) })
            .len()
    }

    #[test]
    fn each_part_of_the_shape_is_missed() {
        assert_eq!(count(GOOD), 0);
        assert_eq!(count(&GOOD.replace("set -euo pipefail\n", "set -e\n")), 1);
        assert_eq!(count(&GOOD.replace("# Example: scripts/thing\n", "")), 1);
        assert_eq!(count(&GOOD.replace("cd ", "pushd ")), 1);
        assert_eq!(count(&GOOD.replace("/usr/bin/env bash", "/bin/sh")), 1);
        assert_eq!(count(&format!("{GOOD}{}", "true\n".repeat(76))), 1);
        assert_eq!(shape(&File::new("scripts/thing", GOOD)).len(), 1, "not executable");
    }

    #[test]
    fn a_part_needs_only_its_header() {
        assert_eq!(count("# Sums a column.\n# Example: awk -f scripts/sum.awk\n{ a += $1 }\n"), 0);
        assert_eq!(count("{ a += $1 }\n"), 1);
        assert!(shape(&File::new("ring/src/lib.rs", "#![forbid(unsafe_code)]")).is_empty());
        assert!(shape(&File::new("docs/a.md", "prose")).is_empty());
    }
}
