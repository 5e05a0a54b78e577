//! Where legacy events go: for each priority a list of targets. Phase 1 has one target for all,
//! phase 3 a multicast group for all and the critical nodes beside it.

use std::fmt;

use wireloom_wire::{LANES, Priority};

use crate::target::Target;

/// How many targets one priority may have.
pub const WAYS_MAX: usize = 64;

/// The multicast group of the legacy mesh.
pub const MESH_GROUP: &str = "224.1.1.1:9000";

/// Where the events of each priority go; each target gets every event once.
///
/// ```
/// use wireloom::Target;
/// use wireloom::event::Priority;
/// use wireloom::jtag::Ways;
///
/// let ways = Ways::mesh().and(Priority::Critical, Target::reliable("10.0.0.7:9000"))?;
/// assert_eq!(ways.of(Priority::Normal), [Target::multicast("224.1.1.1:9000")]);
/// assert_eq!(ways.of(Priority::Critical).len(), 2);
/// # Ok::<(), wireloom::jtag::WaysFull>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways([Vec<Target>; LANES]);

/// A priority has [`WAYS_MAX`] targets already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{WAYS_MAX} targets are said for this priority already: name a group or a service instead")]
pub struct WaysFull;

impl Ways {
    /// All to one target.
    #[must_use]
    pub fn to(target: &Target) -> Self {
        Self(std::array::from_fn(|_| vec![target.clone()]))
    }

    /// Nowhere: events stay with the listeners of this [`LegacyEvents`](super::LegacyEvents).
    #[must_use]
    pub fn nowhere() -> Self {
        Self::default()
    }

    /// All by multicast to the legacy mesh, [`MESH_GROUP`].
    #[must_use]
    pub fn mesh() -> Self {
        Self::to(&Target::multicast(MESH_GROUP))
    }

    /// Events of this priority go to `target` alone.
    #[must_use]
    pub fn only(mut self, priority: Priority, target: &Target) -> Self {
        self.0[priority.index()] = vec![target.clone()];
        self
    }

    /// Events of this priority go to `target` also; one that is said twice counts once.
    ///
    /// # Errors
    /// [`WaysFull`].
    pub fn and(mut self, priority: Priority, target: Target) -> Result<Self, WaysFull> {
        let targets = &mut self.0[priority.index()];
        if targets.contains(&target) {
            return Ok(self);
        }
        if targets.len() == WAYS_MAX {
            return Err(WaysFull);
        }
        targets.push(target);
        Ok(self)
    }

    /// Where events of this priority go.
    #[must_use]
    pub fn of(&self, priority: Priority) -> &[Target] {
        &self.0[priority.index()]
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, priority) in Priority::ALL.into_iter().enumerate() {
            let targets: Vec<String> = self.of(priority).iter().map(Target::to_string).collect();
            let targets = if targets.is_empty() { "nowhere".into() } else { targets.join(", ") };
            write!(f, "{}{} → {targets}", if index == 0 { "" } else { "; " }, priority.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_priority_has_its_targets() {
        let critical = Target::reliable("127.0.0.1:9");
        let ways = Ways::mesh()
            .and(Priority::Critical, critical.clone())
            .and_then(|ways| ways.and(Priority::Critical, critical.clone()))
            .unwrap()
            .only(Priority::Background, &Target::Local);
        assert_eq!(ways.of(Priority::Critical), [Target::multicast(MESH_GROUP), critical]);
        assert_eq!(ways.of(Priority::Background), [Target::Local]);
        assert_eq!(ways.of(Priority::High), [Target::multicast(MESH_GROUP)]);
        assert!(ways.to_string().starts_with("critical → udp://224.1.1.1:9000, tcp://127.0.0.1:9"));
    }

    #[test]
    fn the_list_has_an_end() {
        let mut ways = Ways::nowhere();
        for port in 1..=64 {
            ways = ways.and(Priority::Low, Target::reliable(&format!("127.0.0.1:{port}"))).unwrap();
        }
        assert_eq!(ways.and(Priority::Low, Target::Local), Err(WaysFull));
    }
}
