use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "")]
struct UserInteraction {
    user_id: u64,
}

fn main() {}
