use wireloom::Event;

#[derive(Event)]
#[event(type = "sample")]
struct Sample<T> {
    value: T,
}

fn main() {}
