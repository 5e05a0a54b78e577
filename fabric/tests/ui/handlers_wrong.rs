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

struct Mutable;

#[handlers]
impl Mutable {
    #[on]
    fn tick(&mut self, tick: &mut Archived<Tick>) {}
}

struct Function;

#[handlers]
impl Function {
    #[on]
    fn tick(tick: Tick) {}
}

struct Nothing;

#[handlers]
impl Nothing {
    #[on]
    fn tick() {}
}

struct AnyType;

#[handlers]
impl AnyType {
    #[on]
    fn tick<E: Event>(&mut self, event: E) {}
}

struct NoEnvelope;

#[handlers]
impl NoEnvelope {
    #[on]
    fn tick(&mut self, tick: Tick, number: u64) {}
}

struct Twice;

#[handlers]
impl Twice {
    #[on]
    #[on(once)]
    fn tick(&mut self, tick: Tick) {}
}

struct OnceEqual;

#[handlers]
impl OnceEqual {
    #[on(once = true)]
    fn tick(&mut self, tick: Tick) {}
}

struct Option;

#[handlers(krate = "wireloom")]
impl Option {
    #[on]
    fn tick(&mut self, tick: Tick) {}
}

#[handlers]
struct NoBlock;

fn main() {}
