//! What the borrow checker must refuse: a second producer or consumer, two claims at once, a claim
//! or batch that outlives its half, a release while the batch is in use.

#[test]
fn compile_fail_of_second_halves_and_outliving_loans() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
