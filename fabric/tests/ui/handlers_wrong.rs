use wireloom::{Event, handlers};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick")]
struct Tick {
    number: u64,
}

struct InPlace;

#[handlers]
impl InPlace {
    #[on]
    fn tick(&mut self, tick: &Tick) {}
}

struct Word;

#[handlers]
impl Word {
    #[on(onec)]
    fn tick(&mut self, tick: Tick) {}
}

struct ByValue;

#[handlers]
impl ByValue {
    #[on]
    fn tick(self, tick: Tick) {}
}

struct NoEvent;

#[handlers]
impl NoEvent {
    #[on]
    fn tick(&mut self) {}
}

struct TooMuch;

#[handlers]
impl TooMuch {
    #[on]
    fn tick(&mut self, tick: Tick, envelope: &wireloom::Envelope<'_>, more: u8) {}
}

struct Awaits;

#[handlers]
impl Awaits {
    #[on]
    async fn tick(&mut self, tick: Tick) {}
}

struct AnswersOnce;

#[handlers]
impl AnswersOnce {
    #[on(once)]
    fn tick(&mut self, tick: &Archived<Tick>) -> Tick {
        Tick { number: 1 }
    }
}

struct Unmarked;

#[handlers]
impl Unmarked {
    fn tick(&mut self, tick: Tick) {}
}

struct OfTrait;

#[handlers]
impl Drop for OfTrait {
    fn drop(&mut self) {}
}

#[handlers]
struct NoBlock;

fn main() {}
