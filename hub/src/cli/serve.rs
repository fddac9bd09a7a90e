//! `demarc-hub serve`: the hub itself.

use std::{io::IsTerminal, sync::Arc};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{
    ca::Authority, clock, config::Config, hub::Hub, keys, presence, server::Server, store::Store, support::Socket,
    tls::ServerCertificate,
};

/// Says more or less: `DEMARC_HUB_LOG=debug`.
const LOG: &str = "DEMARC_HUB_LOG";

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    raise_file_limit();
    let runtime = Builder::new_multi_thread().worker_threads(config.workers).enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // Before anything else, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let authority = Authority::load(&config.keys.ca_certificate, &config.keys.ca_key)?;
    let receipt_key = keys::receipt_key(&config.keys.receipt_key)?;
    let store = Store::open(&config.data_dir).await?;
    let certificate = ServerCertificate::load(
        ServerCertificate::path_in(&config.data_dir),
        &authority,
        &config.server_names(),
        clock::now(),
    )?;
    let hub = Arc::new(Hub::new(config, store.clone(), authority, receipt_key));
    let server = Server::bind(config, hub.clone(), certificate)?;
    let socket = Socket::bind(&config.data_dir)
        .with_context(|| format!("cannot make support.sock in {}", config.data_dir.display()))?;
    hub.tasks.spawn(socket.serve(hub.clone()));
    // Only now: a second hub, started by mistake, has failed on the port before it says who is connected.
    store.start_node(presence::NODE, clock::now()).await?;
    let address = server.address().context("cannot tell where the hub listens")?;
    // Whoever started us waits for this line, whatever the log is set to.
    eprintln!("demarc-hub: listening on {address}, for sites that connect to {}", config.address());

    let stop = hub.stop.clone();
    let running = server.run();
    tokio::pin!(running);
    tokio::select! {
        () = &mut running => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping: no new connections; what was received is answered");
    stop.cancel();
    tokio::select! {
        () = &mut running => info!("stopped"),
        _ = terminate.recv() => warn!("stopped at once, on a second signal"),
        _ = interrupt.recv() => warn!("stopped at once, on a second signal"),
    }
    store.close().await;
    Ok(())
}

/// Every tunnel is an open file; the usual limit of 1024 would be the limit of the fleet.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        warn!(%error, "cannot raise the limit on open files");
    }
}
