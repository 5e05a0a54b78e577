//! The file of an audit log: lines of JSON in plain ASCII, a bounded number a second, a bounded
//! number of bytes. Owned by the thread that writes it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An audit log is begun anew when it has so many bytes; the one before stays as `FILE.1`.
pub const AUDIT_BYTES_MAX: u64 = 8 << 20;

/// An audit log gets so many lines a second at most; how many more there were is one of them.
pub const AUDIT_LINES_PER_SECOND: usize = 100;

/// Whom the file is for.
const OWNER_ALONE: u32 = 0o600;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// The second that is counted, and the lines it has room for.
    second: Instant,
    room: usize,
    left_out: u64,
    unwritten: u64,
    /// A line may have been written in part.
    is_torn: bool,
}

impl AuditFile {
    /// Opens or makes it, for its owner alone.
    ///
    /// # Errors
    /// What the system says; that it is no ordinary file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (file, bytes) = opened(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            bytes_max: AUDIT_BYTES_MAX,
            second: Instant::now(),
            room: AUDIT_LINES_PER_SECOND,
            left_out: 0,
            unwritten: 0,
            is_torn: false,
        })
    }

    /// Appends lines, the first as far as this second has room, and tells how many were left out.
    pub(super) fn append(&mut self, lines: impl IntoIterator<Item = String>, now: Instant) {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.room) = (now, AUDIT_LINES_PER_SECOND);
        }
        for line in lines {
            // One is for the number of those left out.
            if self.room > 1 {
                self.line(&line);
            } else {
                self.left_out += 1;
            }
        }
        if self.left_out > 0 && self.room > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            self.line(&format!("{{\"decision\":\"left_out\",\"lines\":{left_out}}}"));
        }
    }

    /// Lines that could not be written so far and were not told of in the file yet.
    pub(super) const fn unwritten(&self) -> u64 {
        self.unwritten
    }

    fn line(&mut self, line: &str) {
        self.room = self.room.saturating_sub(1);
        let unwritten = match self.unwritten {
            0 => String::new(),
            lines => format!("{{\"decision\":\"unwritten\",\"lines\":{lines}}}\n"),
        };
        let torn = if self.is_torn { "\n" } else { "" };
        let text = format!("{torn}{unwritten}{}\n", ascii(line));
        match self.make_room(text.len() as u64).and_then(|()| {
            self.is_torn = true;
            self.file.write_all(text.as_bytes())
        }) {
            Ok(()) => {
                self.bytes += text.len() as u64;
                (self.unwritten, self.is_torn) = (0, false);
            }
            Err(_) => self.unwritten += 1,
        }
    }

    /// Begins the file anew when it is full, and when it is another one than it was.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let own = self.file.metadata()?;
        let is_there = std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        if is_there && self.bytes + bytes <= self.bytes_max {
            return Ok(());
        }
        if is_there {
            let mut before = OsString::from(&self.path);
            before.push(".1");
            std::fs::rename(&self.path, before)?;
        }
        (self.file, self.bytes) = opened(&self.path)?;
        self.is_torn = false;
        Ok(())
    }
}

fn opened(path: &Path) -> io::Result<(File, u64)> {
    let ordinary = |is: bool| {
        let why = "it is no ordinary file";
        if is { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, why)) }
    };
    // A pipe would be waited for, and a link may lead anywhere.
    match std::fs::symlink_metadata(path) {
        Ok(there) => ordinary(there.is_file())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new().append(true).create(true).mode(OWNER_ALONE).open(path)?;
    file.set_permissions(Permissions::from_mode(OWNER_ALONE))?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// A JSON text with every letter beyond ASCII, and the one that deletes, as `\u` and four digits:
/// no reader's terminal obeys it, and what looks like another letter is seen. Such letters stand in
/// texts alone, where that means the same; JSON itself has done so with those below the space.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() && letter != '\x7f' {
            text.push(letter);
            continue;
        }
        let mut units = [0; 2];
        for unit in letter.encode_utf16(&mut units) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
