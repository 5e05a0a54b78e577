//! The control plane: one thread that starts, stops and tends the data plane, never in an event's way.
