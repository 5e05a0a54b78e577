//! Derive macros of Wireloom: Event and Schema.
