use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick")]
struct TickV1 {
    cents: u32,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tock", version = 2, compatible_with = TickV1)]
struct Tock {
    cents: u64,
}

impl From<TickV1> for Tock {
    fn from(old: TickV1) -> Self {
        Self { cents: old.cents.into() }
    }
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick", version = 2)]
struct TickV2 {
    cents: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick", version = 2, compatible_with = [TickV1, TickV2])]
struct OtherTickV2 {
    cents: u64,
}

impl From<TickV1> for OtherTickV2 {
    fn from(old: TickV1) -> Self {
        Self { cents: old.cents.into() }
    }
}

impl From<TickV2> for OtherTickV2 {
    fn from(old: TickV2) -> Self {
        Self { cents: old.cents }
    }
}

fn main() {}
