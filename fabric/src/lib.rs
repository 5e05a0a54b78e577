//! Wireloom routes typed events: one call reaches a function, a process, a machine or a multicast group.
