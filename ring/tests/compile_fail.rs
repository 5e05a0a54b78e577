//! What the borrow checker must refuse: a second producer or consumer, two claims at once, a claim
//! or batch that outlives its half, a release while the batch is in use.

#[test]
fn halves_are_single_and_what_they_lend_is_borrowed() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
