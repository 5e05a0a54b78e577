//! Limits that the kernel keeps for one process: a share of a processor, so much memory. With
//! control groups of either version.

use std::fs;
use std::path::PathBuf;

const ROOT: &str = "/sys/fs/cgroup";

/// A group with one process; it is let go with this.
pub(crate) struct ControlGroup {
    path: PathBuf,
    id: u32,
}

impl ControlGroup {
    /// 5 ms of each 100 ms.
    pub(crate) fn with_a_twentieth(name: &str, id: u32) -> Self {
        let limits = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "5000")];
        Self::with(name, id, ("cpu", &limits, ("cpu.max", "5000 100000")))
    }

    /// So many bytes, those of the kernel for it included.
    pub(crate) fn with_memory(name: &str, id: u32, bytes: u64) -> Self {
        let bytes = bytes.to_string();
        let limits = [("memory.limit_in_bytes", bytes.as_str())];
        Self::with(name, id, ("memory", &limits, ("memory.max", &bytes)))
    }

    /// The limits of version 1, by the controller, or the one of version 2.
    fn with(
        name: &str,
        id: u32,
        (controller, first, second): (&str, &[(&str, &str)], (&str, &str)),
    ) -> Self {
        let (unified, own) = (PathBuf::from(ROOT), PathBuf::from(ROOT).join(controller));
        let is_first = own.join("cgroup.procs").exists();
        let path = if is_first { own.join(name) } else { unified.join(name) };
        if !is_first {
            let _ = fs::write(unified.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let made = fs::create_dir(&path);
        made.unwrap_or_else(|error| panic!("no control group {}: {error}", path.display()));
        let group = Self { path, id };
        let second = [second];
        for (file, value) in if is_first { first } else { &second } {
            group.write(file, value);
        }
        group.write("cgroup.procs", &id.to_string());
        group
    }

    fn write(&self, file: &str, value: &str) {
        let path = self.path.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// What the kernel says in a file of the group; nothing when it has none.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap_or_default()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let parent = self.path.parent().map(|parent| parent.join("cgroup.procs"));
        let _ = parent.map(|procs| fs::write(procs, self.id.to_string()));
        let _ = fs::remove_dir(&self.path);
    }
}
