//! Links the command. Where the C library of this host can read them (glibc 2.36 and later), its
//! relocations are packed: they are read, and so in memory, in every process, 500 kB of them.
//!
//! Source: `gabi` and glibc on `DT_RELR`; a program linked so names what it needs of the library
//! (`GLIBC_ABI_DT_RELR`), and an older one refuses it with that name.

#![forbid(unsafe_code)]

use std::process::Command;

/// The first glibc that reads packed relocations.
const SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is_for_this_host() && glibc().is_some_and(|version| version >= SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Another host's library is not known.
fn is_for_this_host() -> bool {
    let [host, target] = ["HOST", "TARGET"].map(|name| std::env::var(name).ok());
    host == target && host.is_some_and(|host| host.ends_with("linux-gnu"))
}

/// The version of this host's C library; `getconf` is a part of it.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
