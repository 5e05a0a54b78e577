use wireloom::traced;

#[traced("")]
fn empty() {}

#[traced("a name that is longer than the sixty-four bytes that an operation may have")]
fn long() {}

#[traced(skip(a), "late")]
fn late(a: u8) {}

#[traced(skp(a))]
fn unknown_option(a: u8) {}

#[traced(skip(b))]
fn unknown_argument(a: u8) {}

#[traced(skip(a))]
fn no_argument() {}

#[traced(skip(a), skip(a))]
fn twice(a: u8) {}

#[traced(skip())]
fn too_many(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) {}

#[traced(sample_one_in = 0.5)]
fn half() {}

#[traced(sample_one_in = 4294967296)]
fn seldom() {}

#[traced("run" skip(a))]
fn no_comma(a: u8) {}

#[traced]
const fn constant() {}

#[traced]
struct NoFunction;

trait Work {
    #[traced]
    fn work(&self);
}

fn main() {}
