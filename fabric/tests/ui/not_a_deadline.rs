use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "a", deadline = "250 days")]
struct A {
    a: u8,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "b", deadline = "0s")]
struct B {
    a: u8,
}

fn main() {}
