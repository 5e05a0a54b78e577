use wireloom::Event;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "user-interaction", multicast = "10.0.0.1:9000")]
struct UserInteraction {
    user_id: u64,
}

fn main() {}
