//! Turns an event into its archive, inside bytes that already exist.
//!
//! The publisher claims a record and calls [`encode`] on the part behind the frame header, so the
//! archive is written where it will be sent from. Nothing is allocated: what rkyv must remember
//! while it walks nested lists lives in a [`Scratch`] made once by the thread that publishes.

use std::mem::MaybeUninit;

use rkyv::api::serialize_using;
use rkyv::rancor::{Source, Strategy, Trace};
use rkyv::ser::allocator::SubAllocator;
use rkyv::ser::{Positional, Serializer, Writer};
use rkyv::util::AlignedVec;

/// Scratch of a publisher that says nothing else: room for lists of about 1,000 strings.
pub const SCRATCH_BYTES_DEFAULT: usize = 16 * 1024;

/// Why an event was not encoded. The bytes given are then unspecified, but all of them defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The archive is longer than the bytes given.
    #[error("the event does not fit the space given: give more room, or publish a smaller event")]
    DoesNotFit,
    /// The event nests more than the scratch can remember.
    #[error("the event's lists need more scratch than there is: make Scratch::new larger")]
    ScratchExhausted,
    /// A field's own archiving refused its value, such as rkyv's `AsString` for a path that is not
    /// Unicode. The archive format itself never answers this.
    #[error("a field of the event refused to be archived: look at its #[rkyv(with = …)]")]
    Refused,
}

impl Trace for EncodeError {
    fn trace<R>(self, _: R) -> Self {
        self
    }
}

impl Source for EncodeError {
    fn new<T: std::error::Error + Send + Sync + 'static>(_: T) -> Self {
        // Both are settled when this is compiled. The type of rkyv's error is private, hence the
        // name; a test goes red if it ever changes.
        let name = std::any::type_name::<T>();
        if name == std::any::type_name::<Overflow>() {
            Self::DoesNotFit
        } else if name.ends_with("::OutOfSpaceError") {
            Self::ScratchExhausted
        } else {
            Self::Refused
        }
    }
}

/// The writer met the end of the bytes given.
#[derive(Debug, thiserror::Error)]
#[error("the end of the space given")]
struct Overflow;

/// Memory in which an encoder remembers what it must while it walks an event.
///
/// One a thread, made at start; [`encode`] leaves nothing behind in it. A list whose elements own
/// memory (strings, lists, boxes) needs 8 to 16 bytes an element, each level of a deep `BTreeMap` a
/// few hundred; flat events and lists of numbers need none.
#[derive(Debug)]
pub struct Scratch(Box<[MaybeUninit<u8>]>);

impl Scratch {
    /// Allocates `bytes` of scratch, once.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Box::new_uninit_slice(bytes))
    }
}

/// Room that [`serialize`] tries first.
const FIRST_BYTES: usize = 1024;

/// Scratch that grows on demand ends here: lists of some 300,000 strings.
const SCRATCH_BYTES_MAX: usize = 4 << 20;

impl Scratch {
    /// Four times as much scratch as it was, if there may be more.
    #[cold]
    fn grow(&mut self) -> bool {
        let grows = self.0.len() < SCRATCH_BYTES_MAX;
        if grows {
            *self = Self::new((self.0.len().max(1_024) * 4).min(SCRATCH_BYTES_MAX));
        }
        grows
    }
}

/// [`encode`], with a scratch that grows when the event's lists need more: the only allocation of a
/// publisher, for large events with lists of what owns memory, and once for each size.
#[inline]
pub(crate) fn encode_growing<E: Encode>(
    event: &E,
    into: &mut [u8],
    scratch: &mut Scratch,
) -> Result<usize, EncodeError> {
    loop {
        match event.encode_into(into, scratch) {
            Err(EncodeError::ScratchExhausted) if scratch.grow() => {}
            written => return written,
        }
    }
}

impl Default for Scratch {
    /// Scratch of [`SCRATCH_BYTES_DEFAULT`].
    fn default() -> Self {
        Self::new(SCRATCH_BYTES_DEFAULT)
    }
}

/// Writes to the front of a slice, and never beyond it.
#[doc(hidden)]
#[derive(Debug)]
pub struct SliceWriter<'a> {
    into: &'a mut [u8],
    written: usize,
}

impl Positional for SliceWriter<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.written
    }
}

impl Writer<EncodeError> for SliceWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.written + bytes.len();
        let Some(space) = self.into.get_mut(self.written..end) else {
            return Err(EncodeError::new(Overflow));
        };
        space.copy_from_slice(bytes);
        self.written = end;
        Ok(())
    }
}

/// What an event is serialized with: a slice, a scratch, and no sharing of pointers.
#[doc(hidden)]
pub type Encoder<'a> = Strategy<Serializer<SliceWriter<'a>, SubAllocator<'a>, ()>, EncodeError>;

/// A type that rkyv can archive into a slice without allocating.
///
/// Every type that derives `rkyv::Archive` and `rkyv::Serialize` has it; there is nothing to write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be archived into a slice",
    label = "its rkyv::Serialize is missing",
    note = "add #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)] to it; Rc and Arc \
            cannot be archived"
)]
pub trait Encode {
    /// Writes the archive to the front of `into` and returns its length; see [`encode`].
    ///
    /// # Errors
    ///
    /// As [`encode`].
    fn encode_into(&self, into: &mut [u8], scratch: &mut Scratch) -> Result<usize, EncodeError>;
}

impl<T> Encode for T
where
    T: for<'a> rkyv::Serialize<Encoder<'a>>,
{
    #[inline]
    fn encode_into(&self, into: &mut [u8], scratch: &mut Scratch) -> Result<usize, EncodeError> {
        let writer = SliceWriter { into, written: 0 };
        let mut serializer = Serializer::new(writer, SubAllocator::new(&mut scratch.0), ());
        serialize_using(self, &mut serializer)?;
        Ok(serializer.writer.written)
    }
}

/// The archive of `event`, 16-aligned, of at most `bytes_max` bytes: for tools and files. Where
/// there are bytes already, [`encode`] writes into them.
///
/// Allocates at most twice `bytes_max`, beside the scratch.
///
/// # Errors
///
/// As [`encode`]; [`EncodeError::DoesNotFit`] when the archive is longer than `bytes_max`.
///
/// # Examples
///
/// ```
/// use wireloom::{decode::deserialize, encode::serialize, events::SystemReady};
///
/// let ready = SystemReady {
///     version: "1.4.0".into(),
///     context: "server".into(),
///     timestamp: "2026-01-31T12:00:00.000Z".into(),
///     components: vec!["store".into()],
/// };
/// let archive = serialize(&ready, 1 << 16)?;
/// assert_eq!(deserialize::<SystemReady>(&archive)?, ready);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn serialize<E: Encode>(event: &E, bytes_max: usize) -> Result<AlignedVec, EncodeError> {
    let (mut archive, mut scratch) = (AlignedVec::new(), Scratch::default());
    let mut room = FIRST_BYTES.min(bytes_max);
    loop {
        archive.resize(room, 0);
        match encode_growing(event, &mut archive, &mut scratch) {
            Ok(length) => {
                archive.resize(length, 0);
                return Ok(archive);
            }
            Err(EncodeError::DoesNotFit) if room < bytes_max => {
                room = room.saturating_mul(4).min(bytes_max);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Writes the archive of `event` to the front of `into` and returns its length in bytes.
///
/// `into` starts on a 16-byte boundary of the record, as the archive will where it is read (offsets
/// are counted from the front of `into`; the address itself is not looked at). Of the bytes up to
/// the length every one is defined, padding included: it is zero. Bytes behind are left alone.
///
/// Allocates nothing. Cost: a 64-byte struct of numbers takes a few nanoseconds
/// (`cargo bench -p wireloom-bench --bench encode` measures it).
///
/// # Errors
///
/// [`EncodeError::DoesNotFit`] when the archive is longer than `into`,
/// [`EncodeError::ScratchExhausted`] when the event's lists need more `scratch`,
/// [`EncodeError::Refused`] when a field's own archiving refuses its value.
///
/// # Examples
///
/// ```
/// use wireloom::{Event, decode::access, encode::{Scratch, encode}};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "price-tick")]
/// struct PriceTick {
///     instrument: String,
///     cents: u64,
/// }
///
/// // A claimed record is aligned; here an array of 16-byte words stands for it.
/// #[repr(align(16))]
/// struct Record([u8; 256]);
///
/// let mut record = Record([0; 256]);
/// let mut scratch = Scratch::default();
/// let tick = PriceTick { instrument: "ACME".into(), cents: 1_250 };
/// let length = encode(&tick, &mut record.0, &mut scratch)?;
///
/// let archived = access::<PriceTick>(&record.0[..length])?;
/// assert_eq!(archived.cents, 1_250);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn encode<E: Encode>(
    event: &E,
    into: &mut [u8],
    scratch: &mut Scratch,
) -> Result<usize, EncodeError> {
    event.encode_into(into, scratch)
}
