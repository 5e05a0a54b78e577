//! The ring between two threads: variable-length records, claimed, written in place, committed.
