//! What a node of a cluster tells of itself by ordinary events: a heartbeat now and then, its
//! services when they change, both to the discovery group; and its load and memory to its record.
//! A task of the control thread.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use wireloom_control::membership::Record;
use wireloom_control::mesh::MeshCommand;
use wireloom_dataplane::agent::Agent;

use crate::events::{Heartbeat, ServiceAnnouncement};
use crate::router::Router;
use crate::shared::Shared;
use crate::target::Target;

/// How often a heartbeat is sent unless told otherwise.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// The record is changed for load and memory alone this often at most, ns: each change goes to
/// every member, a heartbeat costs one packet.
const RECORD_NS: u64 = 60_000_000_000;

pub(crate) struct Announcer {
    shared: Weak<Shared>,
    router: Option<Router>,
    group: Option<SocketAddr>,
    services: Vec<String>,
    heartbeat_ns: u64,
    heartbeat_at_ns: u64,
    record_at_ns: u64,
}

impl Announcer {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        group: Option<SocketAddr>,
        heartbeat: Duration,
    ) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            router: None,
            group,
            services: Vec::new(),
            heartbeat_ns: u64::try_from(heartbeat.as_nanos()).unwrap_or(u64::MAX),
            heartbeat_at_ns: 0,
            record_at_ns: 0,
        }
    }

    /// This node's record as it has been published last.
    fn own(shared: &Shared) -> Option<Record> {
        let table = shared.cluster.joined()?.port.roster.table();
        table.iter().find(|member| member.is_self).map(|member| member.record.clone())
    }

    fn tell(&mut self, shared: &Arc<Shared>, own: &Record, heartbeat: &Heartbeat) {
        let Some(group) = self.group else { return };
        let router = self.router.get_or_insert_with(|| Router::new(Arc::clone(shared)));
        let target = Target::Multicast(group);
        // A heartbeat that is refused is followed by another.
        let _ = router.route(heartbeat, &target);
        if own.services != self.services {
            let announcement = ServiceAnnouncement {
                node: own.name.clone(),
                node_id: own.identity.node.0,
                address: own.identity.address.to_string(),
                services: own.services.clone(),
            };
            if router.route(&announcement, &target).is_ok() {
                self.services.clone_from(&own.services);
            }
        }
    }

    fn keep_record(&mut self, shared: &Shared, own: &Record, heartbeat: &Heartbeat, now_ns: u64) {
        let (old, new) = (u64::from(own.load_milli), u64::from(heartbeat.load_1m_milli));
        let moved = |old: u64, new: u64| old.abs_diff(new) > old / 8;
        let news = moved(old, new) || moved(own.memory_used_bytes, heartbeat.memory_used_bytes);
        if !news || now_ns < self.record_at_ns {
            return;
        }
        self.record_at_ns = now_ns + RECORD_NS;
        let (load, used) = (heartbeat.load_1m_milli, heartbeat.memory_used_bytes);
        let total = heartbeat.memory_total_bytes;
        if let Some(joined) = shared.cluster.joined() {
            joined.command(MeshCommand::Update(Box::new(move |record| {
                record.load_milli = load;
                (record.memory_used_bytes, record.memory_total_bytes) = (used, total);
            })));
        }
    }
}

impl Agent for Announcer {
    fn name(&self) -> &'static str {
        "announcer"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        if now_ns < self.heartbeat_at_ns {
            return 0;
        }
        self.heartbeat_at_ns = now_ns.saturating_add(self.heartbeat_ns);
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let Some(own) = Self::own(&shared) else { return 0 };
        let Ok(mut heartbeat) = Heartbeat::sample(&own.name, own.identity.node.0) else { return 0 };
        heartbeat.services.clone_from(&own.services);
        self.keep_record(&shared, &own, &heartbeat, now_ns);
        self.tell(&shared, &own, &heartbeat);
        1
    }

    fn deadline_ns(&self) -> Option<u64> {
        Some(self.heartbeat_at_ns)
    }

    fn on_close(&mut self, _now_ns: u64) {
        self.router = None;
    }
}
