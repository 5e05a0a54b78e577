use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick")]
struct TickV1 {
    cents: u32,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick", version = 2, compatible_with = [TickV1])]
struct Tick {
    cents: u64,
}

fn main() {}
