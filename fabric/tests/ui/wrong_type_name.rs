use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "user interaction")]
struct UserInteraction {
    user_id: u64,
}

fn main() {}
