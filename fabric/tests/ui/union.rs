use wireloom::{Event, Schema};

#[derive(Event)]
#[event(type = "either")]
union Either {
    whole: u32,
    part: f32,
}

#[derive(Schema)]
union Other {
    whole: u32,
    part: f32,
}

fn main() {}
