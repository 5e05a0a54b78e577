use rkyv::Archived;
use wireloom::{Event, handlers};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick")]
struct Tick {
    number: u64,
}

struct NoEvents;

#[handlers]
impl NoEvents {
    #[on]
    fn number(&mut self, number: u64) {}
}

struct OtherEnvelope;

#[handlers]
impl OtherEnvelope {
    #[on]
    fn tick(&mut self, tick: &Archived<Tick>, number: &u64) {}
}

fn main() {}
