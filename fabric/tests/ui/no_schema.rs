use std::collections::HashMap;

use wireloom::Schema;

#[derive(Schema)]
struct Table {
    length: usize,
    rows: HashMap<String, u64>,
}

fn main() {}
