//! `/metrics`: figures for the owner's own monitoring, in OpenMetrics text. They count calls and never name a caller, an extension
//! or a queue, so that whoever may connect on this machine may read them.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use data_encoding::BASE64;
use demarc_proto::{Cell, Direction, Outcome};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::enter::TRIES;
use crate::{
    call::Figures,
    control::{Answer, RoleStatus, Status},
    ipc::{
        PbxStatus,
        web::{Question, Reply},
    },
    pbx::ami::facts::RegistrationState,
    settings::Secret,
    store::{Counts, Store},
    web::app::App,
};

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, String); N];
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Counters<const N: usize> = Family<Labels<N>, Counter>;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(show))
}

async fn show(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let password = password(&headers);
    // Where a password is asked for, guesses are made one after the other.
    let _turn = match &password {
        Some(_) => TRIES.acquire().await.ok(),
        None => None,
    };
    let status = match app.desk.ask(Question::Monitor { password }).await {
        Some(Reply::Control(Answer::Status(status))) => status,
        Some(_) => {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"demarc\"")];
            return (StatusCode::UNAUTHORIZED, ask, "The password of the pages is needed.\n").into_response();
        }
        None => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    // Without figures the rest still stands.
    let figures = app.reader.read(Sums::current).await.unwrap_or_default();
    let mut text = String::new();
    match encode(&mut text, &registry(&status, &figures)) {
        Ok(()) => ([(header::CONTENT_TYPE, KIND)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The password of basic authentication; the user's name may be any.
fn password(headers: &HeaderMap) -> Option<Secret> {
    let line = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let both = String::from_utf8(BASE64.decode(line.strip_prefix("Basic ")?.as_bytes()).ok()?).ok()?;
    both.split_once(':').map(|(_, password)| Secret::new(password))
}

/// Sums over everything that the store holds.
#[derive(Clone, Default)]
struct Sums {
    by_cell: Vec<(Cell, Figures)>,
    counts: Counts,
}

/// The sums of the store as it was when somebody asked last: they change only when somebody writes.
static KNOWN: Mutex<Option<(i64, Sums)>> = Mutex::new(None);

impl Sums {
    fn current(store: &Store) -> anyhow::Result<Self> {
        let version = store.data_version()?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sums)) = known.as_ref().filter(|(known, _)| *known == version) {
            return Ok(sums.clone());
        }
        let mut by_cell: Vec<(Cell, Figures)> = Cell::all().map(|cell| (cell, Figures::default())).collect();
        store.rollups(i64::MIN, i64::MAX, |row| by_cell[row.cell.index()].1.add(&row.figures))?;
        let sums = Self { by_cell, counts: store.counts()? };
        *known = Some((version, sums.clone()));
        Ok(sums)
    }
}

fn registry(status: &Status, sums: &Sums) -> Registry {
    let mut registry = Registry::with_prefix("demarc");
    let build = Info::new(vec![("version", status.version.clone())]);
    registry.register("build", "The program", build);
    calls(&mut registry, sums);
    sources(&mut registry, status, sums);
    if let Some(pbx) = status.collected.as_ref().and_then(|collected| collected.pbx.as_ref()) {
        phone_system(&mut registry, pbx);
    }
    leaving(&mut registry, status);
    processes(&mut registry, status);
    registry
}

/// These are no counters: the outcome of a call may still change while its rows come in.
fn calls(registry: &mut Registry, sums: &Sums) {
    let (calls, talk, wait) = (Gauges::<2>::default(), Gauges::<2>::default(), Gauges::<2>::default());
    for (Cell { direction, outcome }, figures) in &sums.by_cell {
        let labels = labels(*direction, *outcome);
        calls.get_or_create(&labels).set(figures.calls);
        talk.get_or_create(&labels).set(figures.talk_seconds);
        wait.get_or_create(&labels).set(figures.wait_seconds);
    }
    registry.register("calls", "Calls that ended, of all that the store holds", calls);
    registry.register_with_unit("call_talk", "Time during which an answered leg was up", Unit::Seconds, talk);
    registry.register_with_unit("call_wait", "Time until a person answered, or the end", Unit::Seconds, wait);
}

fn labels(direction: Direction, outcome: Outcome) -> Labels<2> {
    [("direction", direction.as_str().to_owned()), ("outcome", outcome.as_str().to_owned())]
}

fn sources(registry: &mut Registry, status: &Status, sums: &Sums) {
    let (rows, read) = (Counters::<2>::default(), Gauges::<1>::default());
    let trouble = Gauges::<1>::default();
    for source in status.collected.iter().flat_map(|collected| &collected.sources) {
        let name = || ("source", source.name.clone());
        for (result, number) in
            [("read", source.rows), ("malformed", source.malformed), ("duplicate", source.duplicates)]
        {
            rows.get_or_create(&[name(), ("result", result.to_owned())]).inc_by(number);
        }
        if let Some(moment) = source.last_read {
            read.get_or_create(&[name()]).set(gauge(moment));
        }
        trouble.get_or_create(&[name()]).set(i64::from(source.trouble.is_some()));
    }
    registry.register("call_rows", "Rows of call records since the store began", rows);
    registry.register_with_unit("source_last_row_timestamp", "When the newest row was read", Unit::Seconds, read);
    registry.register("source_trouble", "Whether something is wrong with a source", trouble);
    number(registry, "quarantined_rows", "Rows that were not understood and are kept", sums.counts.quarantined);
}

fn phone_system(registry: &mut Registry, pbx: &PbxStatus) {
    number(registry, "pbx_up", "Whether the phone system answers", u64::from(pbx.connected));
    if let Some(calls) = pbx.active_calls {
        number(registry, "active_calls", "Calls that are up", calls);
    }
    if let Some(peak) = pbx.peak_today {
        number(registry, "peak_calls_today", "The most calls at a time since midnight", peak.calls);
    }
    if let Some(moment) = pbx.up_since {
        moment_of(registry, "pbx_start_timestamp", "When the phone system was started", moment);
    }
    let trunks = Gauges::<1>::default();
    for one in &pbx.registrations {
        let is_registered = one.state == RegistrationState::Registered;
        trunks.get_or_create(&[("trunk", one.name.0.clone())]).set(i64::from(is_registered));
    }
    registry.register("trunk_registered", "Whether a provider has the registration", trunks);
}

fn leaving(registry: &mut Registry, status: &Status) {
    number(registry, "stats_upload_enabled", "Whether statistics may leave", u64::from(status.upload));
    let link = status.linked.as_ref();
    number(registry, "tunnel_up", "Whether the hub answers", u64::from(link.is_some_and(|link| link.connected)));
    if let Some(moment) = link.and_then(|link| link.certificate_ends) {
        moment_of(registry, "tunnel_certificate_expiry_timestamp", "When the certificate of the tunnel ends", moment);
    }
    if let Some(collected) = &status.collected {
        number(registry, "reports_waiting", "Reports that wait for the tunnel", collected.outbox);
        number(registry, "report_window_calls", "Calls in the open report window", collected.waiting_calls);
    }
    number(registry, "support_grants", "Grants of support that are live", status.support.grants.len() as u64);
    number(registry, "support_sessions", "Support sessions that run", status.support.sessions.len() as u64);
}

fn processes(registry: &mut Registry, status: &Status) {
    moment_of(registry, "start_timestamp", "When the daemon was started", status.started);
    let restarts = Counters::<1>::default();
    let roles: [(&str, &RoleStatus); 3] =
        [("collector", &status.collector), ("link", &status.link), ("web", &status.web.role)];
    for (name, role) in roles {
        restarts.get_or_create(&[("role", name.to_owned())]).inc_by(role.restarts);
    }
    registry.register("role_restarts", "How often a process had to be started again", restarts);
    number(
        registry,
        "config_error",
        "Whether the config file cannot be used",
        u64::from(status.config_error.is_some()),
    );
    number(registry, "web_browsers", "Browsers that are logged in", status.web.browsers as u64);
}

fn number(registry: &mut Registry, name: &str, help: &str, number: u64) {
    let metric = Gauge::<i64>::default();
    metric.set(gauge(number));
    registry.register(name, help, metric);
}

fn moment_of(registry: &mut Registry, name: &str, help: &str, moment: u64) {
    let metric = Gauge::<i64>::default();
    metric.set(gauge(moment));
    registry.register_with_unit(name, help, Unit::Seconds, metric);
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
