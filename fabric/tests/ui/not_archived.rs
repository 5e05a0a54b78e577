use wireloom::Event;

#[derive(Event)]
#[event(type = "user-interaction")]
struct UserInteraction {
    user_id: u64,
}

fn main() {}
