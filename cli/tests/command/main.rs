//! The real command, run as a user runs it: words in, text and exit status out. Only the loopback
//! interface is used, and only ports that the system chose.

mod ca;
mod cluster;
mod config;
mod demo;
mod jtag_bridge;
mod jtag_floods;
mod policy;
mod program;
mod publish;
mod rules;
mod schema;
mod subscribe;
mod usage;
