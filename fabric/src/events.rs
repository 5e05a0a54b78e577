//! Events that Wireloom itself publishes; ordinary events, open to every subscriber.

pub mod exception;
pub mod heartbeat;
pub mod service_announcement;

pub use exception::Exception;
pub use heartbeat::Heartbeat;
pub use service_announcement::ServiceAnnouncement;
