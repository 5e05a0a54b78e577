//! The rules a node has now. Whoever exchanges them writes; routers look at a number, and take a
//! copy of the set when it is another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::RuleSet;

/// A node's rules and how often they were exchanged.
#[derive(Debug, Default)]
pub(crate) struct RuleBook {
    generation: AtomicU64,
    rules: Mutex<RuleSet>,
}

impl RuleBook {
    pub(crate) fn new(rules: RuleSet) -> Self {
        Self { generation: AtomicU64::new(0), rules: Mutex::new(rules) }
    }

    /// Changes with each exchange; one relaxed load. Whoever sees a new number finds the new rules
    /// behind the lock.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The rules, and the number they have.
    pub(crate) fn current(&self) -> (u64, RuleSet) {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        (self.generation(), rules.clone())
    }

    /// Puts others in their place and gives those before.
    pub(crate) fn exchange(&self, rules: RuleSet) -> RuleSet {
        let mut held = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, rules);
        self.generation.fetch_add(1, Ordering::Relaxed);
        before
    }
}
