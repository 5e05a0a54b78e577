use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct UserInteraction {
    user_id: u64,
}

fn main() {}
