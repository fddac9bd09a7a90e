//! The supervisor's way from a plain process to a confined one with a running loop.

use std::{
    io,
    net::TcpListener,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{
    Ending, Happening, Inbox, Supervisor,
    backups::Backups,
    connections::Connections,
    derive,
    keeper::Keeper,
    lock::{Lock, LockError},
    messenger::Messenger,
    notify::Notifier,
    relay::Relay,
    sessions::Sessions,
    slot::Slot,
    updates::{self, Updates},
    watch::{SETTLED, Watched, wake_on_change},
    web::{self, Listener, Web},
};
use crate::{
    cgroup::{self, Home},
    confine::{
        self, ConfineError, Profile, canary,
        layout::{self, Ground},
    },
    control::server::Bound,
    health::gauge,
    ipc::{Confined, EXIT_NOT_CONFINED},
    memory,
    settings::{
        Confinement,
        load::{self, Loaded},
    },
    state::{StateDir, StateError},
};

/// How often the supervisor looks at its files itself, where no event told it to.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Events of one role that wait to be handled.
const MOST_EVENTS: usize = 64;

/// The daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state directory is somebody else's.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The supervisor is not confined as it must be.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The control socket cannot be made.
    #[error("the control socket {path} cannot be made")]
    Socket {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refused something that every process gets.
    #[error("the daemon cannot be started")]
    System(#[from] io::Error),
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// When it cannot start, or is not confined as it must be.
pub fn run(config: &Path, loaded: Loaded) -> Result<ExitCode, RunError> {
    let state = StateDir::new(&loaded.settings.state_dir);
    state.become_owner()?;
    state.create()?;
    let _lock = Lock::take(&state)?;
    canary::plant(&state)?;
    let _gauges = gauge::hold();
    let notifier = Notifier::connect();
    let config = std::path::absolute(config)?;
    let home = home(&loaded, &state);
    let cgroups = home.iter().flat_map(Home::grants).collect();
    let ground = Ground { cgroups, ..Ground::survey(&loaded.settings, &config)? };
    let socket = state.control_socket();
    let bound =
        Bound::bind(&socket).map_err(|source| RunError::Socket { path: socket.display().to_string(), source })?;
    let listener = Listener::bind(&loaded.settings.web.listen);
    let packages = updates::bind(&loaded.settings.updates);
    let confinement = confine(&ground, &loaded, &config)?;
    for warning in load::warnings(&loaded.settings).iter().chain(&confinement.1.gaps) {
        tracing::warn!("{warning}");
    }
    // What a session leaves behind becomes a child of this process, which ends it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(io::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(async {
        tokio::spawn(memory::stay_small());
        let (supervisor, inbox) =
            supervisor(config, state, ground, confinement, loaded, home.clone(), (listener, packages));
        main_loop(supervisor, inbox, bound, notifier).await
    })?;
    home.iter().for_each(Home::leave);
    match ending {
        Ending::Asked => {
            tracing::info!("demarc ends");
            Ok(ExitCode::SUCCESS)
        }
        Ending::NotConfined => {
            tracing::error!(
                "a role is not confined as it must be; demarc ends and must not be started again like this"
            );
            Ok(ExitCode::from(EXIT_NOT_CONFINED))
        }
    }
}

/// Where sessions get cgroups, or why they get none, in words.
fn home(loaded: &Loaded, state: &StateDir) -> Result<Home, String> {
    cgroup::end_what_was_left(state);
    if !layout::is_open(&loaded.settings) {
        return Err("support could not be let in when demarc was started".to_owned());
    }
    Home::settle(state).map_err(|error| error.to_string())
}

fn confine(ground: &Ground, loaded: &Loaded, config: &Path) -> Result<(Profile, Confined), ConfineError> {
    if ground.landlock.is_none() && loaded.settings.confinement == Confinement::BestEffort {
        tracing::warn!(
            "THIS KERNEL CANNOT CONFINE DEMARC: Landlock is missing or does not work. Nothing but the code keeps the \
             roles from opening recordings. demarc goes on because confinement = \"best-effort\" is set."
        );
    }
    let mut profile = layout::supervisor(ground, &loaded.settings, config);
    // The planted canaries may lie where the supervisor must read; this one lies nowhere.
    let nameless = canary::Nameless::make().filter(|_| !layout::covers(&profile.grants, &std::env::temp_dir()));
    profile.forbidden.extend(nameless.iter().map(canary::Nameless::path));
    let confined = confine::enter(&profile)?;
    // What did not exist was not granted.
    profile.grants.retain(|grant| grant.path.exists());
    Ok((profile, confined))
}

fn supervisor(
    config: std::path::PathBuf,
    state: StateDir,
    ground: Ground,
    (profile, confined): (Profile, Confined),
    loaded: Loaded,
    home: Result<Home, String>,
    (listener, packages): (Result<Listener, String>, Result<TcpListener, String>),
) -> (Supervisor, Inbox) {
    let (to_collector, collector) = mpsc::channel(MOST_EVENTS);
    let (to_link, link) = mpsc::channel(MOST_EVENTS);
    let do_not_track = std::env::var_os("DO_NOT_TRACK");
    // What changes while demarc starts must not be missed: the config file was read before, the other one is read below.
    let watched_config = Watched::read_before(config.clone());
    let watched_site = Watched::new(state.site_file());
    let site = derive::read_site(&state.site_file());
    let enrolled = site.as_ref().ok().and_then(Option::as_ref);
    let uploads = derive::uploads(&loaded, do_not_track.as_deref());
    let collector_settings = derive::collector(&loaded, &uploads, enrolled, &ground.gauges, 1);
    let link_settings = derive::link(&loaded, &uploads, enrolled, super::changes::from_environment, 1);
    if let Err(why) = &link_settings {
        tracing::info!("no tunnel: {why}");
    }
    let (to_sessions, sessions_said) = mpsc::channel(MOST_EVENTS);
    let (to_dialled, dialled) = mpsc::channel(MOST_EVENTS);
    let (to_web, web_said) = mpsc::channel(MOST_EVENTS);
    let (to_web_findings, web_findings) = mpsc::channel(MOST_EVENTS);
    let (to_keeper, keeper) = mpsc::channel(MOST_EVENTS);
    let (to_messenger, messenger) = mpsc::channel(MOST_EVENTS);
    let (to_archivist, archivist) = mpsc::channel(MOST_EVENTS);
    let backups = Backups::new(&state, to_archivist);
    let (sessions, dead) = Sessions::new(&state, home, to_sessions);
    let keeper_of_recordings = Keeper::new(to_keeper, &loaded.settings, Instant::now());
    let mut supervisor = Supervisor {
        config,
        state,
        ground,
        granted: profile.grants,
        confined,
        started: SystemTime::now(),
        do_not_track,
        loaded,
        config_error: None,
        uploads,
        site,
        generation: 1,
        collector_settings,
        link_settings,
        collector: Slot::new("collector", to_collector),
        link: Slot::new("link", to_link),
        link_port: None,
        resolver: layout::resolver_identity(),
        collected: None,
        linked: None,
        relay: Relay::default(),
        connections: Connections::new(to_dialled),
        sessions,
        web: Web::new(listener, to_web, to_web_findings),
        keeper: keeper_of_recordings,
        messenger: Messenger::new(to_messenger),
        updates: Updates::new(packages),
        backups,
        watched_config,
        watched_site,
        waiting: Vec::new(),
        silence: None,
        ending: None,
    };
    supervisor.close_what_was_left(dead);
    let inbox = Inbox {
        collector,
        link,
        sessions: sessions_said,
        dialled,
        keeper,
        messenger,
        archivist,
        web: web_said,
        web_findings,
    };
    (supervisor, inbox)
}

async fn main_loop(
    mut supervisor: Supervisor,
    mut inbox: Inbox,
    bound: Bound,
    mut notifier: Notifier,
) -> io::Result<Ending> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let changed = Arc::new(Notify::new());
    let site_file = supervisor.state.site_file();
    let _watcher = wake_on_change(&[&supervisor.config, &site_file], Arc::clone(&changed));
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A file that was just written is looked at again once it settled.
    let mut look_again = None;
    let (questions, mut asked) = mpsc::channel(MOST_EVENTS);
    let serving = bound.serve(questions);
    tokio::pin!(serving);
    let door = supervisor.web.door()?;
    let mut now = Instant::now();
    supervisor.handle(Happening::Due, now);
    loop {
        notifier.turn(supervisor.is_ready(), supervisor.ending.is_some(), now);
        if let Some(ending) = supervisor.is_over() {
            return Ok(ending);
        }
        let due = [supervisor.next_due(now), look_again].into_iter().flatten().min();
        let happening = tokio::select! {
            Some((incarnation, event)) = inbox.collector.recv() => Happening::Collector(incarnation, event),
            Some((incarnation, event)) = inbox.link.recv() => Happening::Link(incarnation, event),
            Some((incarnation, event)) = inbox.sessions.recv() => Happening::Session(incarnation, event),
            Some((incarnation, event)) = inbox.web.recv() => Happening::Web(incarnation, event),
            Some(finding) = inbox.web_findings.recv() => Happening::WebFound(finding),
            Ok(stream) = supervisor.updates.accept(), if supervisor.updates.is_bound() => Happening::Fetch(stream),
            () = web::knock(&door), if supervisor.web.is_asleep() => Happening::Knocked,
            Some((number, event)) = inbox.keeper.recv() => Happening::Keeper(number, event),
            Some((number, event)) = inbox.messenger.recv() => Happening::Messenger(number, event),
            Some((number, event)) = inbox.archivist.recv() => Happening::Archivist(number, event),
            Some(dialled) = inbox.dialled.recv() => Happening::Dialled(dialled),
            Some((request, answer)) = asked.recv() => Happening::Asked(request, answer),
            _ = terminate.recv() => Happening::Stop,
            _ = interrupt.recv() => Happening::Stop,
            _ = hangup.recv() => Happening::Reload,
            () = changed.notified() => {
                look_again = Some(Instant::now() + SETTLED + Duration::from_millis(5));
                Happening::Look
            }
            _ = look.tick() => Happening::Look,
            () = at(due) => {
                if look_again.is_some_and(|again| again <= Instant::now()) {
                    look_again = None;
                    Happening::Look
                } else {
                    Happening::Due
                }
            }
            ended = &mut serving => return Err(ended.err().unwrap_or_else(|| io::Error::other("the control socket closed"))),
        };
        now = Instant::now();
        supervisor.handle(happening, now);
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
