use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "a", key = "colour")]
struct A {
    color: u8,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "b", key = "color")]
enum B {
    One { color: u8 },
}

fn main() {}
