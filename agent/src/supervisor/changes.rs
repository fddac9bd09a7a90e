//! What follows when the owner changes something: read, checked, told to the roles, and confirmed.

use std::{
    path::Path,
    time::{Instant, SystemTime},
};

use tokio::sync::oneshot;

use super::{APPLY, GRACE, LINK_OFF, Supervisor, derive};
use crate::{
    confine::layout,
    control::{Answer, Reloaded},
    ipc::{CollectorSettings, LinkSettings, ToCollector, ToLink},
    settings::{
        Source,
        load::{self, Loaded},
    },
};

/// Somebody who waits until settings are in force.
pub(super) struct Waiting {
    answer: oneshot::Sender<Answer>,
    generation: u64,
    pub(super) until: Instant,
}

/// The owner took a permission back: the link has so long to confirm that it fell silent.
pub(super) struct Silence {
    generation: u64,
    pub(super) until: Instant,
}

impl Supervisor {
    /// Looks whether a file that matters became another one.
    pub(super) fn look(&mut self, now: Instant) {
        let clock = SystemTime::now();
        // Both are asked: each call takes its file for seen.
        let config = self.watched_config.has_changed(clock);
        let site = self.watched_site.has_changed(clock);
        if config || site {
            self.reload(now);
        }
        let connected = self.linked.as_ref().is_some_and(|link| link.connected);
        if self.link.running().is_some() && !connected && self.resolver != layout::resolver_identity() {
            tracing::info!("the resolver's files were replaced; the link is started anew to read them");
            self.link.stop(ToLink::Stop, GRACE, now);
        }
    }

    /// Reads file and enrollment again, and tells the roles what follows.
    pub(super) fn reload(&mut self, now: Instant) {
        self.watched_config.seen();
        self.watched_site.seen();
        self.site = derive::read_site(&self.state.site_file());
        match load::load(&self.config) {
            Ok(loaded) if loaded.settings.state_dir != self.state.root() => {
                // What the owner takes back counts all the same.
                let mut kept = self.loaded.clone();
                kept.settings.stats.upload &= loaded.settings.stats.upload;
                kept.settings.health.upload &= loaded.settings.health.upload;
                kept.settings.backup.enabled &= loaded.settings.backup.enabled;
                kept.settings.tunnel.enabled &= loaded.settings.tunnel.enabled;
                self.take(kept, now);
                self.refuse(format!(
                    "{}: state_dir: cannot change while demarc runs (it is {}); restart demarc",
                    self.config.display(),
                    self.state.root().display()
                ));
            }
            Ok(loaded) => {
                if self.config_error.take().is_some() {
                    tracing::info!("the config file can be used again");
                }
                self.take(loaded, now);
            }
            Err(error) => self.refuse(error.to_string()),
        }
        self.distribute(now);
        self.tell_web();
    }

    /// Keeps the last good settings.
    fn refuse(&mut self, error: String) {
        if self.config_error.as_ref() != Some(&error) {
            tracing::error!("the config file was changed and is not used; the last good settings stay: {error}");
        }
        self.config_error = Some(error);
    }

    fn take(&mut self, loaded: Loaded, now: Instant) {
        let paths = |loaded: &Loaded| {
            let source = |source: &Source| source.path().map(Path::to_owned);
            loaded.settings.pbx.source.iter().map(source).collect::<Vec<_>>()
        };
        let moved = paths(&loaded) != paths(&self.loaded);
        if loaded != self.loaded {
            tracing::info!("the settings changed");
        }
        if loaded.settings.recordings != self.loaded.settings.recordings {
            self.keeper.settings_changed(&loaded.settings, now);
        }
        self.loaded = loaded;
        if moved {
            // A running confinement cannot be widened: the next process gets rules for the new files.
            self.collector.stop(ToCollector::Stop, GRACE, now);
        }
    }

    /// Tells the roles what follows from settings and enrollment, if that is new.
    fn distribute(&mut self, now: Instant) {
        self.uploads = derive::uploads(&self.loaded, self.do_not_track.as_deref());
        let site = self.site.as_ref().ok().and_then(Option::as_ref);
        let next = self.generation + 1;
        let collector = derive::collector(&self.loaded, &self.uploads, site, &self.ground.gauges, next);
        let link = derive::link(&self.loaded, &self.uploads, site, from_environment, next);
        let unchanged = CollectorSettings { generation: self.generation, ..collector.clone() };
        let link_unchanged = match (&link, &self.link_settings) {
            (Ok((new, port)), Ok((old, old_port))) => {
                port == old_port && LinkSettings { generation: self.generation, ..new.clone() } == *old
            }
            (Err(new), Err(old)) => new == old,
            _ => false,
        };
        if unchanged == self.collector_settings && link_unchanged {
            return;
        }
        self.generation = next;
        let before = &self.collector_settings;
        type Derived = Result<(LinkSettings, u16), String>;
        let backs_up = |link: &Derived| link.as_ref().is_ok_and(|(link, _)| link.backup);
        let fetches = |link: &Derived| link.as_ref().is_ok_and(|(link, _)| link.updates);
        if (backs_up(&self.link_settings) && !backs_up(&link))
            || (fetches(&self.link_settings) && !fetches(&link))
            || (before.upload && !collector.upload)
            || (before.health.upload && !collector.health.upload)
        {
            self.silence = Some(Silence { generation: next, until: now + LINK_OFF });
        }
        self.collector_settings = collector;
        self.connections.keep_to(&self.collector_settings.pbx);
        self.link_settings = link;
        if let Ok((settings, port)) = &self.link_settings
            && self.link_port == Some(*port)
        {
            self.link.tell(ToLink::Settings(Box::new(settings.clone())));
        }
        self.collector.tell(ToCollector::Settings(Box::new(self.collector_settings.clone())));
        self.reconcile(now);
    }

    pub(super) fn reload_for(&mut self, answer: oneshot::Sender<Answer>, now: Instant) {
        self.reload(now);
        self.waiting.push(Waiting { answer, generation: self.generation, until: now + APPLY });
    }

    /// Ends a link that does not confirm in time that it fell silent: its connection is then reset, and nothing that the
    /// kernel still held leaves.
    pub(super) fn enforce_silence(&mut self, now: Instant) {
        let Some(silence) = &self.silence else { return };
        match self.link.running().filter(|link| link.ready.is_some() && link.applied < silence.generation) {
            None => self.silence = None,
            Some(link) if silence.until <= now => {
                tracing::warn!("the link did not confirm in time that it fell silent, and is ended");
                link.kill();
            }
            Some(_) => {}
        }
    }

    /// Answers those whose settings are in force, and those who have waited long enough.
    pub(super) fn answer_waiting(&mut self, now: Instant) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|one| !one.answer.is_closed());
        for one in waiting {
            let link_done = match self.link.running() {
                Some(link) if link.applied >= one.generation => true,
                // It has not been told anything yet, and will be told these settings first.
                Some(link) => link.ready.is_none(),
                None => self.link.is_empty(),
            };
            let collector_done = self.collector.running().is_some_and(|collector| collector.applied >= one.generation);
            if !(link_done && collector_done) && now < one.until && self.ending.is_none() {
                self.waiting.push(one);
                continue;
            }
            let mut reloaded = self.reloaded();
            if !collector_done {
                reloaded
                    .notices
                    .push("The collector has not confirmed yet; it applies this as soon as it can.".to_owned());
            }
            if !link_done {
                reloaded.notices.push("The link has not confirmed yet; it applies this as soon as it can.".to_owned());
            }
            let _ = one.answer.send(Answer::Reloaded(reloaded));
        }
    }

    fn reloaded(&self) -> Reloaded {
        Reloaded {
            error: self.config_error.clone(),
            upload: self.uploads.stats.on,
            upload_decided_by: self.uploads.stats.decided_by.clone(),
            health_upload: self.uploads.health.on,
            health_upload_decided_by: self.uploads.health.decided_by.clone(),
            link_absent: self.link_settings.as_ref().err().cloned(),
            notices: self.notices(),
            waits: self.waits(),
        }
    }
}

/// A variable of the environment that the daemon was started with.
pub(super) fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
