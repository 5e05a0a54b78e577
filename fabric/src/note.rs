//! What nodes with certificates tell each other beside events: the first byte of a note says which
//! kind it is. The links carry notes and do not read them; each kind is the matter of one file.
//!
//! | kind | bytes behind it | file |
//! |---|---|---|
//! | 1 | how far the sender's lists of revocations have come, and a digest | revocations.rs |
//! | 2 | keys of the sender's groups | group_keys.rs |
//! | 3 | a list of revocations | revocations.rs |
//! | 4 | which of those keys the sender has | group_keys.rs |
//! | 5 | what the sender has to make keys of a pair with | keying/pairs.rs |
//! | 6 | that it opens by such keys | keying/pairs.rs |

use wireloom_wire::NodeId;

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// "My lists of revocations have come so far."
    Epoch = 1,
    /// "Packets of my groups open by these."
    Keys = 2,
    /// "This is a newer list than yours."
    List = 3,
    /// "I have these keys of yours."
    Had = 4,
    /// "To the keys of this line I bring so much."
    Offer = 5,
    /// "I open by the keys of this line."
    Opens = 6,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Epoch, Self::Keys, Self::List, Self::Had, Self::Offer, Self::Opens];

    /// The kind of a note, and what it says; `None` of a kind this version does not know.
    pub(crate) fn of(note: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, said) = note.split_first()?;
        let kind = Self::ALL.into_iter().find(|known| *known as u8 == *kind)?;
        Some((kind, said))
    }

    /// A note of this kind.
    pub(crate) fn note(self, says: &[u8]) -> Box<[u8]> {
        [&[self as u8], says].concat().into_boxed_slice()
    }
}

/// What a node is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tell {
    /// Whom.
    pub(crate) to: NodeId,
    /// What.
    pub(crate) note: Box<[u8]>,
}

/// Why a note of a known kind is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoteError {
    /// It is of a kind that this version does not know.
    #[error("a note of a node is of an unknown kind")]
    Unknown,
    /// It is not of its form.
    #[error("a note of a node is malformed")]
    Malformed,
    /// What it says is older than what is known.
    #[error("a note of a node is older than one before")]
    Old,
    /// It is of a node that has no line, or none any more.
    #[error("a note is of a node without an authenticated line")]
    Stranger,
    /// A list that no authority has signed, or of another cluster.
    #[error("a list of revocations was told and is refused: {0}")]
    List(#[from] wireloom_identity::IdentityError),
}
