//! Attacks on the control plane (F31–F39 in `docs/faults.md`), on its parts and over real sockets.

mod readers;
