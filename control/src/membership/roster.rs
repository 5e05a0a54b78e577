//! The table of members as the rest of the program reads it: an immutable table that the control
//! thread swaps, and a generation that says when to look again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::member::Member;

/// The members at one instant, by address, tombstones included.
pub type Table = Arc<Vec<Arc<Member>>>;

/// The newest table. Written by the control thread alone, read by anyone.
#[derive(Debug, Default)]
pub struct Roster {
    generation: AtomicU64,
    table: Mutex<Table>,
    changed: Condvar,
}

impl Roster {
    /// Changes whenever the table does; one relaxed load.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn locked(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table now. A lock held for the copy of a pointer.
    #[must_use]
    pub fn table(&self) -> Table {
        Arc::clone(&self.locked())
    }

    /// Makes `table` the newest.
    pub fn publish(&self, table: Table) {
        *self.locked() = table;
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Waits for another table than that of `generation`, at most so long; the table then.
    #[must_use]
    pub fn wait(&self, generation: u64, patience: Duration) -> Table {
        let locked = self.locked();
        let same = |_: &mut Table| self.generation() == generation;
        let waited = self.changed.wait_timeout_while(locked, patience, same);
        let (table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table)
    }
}
