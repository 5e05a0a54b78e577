use wireloom::{Event, Schema};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "user-interaction", priorty = "high")]
struct UserInteraction {
    user_id: u64,
}

#[derive(Schema)]
struct Nested {
    #[schema(opaqe = "id-v1")]
    id: u64,
}

fn main() {}
