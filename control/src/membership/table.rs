//! What the machine remembers of each address: the failure detector's verdict and the member's
//! newest record.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::identity::Identity;
use super::member::Change;
use super::record::Record;

/// One address.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The life the failure detector knows.
    pub(crate) identity: Identity,
    pub(crate) up: bool,
    /// Up, with a record: told to the outside.
    pub(crate) told: bool,
    /// Its place in the list of those that are up.
    place: usize,
    pub(crate) since_ns: u64,
    pub(crate) record: Option<Arc<Record>>,
    /// When its record was last asked for.
    pub(crate) asked_ns: u64,
}

/// Every address that is known, tombstones included.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) by_address: BTreeMap<SocketAddr, Entry>,
    pub(crate) changes: Vec<Change>,
    /// The addresses of members that are up, in no order: one is chosen by chance for nothing.
    up: Vec<SocketAddr>,
    /// Those of them whose record is known.
    pub(crate) told: usize,
    /// The digests of their identities, added up without carry.
    pub(crate) digest: u64,
}

impl Entries {
    pub(crate) fn rise(&mut self, identity: Identity, now_ns: u64) {
        let entry = self.by_address.entry(identity.address).or_insert(Entry {
            identity,
            up: false,
            told: false,
            place: 0,
            since_ns: now_ns,
            record: None,
            asked_ns: 0,
        });
        if !entry.up {
            (entry.up, entry.since_ns) = (true, now_ns);
            entry.place = self.up.len();
            self.up.push(identity.address);
            self.digest ^= entry.identity.digest();
        }
        self.live(identity);
    }

    /// The address has begun a new life.
    pub(crate) fn live(&mut self, identity: Identity) {
        let Some(entry) = self.by_address.get_mut(&identity.address) else { return };
        let renewed = entry.identity != identity;
        if renewed && entry.up {
            self.digest ^= entry.identity.digest() ^ identity.digest();
        }
        let other = entry.record.as_ref().is_some_and(|of| of.identity.node != identity.node);
        if renewed && other {
            // Another node took the address: nothing of the old one's word holds.
            if std::mem::take(&mut entry.told) {
                self.told -= 1;
                self.changes.push(Change::Down(entry.identity));
            }
            entry.record = None;
        }
        entry.identity = identity;
        if entry.told && renewed {
            self.changes.push(Change::Changed(identity));
        }
        self.tell(identity.address);
    }

    pub(crate) fn fall(&mut self, identity: Identity, now_ns: u64) {
        let Some(entry) = self.by_address.get_mut(&identity.address) else { return };
        if std::mem::take(&mut entry.up) {
            self.digest ^= entry.identity.digest();
            (entry.since_ns, entry.identity) = (now_ns, identity);
            let place = entry.place;
            self.up.swap_remove(place);
            let moved = self.up.get(place).and_then(|moved| self.by_address.get_mut(moved));
            if let Some(moved) = moved {
                moved.place = place;
            }
        }
        let Some(entry) = self.by_address.get_mut(&identity.address) else { return };
        if std::mem::take(&mut entry.told) {
            self.told -= 1;
            self.changes.push(Change::Down(identity));
        }
    }

    /// Keeps a record of a known address; false when it is no news.
    pub(crate) fn keep(&mut self, record: &Arc<Record>) -> bool {
        let address = record.identity.address;
        let Some(entry) = self.by_address.get_mut(&address) else { return false };
        let stale = record.identity < entry.identity;
        let known = entry.record.as_ref().is_some_and(|known| !record.is_newer(known));
        if stale || known {
            return false;
        }
        entry.record = Some(Arc::clone(record));
        if entry.told {
            self.changes.push(Change::Changed(record.identity));
        }
        self.tell(address);
        true
    }

    fn tell(&mut self, address: SocketAddr) {
        let Some(entry) = self.by_address.get_mut(&address) else { return };
        if entry.up && entry.record.is_some() && !entry.told {
            entry.told = true;
            self.told += 1;
            self.changes.push(Change::Up(entry.identity));
        }
    }

    /// Whether this life is up.
    pub(crate) fn lives(&self, identity: &Identity) -> bool {
        let entry = self.by_address.get(&identity.address);
        entry.is_some_and(|entry| entry.up && entry.identity == *identity)
    }

    /// Forgets an address that is down.
    pub(crate) fn forget(&mut self, identity: Identity) {
        let entry = self.by_address.get(&identity.address);
        if entry.is_some_and(|entry| !entry.up && entry.identity == identity) {
            self.by_address.remove(&identity.address);
        }
    }

    pub(crate) fn version_of(&self, address: SocketAddr) -> Option<(Identity, u32)> {
        let record = self.by_address.get(&address)?.record.as_ref()?;
        Some((record.identity, record.version))
    }

    /// Members that are up.
    pub(crate) const fn up(&self) -> usize {
        self.up.len()
    }

    /// The addresses of `count` members that are up, each once, by chance.
    pub(crate) fn some_up(&mut self, count: usize, random: &mut SmallRng) -> &[SocketAddr] {
        let count = count.min(self.up.len());
        for place in 0..count {
            let other = random.random_range(place..self.up.len());
            self.up.swap(place, other);
            for place in [place, other] {
                if let Some(entry) = self.by_address.get_mut(&self.up[place]) {
                    entry.place = place;
                }
            }
        }
        &self.up[..count]
    }
}
