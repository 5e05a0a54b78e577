//! Who listens to which name, and how they are called: in the order in which they came, each on its
//! own, whatever the others do.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::Value;

use super::shape::{MessageError, checked_name};

/// How many listeners there may be at a time, of all names together.
pub const LISTENERS_MAX: usize = 100_000;

/// Which listener: what [`LegacyEvents::unsubscribe`](super::LegacyEvents::unsubscribe) takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(usize);

/// Why nobody listens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// No event can have this name.
    #[error(transparent)]
    Name(#[from] MessageError),
    /// There are [`LISTENERS_MAX`] already.
    #[error("{LISTENERS_MAX} listeners are there already: unsubscribe those no longer needed")]
    Full,
}

type Call = Box<dyn Fn(&Value) + Send + Sync>;

struct Listener {
    id: ListenerId,
    /// Called for the first event only.
    once: bool,
    /// It has not been removed: one that is removed while an event is given out is not called.
    live: AtomicBool,
    call: Call,
}

type List = Arc<[Arc<Listener>]>;

/// The listeners of one [`LegacyEvents`](super::LegacyEvents). The lock is held while a list is
/// looked up or replaced, never while a listener runs: it may emit and unsubscribe.
#[derive(Default)]
pub(super) struct Listeners {
    by_name: Mutex<HashMap<String, List>>,
    count: AtomicUsize,
    next: AtomicUsize,
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Listeners {
    fn lists(&self) -> MutexGuard<'_, HashMap<String, List>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more listener, behind those of the same name.
    pub(super) fn add(
        self: &Arc<Self>,
        name: &str,
        once: bool,
        call: impl Fn(&Value) + Send + Sync + 'static,
    ) -> Result<Unsubscribe, ListenError> {
        checked_name("the event's name", name)?;
        let mut lists = self.lists();
        if self.count.load(Ordering::Relaxed) >= LISTENERS_MAX {
            return Err(ListenError::Full);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let id = ListenerId(self.next.fetch_add(1, Ordering::Relaxed));
        let call = Box::new(call);
        let listener = Arc::new(Listener { id, once, live: AtomicBool::new(true), call });
        let list = lists.entry(name.to_owned()).or_insert_with(|| Arc::new([]));
        *list = list.iter().cloned().chain([listener]).collect();
        Ok(Unsubscribe { id, name: name.to_owned(), listeners: Arc::downgrade(self), keep: false })
    }

    fn remove_from(&self, lists: &mut HashMap<String, List>, name: &str, id: ListenerId) -> bool {
        let Some(list) = lists.get_mut(name) else { return false };
        let Some(found) = list.iter().find(|listener| listener.id == id) else { return false };
        found.live.store(false, Ordering::Relaxed);
        *list = list.iter().filter(|listener| listener.id != id).cloned().collect();
        if list.is_empty() {
            lists.remove(name);
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Removes a listener; false when it is not there.
    pub(super) fn remove(&self, id: ListenerId) -> bool {
        let mut lists = self.lists();
        let has = |list: &List| list.iter().any(|listener| listener.id == id);
        let name = lists.iter().find(|(_, list)| has(list)).map(|(name, _)| name.clone());
        name.is_some_and(|name| self.remove_from(&mut lists, &name, id))
    }

    /// Removes all of them.
    pub(super) fn clear(&self) {
        let removed = std::mem::take(&mut *self.lists());
        for listener in removed.values().flat_map(|list| list.iter()) {
            listener.live.store(false, Ordering::Relaxed);
        }
        self.count.store(0, Ordering::Relaxed);
    }

    /// Calls the listeners of `name`; says how many returned and gives what each of the others
    /// panicked with to `on_panic`.
    pub(super) fn call(&self, name: &str, data: &Value, mut on_panic: impl FnMut(&str)) -> usize {
        let Some(list) = self.lists().get(name).cloned() else { return 0 };
        let mut returned = 0;
        for listener in list.iter() {
            let live = if listener.once {
                listener.live.swap(false, Ordering::Relaxed)
            } else {
                listener.live.load(Ordering::Relaxed)
            };
            if !live {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| (listener.call)(data))) {
                Ok(()) => returned += 1,
                Err(panic) => on_panic(words(&*panic)),
            }
            if listener.once {
                self.remove_from(&mut self.lists(), name, listener.id);
            }
        }
        returned
    }
}

/// What a panic said.
pub(super) fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// Removes its listener when it is dropped or told to.
#[must_use = "dropping it unsubscribes: hold it, or say keep()"]
#[derive(Debug)]
pub struct Unsubscribe {
    id: ListenerId,
    name: String,
    listeners: Weak<Listeners>,
    keep: bool,
}

impl Unsubscribe {
    /// Removes the listener now. It may still be running on another thread.
    pub fn unsubscribe(self) {}

    /// Leaves the listener where it is for as long as the events live; its id can remove it.
    pub fn keep(mut self) -> ListenerId {
        self.keep = true;
        self.id
    }

    /// The listener's id.
    #[must_use]
    pub const fn id(&self) -> ListenerId {
        self.id
    }
}

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        if !self.keep
            && let Some(listeners) = self.listeners.upgrade()
        {
            let mut lists = listeners.lists();
            listeners.remove_from(&mut lists, &self.name, self.id);
        }
    }
}
