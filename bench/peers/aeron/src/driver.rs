//! The media driver: a process that owns sockets and shared memory for all clients of a host.

use std::ffi::CString;
use std::sync::atomic::Ordering;

use anyhow::{Result, anyhow};
use peer_measure::{Plan, Stop};
use rusteron_client::Aeron as Client;
use rusteron_media_driver::bindings::aeron_threading_mode_enum as ThreadingMode;
use rusteron_media_driver::{AeronDriver, AeronDriverContext};

const MTU_BYTES: usize = 8 << 10;
const WINDOW_BYTES: usize = 2 << 20;

/// Where the driver keeps its files, inside the folder of the run.
pub(crate) fn folder(plan: &Plan) -> Result<CString> {
    Ok(CString::new(plan.folder.join("aeron").display().to_string())?)
}

/// Shared memory instead of UDP.
pub(crate) fn is_local(plan: &Plan) -> bool {
    plan.config.starts_with("ipc")
}

/// The version of the C sources; 0.0.0 when they do not say.
pub(crate) fn version() -> String {
    let parts = [Client::version_major(), Client::version_minor(), Client::version_patch()];
    parts.map(|part| part.unwrap_or(0).to_string()).join(".")
}

/// Runs the driver until the measuring process has done with it.
pub(crate) fn serve(plan: &Plan, ready: impl FnOnce(u32) -> Result<()>, stop: &Stop) -> Result<()> {
    let context = AeronDriverContext::new()?;
    context.set_dir(&folder(plan)?)?;
    context.set_dir_delete_on_start(true)?;
    context.set_dir_delete_on_shutdown(true)?;
    if plan.config.contains('-') {
        tune(&context, &plan.config)?;
    }
    let (stopped, driver) = AeronDriver::launch_embedded(context, false);
    ready(std::process::id())?;
    stop.wait();
    stopped.store(true, Ordering::SeqCst);
    driver.join().map_err(|_| anyhow!("the driver's thread panicked"))??;
    Ok(())
}

/// What Aeron's guides name for throughput on loopback and few cores.
fn tune(context: &AeronDriverContext, config: &str) -> Result<()> {
    context.set_mtu_length(MTU_BYTES)?;
    context.set_ipc_mtu_length(MTU_BYTES)?;
    context.set_socket_so_rcvbuf(WINDOW_BYTES)?;
    context.set_socket_so_sndbuf(WINDOW_BYTES)?;
    context.set_rcv_initial_window_length(WINDOW_BYTES)?;
    let idle = if config.ends_with("-fast") { c"backoff" } else { c"yield" };
    if config.ends_with("-threads") {
        context.set_threading_mode(ThreadingMode::AERON_THREADING_MODE_DEDICATED)?;
        context.set_conductor_idle_strategy(idle)?;
        context.set_sender_idle_strategy(idle)?;
        context.set_receiver_idle_strategy(idle)?;
    } else {
        context.set_threading_mode(ThreadingMode::AERON_THREADING_MODE_SHARED)?;
        context.set_shared_idle_strategy(idle)?;
    }
    Ok(())
}
