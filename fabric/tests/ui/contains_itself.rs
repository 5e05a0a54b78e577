use wireloom::Schema;

#[derive(Schema)]
struct Tree {
    branches: Vec<Tree>,
}

fn main() {}
