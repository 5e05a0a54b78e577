use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "a", key = "celsius")]
struct A {
    celsius: f64,
}

fn main() {}
