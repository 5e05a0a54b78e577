use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "a", version = 0)]
struct A {
    a: u8,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "b", compatible_with = [A])]
struct B {
    b: u8,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "c", version = 2, compatible_with = [])]
struct C {
    c: u8,
}

fn main() {}
