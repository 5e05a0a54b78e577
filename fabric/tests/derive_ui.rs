//! Wrong declarations fail to compile, with words that say what to do.
//!
//! The expected words lie beside each file; after a change of words, `TRYBUILD=overwrite` writes
//! them anew: read the difference before it is committed.

#[test]
fn wrong_declarations_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
