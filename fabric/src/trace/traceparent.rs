//! The text form of a trace context: the header `traceparent` of W3C Trace Context, version 00.

use std::fmt;
use std::str::FromStr;

use wireloom_wire::TraceContext;

/// Bytes of a header of version 00: `00-<32 digits>-<16 digits>-<2 digits>`.
const BYTES: usize = 55;

/// A trace context as the text of a `traceparent` header
/// ([W3C Trace Context](https://www.w3.org/TR/trace-context/), version 00).
///
/// ```
/// use wireloom::trace::{Traceparent, TraceparentError};
///
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context = header.parse::<Traceparent>()?.0;
/// assert!(context.sampled);
/// assert_eq!(Traceparent(context).to_string(), header);
///
/// let upper = header.to_uppercase().parse::<Traceparent>();
/// assert_eq!(upper, Err(TraceparentError::NotHexadecimal { at: 4 }));
/// # Ok::<(), TraceparentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent(pub TraceContext);

/// Why a text is no `traceparent` header. None of them shows the text: it came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceparentError {
    /// Not the length of version 00.
    #[error("a traceparent of version 00 has 55 bytes, this one {0}: start a new trace")]
    Length(usize),
    /// A version that this reader does not know (or `ff`, which is none).
    #[error("the traceparent has version {0:02x}, only 00 is read: start a new trace")]
    Version(u8),
    /// A byte that is none of `0`–`9`, `a`–`f`.
    #[error("byte {at} of the traceparent is no digit of 0-9a-f: capitals are not allowed either")]
    NotHexadecimal {
        /// Its place, from 0.
        at: usize,
    },
    /// No `-` between two fields.
    #[error("byte {at} of the traceparent is not the '-' between two fields")]
    Separator {
        /// Its place, from 0.
        at: usize,
    },
    /// The trace id is zero, which no trace has.
    #[error("the trace id of the traceparent is zero: start a new trace")]
    ZeroTraceId,
    /// The span id is zero, which no span has.
    #[error("the parent id of the traceparent is zero: start a new trace")]
    ZeroSpanId,
}

/// `N` bytes as twice as many digits, from `at`.
fn bytes<const N: usize>(text: &[u8; BYTES], at: usize) -> Result<[u8; N], TraceparentError> {
    let digit = |at: usize| match text[at] {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(TraceparentError::NotHexadecimal { at }),
    };
    let mut value = [0; N];
    for (index, byte) in value.iter_mut().enumerate() {
        *byte = digit(at + 2 * index)? << 4 | digit(at + 2 * index + 1)?;
    }
    Ok(value)
}

impl FromStr for Traceparent {
    type Err = TraceparentError;

    fn from_str(text: &str) -> Result<Self, TraceparentError> {
        let text: &[u8; BYTES] =
            text.as_bytes().try_into().map_err(|_| TraceparentError::Length(text.len()))?;
        let [version] = bytes(text, 0)?;
        if version != 0 {
            return Err(TraceparentError::Version(version));
        }
        if let Some(at) = [2, 35, 52].into_iter().find(|at| text[*at] != b'-') {
            return Err(TraceparentError::Separator { at });
        }
        let (trace_id, span_id) = (bytes(text, 3)?, bytes(text, 36)?);
        // Of the flags, only the first is defined; a reader looks at no other.
        let [flags] = bytes(text, 53)?;
        if trace_id == [0; 16] {
            return Err(TraceparentError::ZeroTraceId);
        }
        if span_id == [0; 8] {
            return Err(TraceparentError::ZeroSpanId);
        }
        Ok(Self(TraceContext { trace_id, span_id, sampled: flags & 1 == 1 }))
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(TraceContext { trace_id, span_id, sampled }) = self;
        write!(f, "00-{}-{}-{:02x}", Hex(trace_id), Hex(span_id), u8::from(*sampled))
    }
}

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    #[test]
    fn what_is_no_header_is_refused_by_name() {
        use TraceparentError::{
            Length, NotHexadecimal, Separator, Version, ZeroSpanId, ZeroTraceId,
        };
        assert!(GOOD.parse::<Traceparent>().is_ok());
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-00";
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00";
        let with = |at: usize, byte: &str| {
            let mut text = GOOD.to_owned();
            text.replace_range(at..at + byte.len(), byte);
            text
        };
        for (text, error) in [
            (String::new(), Length(0)),
            (GOOD[..54].to_owned(), Length(54)),
            (format!("{GOOD}-"), Length(56)),
            (format!(" {GOOD}"), Length(56)),
            ("0".repeat(1_000_000), Length(1_000_000)),
            (with(0, "01"), Version(1)),
            (with(0, "ff"), Version(0xff)),
            (with(0, "0x"), NotHexadecimal { at: 1 }),
            (with(2, "_"), Separator { at: 2 }),
            (with(35, "0"), Separator { at: 35 }),
            (with(52, "\0"), Separator { at: 52 }),
            (with(3, "A"), NotHexadecimal { at: 3 }),
            (with(34, "g"), NotHexadecimal { at: 34 }),
            (with(36, "-"), NotHexadecimal { at: 36 }),
            (with(54, "\n"), NotHexadecimal { at: 54 }),
            (with(10, "é"), NotHexadecimal { at: 10 }),
            (zero_trace.to_owned(), ZeroTraceId),
            (zero_span.to_owned(), ZeroSpanId),
        ] {
            assert_eq!(text.parse::<Traceparent>(), Err(error));
        }
    }

    #[test]
    fn flags_that_are_not_defined_are_not_looked_at() {
        let parse = |flags: &str| format!("{}{flags}", &GOOD[..53]).parse::<Traceparent>();
        assert!(!parse("fe").expect("good").0.sampled);
        let sampled = parse("ff").expect("good");
        assert!(sampled.0.sampled);
        assert!(sampled.to_string().ends_with("-01"), "and not passed on");
    }

    proptest! {
        #[test]
        fn every_context_comes_back(trace_id in 1_u128.., span_id in 1_u64.., sampled: bool) {
            let (trace_id, span_id) = (trace_id.to_be_bytes(), span_id.to_be_bytes());
            let context = TraceContext { trace_id, span_id, sampled };
            let text = Traceparent(context).to_string();
            prop_assert_eq!(text.parse::<Traceparent>(), Ok(Traceparent(context)));
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<Traceparent>();
        }
    }
}
