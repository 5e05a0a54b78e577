use wireloom::traced;

struct Secret;

#[traced(fields(secret))]
fn shown(secret: Secret) {}

#[traced(skip())]
fn noted(secret: Secret) {}

fn main() {}
