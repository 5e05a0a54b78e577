//! A ring's bytes: anonymous memory from the kernel, every page of it touched before first use.
//!
//! Made once by `ring()`, then owned by both halves together; unmapped when the second is gone.
//! Hands out slices on the caller's word (`bytes`, `bytes_mut`): *which* bytes a half may have at
//! which moment is decided in `producer.rs` and `consumer.rs`, and nowhere else.
//!
//! Unsafe is allowed here because there is no other way to ask the kernel for memory: aligned to
//! 2 MiB, in huge pages, shared by two threads that use disjoint parts of it.
//!
//! ```text
//!  reserved, no access    ring: read and write                     reserved, no access
//!  ├──────────────────────┼────────────────────────────────────────┼──────────────────────┤
//!  address                base (aligned)                           base + capacity
//! ```
//!
//! The reserve on both sides makes the alignment, keeps the kernel from joining two rings into
//! one mapping (so that its report about ours is about ours), and stops what runs off an end.
//!
//! Loom makes a ring for each of many thousand interleavings; those rings live on the heap.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

use std::{
    ffi::c_void,
    io::{self, BufRead},
    ptr::{self, NonNull},
    slice,
};

use crate::{
    config::{Backing, RingError},
    shadow::Shadow,
};

/// The huge page we ask for. Where the processor has others, the report is what counts.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// A multiple of every page size that Linux has for ordinary pages (4, 16, 64 KiB).
const PAGE_ALIGNMENT_BYTES: usize = 64 << 10;
/// The smallest page: one write in each of these touches every page, whatever its size.
const PAGE_BYTES_MIN: usize = 4096;

/// The bytes of one ring.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<u8>,
    capacity_bytes: usize,
    backing: Backing,
    shadow: Shadow,
    /// Holds the bytes above; unmaps them when dropped.
    #[cfg(not(loom))]
    _mapping: Mapping,
    #[cfg(loom)]
    _blocks: Vec<u128>,
}

// SAFETY: the memory belongs to this value and to no thread; nothing about it is thread-local.
unsafe impl Send for Memory {}
// SAFETY: through a shared reference the bytes are reached only by the two unsafe methods below,
// whose callers promise that no two threads use one byte at a time unless all of them read.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps `capacity_bytes` (a power of two of at least 16) of zeros and touches every page, so
    /// that no later access waits for the kernel. Tries reserved huge pages, then transparent
    /// ones, then ordinary pages.
    #[cfg(not(loom))]
    pub(crate) fn map(capacity_bytes: usize, huge_pages: bool) -> Result<Self, RingError> {
        let huge_pages = huge_pages && capacity_bytes.is_multiple_of(HUGE_PAGE_BYTES);
        if huge_pages && let Ok(memory) = Self::from_reserved_huge_pages(capacity_bytes) {
            return Ok(memory);
        }
        Self::from_pages(capacity_bytes, huge_pages)
            .map_err(|source| RingError::Memory { bytes: capacity_bytes, source })
    }

    #[cfg(loom)]
    pub(crate) fn map(capacity_bytes: usize, _huge_pages: bool) -> Result<Self, RingError> {
        let mut blocks = vec![0_u128; capacity_bytes / size_of::<u128>()];
        let base = NonNull::from(blocks.as_mut_slice()).cast();
        let shadow = Shadow::new(capacity_bytes);
        Ok(Self { base, capacity_bytes, backing: Backing::Pages, shadow, _blocks: blocks })
    }

    #[cfg(not(loom))]
    fn from_reserved_huge_pages(capacity_bytes: usize) -> io::Result<Self> {
        let huge = libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
        let mapping = Mapping::new(capacity_bytes, libc::PROT_READ | libc::PROT_WRITE, huge)?;
        let base = mapping.address.cast();
        // A page that its control group refuses would be a SIGBUS at first touch; here it is an
        // error. So a kernel without this advice (before 5.14) gets transparent pages instead.
        advise(base, capacity_bytes, libc::MADV_POPULATE_WRITE)?;
        Ok(Self::new(mapping, base, capacity_bytes, Backing::HugePages))
    }

    #[cfg(not(loom))]
    fn from_pages(capacity_bytes: usize, huge_pages: bool) -> io::Result<Self> {
        let alignment = if huge_pages { HUGE_PAGE_BYTES } else { PAGE_ALIGNMENT_BYTES };
        let mapping = Mapping::new(capacity_bytes + 2 * alignment, libc::PROT_NONE, 0)?;
        let base = mapping.aligned(alignment);
        allow_access(base, capacity_bytes)?;
        if huge_pages {
            // A kernel built without transparent huge pages refuses; the report below says so.
            let _ = advise(base, capacity_bytes, libc::MADV_HUGEPAGE);
        }
        match advise(base, capacity_bytes, libc::MADV_POPULATE_WRITE) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                touch_pages(base, capacity_bytes); // a kernel before 5.14
            }
            answer => answer?,
        }
        let huge_bytes = if huge_pages { mapped_bytes(base, "AnonHugePages:") } else { None };
        let backing = match huge_bytes {
            Some(bytes) if bytes >= capacity_bytes => Backing::TransparentHugePages,
            _ => Backing::Pages,
        };
        Ok(Self::new(mapping, base, capacity_bytes, backing))
    }

    #[cfg(not(loom))]
    fn new(mapping: Mapping, base: NonNull<u8>, capacity_bytes: usize, backing: Backing) -> Self {
        let shadow = Shadow::new(capacity_bytes);
        Self { base, capacity_bytes, backing, shadow, _mapping: mapping }
    }

    pub(crate) const fn backing(&self) -> Backing {
        self.backing
    }

    /// What loom sees of these bytes.
    #[inline]
    pub(crate) const fn shadow(&self) -> &Shadow {
        &self.shadow
    }

    /// The bytes from `offset`, to be read.
    ///
    /// # Safety
    /// `offset + length` is at most the capacity, and nobody writes those bytes while the slice
    /// lives.
    #[inline]
    pub(crate) unsafe fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        debug_assert!(offset + length <= self.capacity_bytes);
        self.shadow.read(offset, length);
        // SAFETY: the caller keeps `offset` within the mapping.
        let start = unsafe { self.base.add(offset) };
        // SAFETY: mapped, zeroed by the kernel hence initialised, and unwritten as promised.
        unsafe { slice::from_raw_parts(start.as_ptr(), length) }
    }

    /// The bytes from `offset`, to be written.
    ///
    /// # Safety
    /// `offset + length` is at most the capacity, and while the slice lives nobody else reads or
    /// writes those bytes, and this memory lives too (the lifetime is the caller's choice).
    #[inline]
    pub(crate) unsafe fn bytes_mut<'a>(&self, offset: usize, length: usize) -> &'a mut [u8] {
        debug_assert!(offset + length <= self.capacity_bytes);
        self.shadow.write(offset, length);
        // SAFETY: the caller keeps `offset` within the mapping.
        let start = unsafe { self.base.add(offset) };
        // SAFETY: mapped, zeroed by the kernel hence initialised, and exclusive as promised.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), length) }
    }
}

/// Addresses taken from the kernel, given back when dropped.
#[derive(Debug)]
struct Mapping {
    address: NonNull<c_void>,
    bytes: usize,
}

impl Mapping {
    /// `mmap(2)`: private anonymous memory of zeros at an address of the kernel's choice.
    fn new(bytes: usize, protection: i32, flags: i32) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
        // SAFETY: no address is asked for and no file is given, so no existing mapping changes.
        let address = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        match NonNull::new(address) {
            Some(address) if address.as_ptr() != libc::MAP_FAILED => Ok(Self { address, bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The first multiple of `alignment` (a power of two) after the mapping's first byte. The
    /// mapping must be longer than `alignment`.
    fn aligned(&self, alignment: usize) -> NonNull<u8> {
        let address = self.address.cast::<u8>();
        let past = alignment - address.addr().get() % alignment;
        assert!(past < self.bytes, "a mapping of {} bytes has no room to align", self.bytes);
        // SAFETY: asserted to lie within the mapping.
        unsafe { address.add(past) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is what `mmap` gave, and whoever held its bytes held this value.
        // A failure (it cannot fail for such a range) would leak addresses and no more.
        unsafe { libc::munmap(self.address.as_ptr(), self.bytes) };
    }
}

/// `mprotect(2)`: makes pages of our own reservation readable and writable.
fn allow_access(base: NonNull<u8>, bytes: usize) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the pages are ours and nobody has a reference into them yet; more access only.
    let answer = unsafe { libc::mprotect(base.as_ptr().cast(), bytes, protection) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `madvise(2)`: `MADV_HUGEPAGE` or `MADV_POPULATE_WRITE`, which change no byte.
fn advise(base: NonNull<u8>, bytes: usize, advice: i32) -> io::Result<()> {
    // SAFETY: the pages are ours, and neither advice changes what they hold.
    let answer = unsafe { libc::madvise(base.as_ptr().cast(), bytes, advice) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes a zero to each page of fresh memory, so that the kernel gives it a frame now.
fn touch_pages(base: NonNull<u8>, bytes: usize) {
    for offset in (0..bytes).step_by(PAGE_BYTES_MIN) {
        // SAFETY: below `bytes`, so within the memory.
        let page = unsafe { base.add(offset) };
        // SAFETY: ours, writable, and not yet lent to anybody.
        unsafe { page.write_volatile(0) };
    }
}

/// What the kernel says about the mapping that starts at `base`: the field of that name in
/// `/proc/self/smaps` (proc_pid_smaps(5)), in bytes. `None` where it cannot be read.
fn mapped_bytes(base: NonNull<u8>, field: &str) -> Option<usize> {
    let first = format!("{:x}-", base.addr());
    let smaps = io::BufReader::new(std::fs::File::open("/proc/self/smaps").ok()?);
    let mut lines =
        smaps.lines().map_while(Result::ok).skip_while(|line| !line.starts_with(&first));
    let value = lines.find_map(|line| line.strip_prefix(field).map(str::to_owned))?;
    let kilobytes: usize = value.trim().strip_suffix(" kB")?.trim_end().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn memory_is_zeroed_aligned_and_writable_to_both_ends() {
        for (capacity_bytes, huge_pages) in
            [(4096, false), (4096, true), (MIB, true), (2 * MIB, false), (4 * MIB, true)]
        {
            let memory = Memory::map(capacity_bytes, huge_pages).expect("memory for a test");
            let huge = huge_pages && capacity_bytes.is_multiple_of(HUGE_PAGE_BYTES);
            let alignment = if huge { HUGE_PAGE_BYTES } else { PAGE_ALIGNMENT_BYTES };
            assert_eq!(memory.base.addr().get() % alignment, 0);
            // SAFETY: the whole memory, by its only owner, which lives longer.
            let bytes = unsafe { memory.bytes_mut(0, capacity_bytes) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(0xA5);
        }
    }

    #[test]
    fn every_page_is_there_before_first_use() {
        let memory = Memory::map(MIB, false).expect("memory for a test");
        assert_eq!(mapped_bytes(memory.base, "Size:"), Some(MIB), "joined to a neighbour");
        assert_eq!(mapped_bytes(memory.base, "Rss:"), Some(MIB));
    }

    #[test]
    fn touching_by_hand_brings_every_page() {
        let mapping = Mapping::new(3 * MIB, libc::PROT_NONE, 0).expect("addresses for a test");
        let base = mapping.aligned(MIB);
        allow_access(base, MIB).expect("access to our own pages");
        assert_eq!(mapped_bytes(base, "Rss:"), Some(0));
        touch_pages(base, MIB);
        assert_eq!(mapped_bytes(base, "Rss:"), Some(MIB));
    }

    #[test]
    fn backing_is_what_the_kernel_reports() {
        let plain = Memory::map(4 * MIB, false).expect("memory for a test");
        assert_eq!(plain.backing(), Backing::Pages);
        let too_small = Memory::map(MIB, true).expect("memory for a test");
        assert_eq!(too_small.backing(), Backing::Pages);
        let huge = Memory::map(4 * MIB, true).expect("memory for a test");
        let expected = match mapped_bytes(huge.base, "KernelPageSize:") {
            Some(HUGE_PAGE_BYTES) => Backing::HugePages,
            _ if mapped_bytes(huge.base, "AnonHugePages:") == Some(4 * MIB) => {
                Backing::TransparentHugePages
            }
            _ => Backing::Pages,
        };
        assert_eq!(huge.backing(), expected);
    }

    #[test]
    fn memory_that_the_kernel_cannot_give_is_an_error() {
        let error = Memory::map(1 << 46, false).expect_err("64 TiB");
        assert!(matches!(error, RingError::Memory { bytes, .. } if bytes == 1 << 46), "{error}");
    }
}
