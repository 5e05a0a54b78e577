//! A tree of files that stands for `/`: every file that a profile may change, each with a value
//! that no profile is content with. The scripts work on it and leave the machine alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs, process};

const HUGE_PAGES: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const CPUS: &str = "sys/devices/system/cpu";
pub(crate) const LATENCY: &str = "dev/cpu_dma_latency";

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of the profiles of nodes, which lie beside those of hosts.
pub(crate) const NODE_PROFILES: [&str; 3] = ["browser", "cluster", "server"];

/// The names of the profiles of hosts, sorted.
pub(crate) fn profiles() -> Vec<String> {
    let entries = fs::read_dir(repository().join("tuning/profiles")).expect("profiles exist");
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<_> = entries.flatten().filter_map(|entry| stem(entry.path())).collect();
    names.sort();
    names.retain(|name| !NODE_PROFILES.contains(&name.as_str()));
    assert!(names.len() >= 3, "{names:?}");
    names
}

/// The keys of a profile with the values it states, unquoted.
pub(crate) fn keys(profile: &str) -> Vec<(String, String)> {
    let path = repository().join("tuning/profiles").join(format!("{profile}.toml"));
    let text = fs::read_to_string(path).expect("profiles are text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.map(|(key, value)| (unquoted(key), unquoted(value))).collect()
}

fn unquoted(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

/// The files of a key that apply writes, from the root; none for what a person has to do.
pub(crate) fn files(key: &str) -> Vec<String> {
    match key {
        "governor" => [0, 1].map(|cpu| format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor")).into(),
        "transparent_hugepage" => vec![HUGE_PAGES.to_owned()],
        _ if key.contains('.') => vec![format!("proc/sys/{}", key.replace('.', "/"))],
        _ => Vec::new(),
    }
}

pub(crate) struct Tree {
    pub(crate) root: PathBuf,
}

impl Tree {
    /// The files that `profile` speaks of. Governors are of two kinds, for both must come back.
    pub(crate) fn new(test: &str, profile: &str) -> Self {
        let name = format!("tuning-{test}-{profile}-{}", process::id());
        let tree = Self { root: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) };
        for (key, value) in keys(profile) {
            for file in files(&key) {
                tree.write(&file, if value.starts_with("<=") { "9\n" } else { "1\n" });
            }
        }
        for (cpu, governor) in ["userspace", "conservative"].iter().enumerate() {
            let folder = format!("{CPUS}/cpu{cpu}/cpufreq");
            tree.write(&format!("{folder}/scaling_governor"), &format!("{governor}\n"));
            let offered = "conservative ondemand userspace powersave performance\n";
            tree.write(&format!("{folder}/scaling_available_governors"), offered);
        }
        tree.write(HUGE_PAGES, "always madvise [never]\n");
        tree.write(LATENCY, "\0\u{14}5w"); // 2,000 s in µs, as the kernel says when nobody holds it
        tree
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.root.join(file);
        fs::create_dir_all(path.parent().expect("below the root")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).expect("the file is there")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("run/wireloom-tuning/state")
    }

    pub(crate) fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(repository().join("tuning").join(script));
        command.args(arguments).env("WIRELOOM_TUNING_ROOT", &self.root);
        command
    }

    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.command(script, arguments).output().expect("the script is executable")
    }

    /// Every file that holds a setting with its bytes; of the huge pages' the word in brackets,
    /// which the kernel puts there and a plain file does not.
    pub(crate) fn settings(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.join("proc"), self.root.join("sys")];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path())
            {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let mut bytes = fs::read(&path).expect("a file");
                    if path.ends_with(HUGE_PAGES) {
                        let text = String::from_utf8(bytes).expect("words");
                        let word = text.split(['[', ']']).nth(1).unwrap_or_else(|| text.trim_end());
                        bytes = word.as_bytes().to_vec();
                    }
                    found.insert(path, bytes);
                }
            }
        }
        found
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = self.command("revert", &[]).output(); // ends the holder of a test that failed
        let _ = fs::remove_dir_all(&self.root);
    }
}
