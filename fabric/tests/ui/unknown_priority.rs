use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "user-interaction", priority = "urgent")]
struct UserInteraction {
    user_id: u64,
}

fn main() {}
