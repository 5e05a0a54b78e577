//! Files read within bounds and written whole or not at all; files of keys, which only their owner
//! may read. The one place of this crate that touches a file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::IdentityError;

/// Bytes of a file with a key.
const KEY_BYTES_MAX: usize = 4 * 1024;
/// Who may read what is no secret.
pub(crate) const PUBLIC: u32 = 0o644;
/// Who may read a key.
pub(crate) const SECRET: u32 = 0o600;

/// When a file was written last, how long it was and which one it is; none when it is not there.
pub(crate) type Stamp = Option<(i64, i64, u64, u64)>;

pub(crate) fn stamp(path: &Path) -> Stamp {
    let told = fs::metadata(path).ok()?;
    Some((told.mtime(), told.mtime_nsec(), told.len(), told.ino()))
}

pub(crate) fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File { path, action, source }
}

/// The whole file, when it has at most so many bytes; no more are ever read.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, IdentityError> {
    let file = File::open(path).map_err(failed(path, "read"))?;
    let mut bytes = Vec::new();
    fill(path, file, bytes_max, &mut bytes)?;
    Ok(bytes)
}

/// As [`read`]; none when there is no such file.
pub(crate) fn read_if_there(
    path: &Path,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, IdentityError> {
    match read(path, bytes_max) {
        Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// A key that nobody but the owner of its file can read. The open file is looked at, not its name,
/// and gives a lock on it to whoever wants one.
pub(crate) fn read_key(path: &Path) -> Result<(Zeroizing<Vec<u8>>, File), IdentityError> {
    let file = File::open(path).map_err(failed(path, "read"))?;
    let mode = file.metadata().map_err(failed(path, "read"))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyReadableByOthers { path: path.to_owned(), mode });
    }
    // All of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX + 1));
    let again = file.try_clone().map_err(failed(path, "read"))?;
    fill(path, again, KEY_BYTES_MAX, &mut bytes)?;
    Ok((bytes, file))
}

fn fill(
    path: &Path,
    file: File,
    bytes_max: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), IdentityError> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(bytes).map_err(failed(path, "read"))?;
    if bytes.len() > bytes_max {
        return Err(IdentityError::FileTooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(())
}

/// Writes a file beside its place, forces it to the disk and puts it in its place in one step.
/// Without `replace` what is there stays, and that is an error.
pub(crate) fn write(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    replace: bool,
) -> Result<(), IdentityError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    // Left by a process of the same number that died in between.
    let _ = fs::remove_file(&beside);
    let written = write_new(&beside, bytes, mode).and_then(|()| {
        if replace { fs::rename(&beside, path) } else { fs::hard_link(&beside, path) }
    });
    // Renamed, it is not there any more.
    let _ = fs::remove_file(&beside);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(IdentityError::Exists(path.to_owned()))
        }
        written => written.and_then(|()| sync_folder(path)).map_err(failed(path, "written")),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Appends a line and forces it to the disk.
pub(crate) fn append(path: &Path, line: &str) -> Result<(), IdentityError> {
    let append = || {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(PUBLIC).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    append().map_err(failed(path, "written"))
}

/// Makes a folder that only its owner may enter, when it is not there.
pub(crate) fn folder(path: &Path) -> Result<(), IdentityError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(failed(path, "made"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let path = std::env::temp_dir().join(format!("wireloom-files-{}", std::process::id()));
        write(&path, b"first", SECRET, false).expect("written");
        let refused = write(&path, b"second", SECRET, false);
        assert!(matches!(refused, Err(IdentityError::Exists(_))));
        assert_eq!(fs::read(&path).expect("it is there"), b"first");
        write(&path, b"third", SECRET, true).expect("replaced");
        assert_eq!(fs::read(&path).expect("it is there"), b"third");
        fs::remove_file(&path).expect("removed");
    }
}
