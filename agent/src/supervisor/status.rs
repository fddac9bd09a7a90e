//! What the supervisor tells `demarc status`.

use std::{
    path::Path,
    time::{Instant, SystemTime},
};

use super::Supervisor;
use crate::{
    confine::layout::{self, covers},
    control::{RoleStatus, Status, Wait},
    settings::{Confinement, Source, load},
};

impl Supervisor {
    /// How everything is.
    pub(super) fn status(&self, now: Instant) -> Status {
        let site = self.site.as_ref().ok().and_then(Option::as_ref);
        let link = self.link_settings.as_ref();
        let supervisor = RoleStatus {
            pid: Some(std::process::id()),
            confined: Some(self.confined.clone()),
            restarts: 0,
            last_end: None,
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: seconds(self.started),
            config: self.config.clone(),
            config_error: self.config_error.clone(),
            notices: self.notices(),
            waits: self.waits(),
            upload: self.uploads.stats.on,
            upload_decided_by: self.uploads.stats.decided_by.clone(),
            health_upload: self.uploads.health.on,
            health_upload_decided_by: self.uploads.health.decided_by.clone(),
            grace_until: site.map(|site| site.enrolled.saturating_add(self.loaded.settings.stats.grace.as_secs())),
            site: site.map(|site| site.site.to_string()),
            hub: link.ok().map(|(settings, _)| settings.hub.clone()),
            link_absent: link.err().cloned(),
            recordings: self.ground.recordings.len(),
            supervisor,
            collector: self.collector.status(),
            link: self.link.status(),
            collected: self.collected.clone(),
            linked: self.linked.clone(),
            support: self.support_status(),
            web: self.web_status(),
            kept: self.recordings_status(now),
            updates: self.offer(),
            backup: self.backup_status(),
        }
    }

    /// What is allowed and likely not meant, and what waits for a restart, in words.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut notices = load::warnings(&self.loaded.settings);
        notices.extend(self.site.as_ref().err().cloned());
        notices.extend(self.web_notice());
        notices.extend(self.messenger_notice());
        notices.extend(self.waits().into_iter().map(|wait| wait.words));
        // Once it is there, it waits for a restart.
        notices.extend(self.unknown_directories().filter(|directory| !directory.exists()).map(unknown_words));
        notices
    }

    /// Directories of call records that this process may not read.
    fn unknown_directories(&self) -> impl Iterator<Item = &Path> {
        let confined = self.ground.landlock.is_some();
        let directories = self.loaded.settings.pbx.source.iter().filter_map(Source::path).filter_map(Path::parent);
        directories.filter(move |directory| confined && !covers(&self.granted, directory))
    }

    /// What of the settings needs more than this process was given when it confined itself.
    pub(super) fn waits(&self) -> Vec<Wait> {
        let settings = &self.loaded.settings;
        let mut waits: Vec<Wait> = [self.web_wait(), self.messenger_wait(), self.backup_wait(), self.updates_wait()]
            .into_iter()
            .flatten()
            .collect();
        if self.ground.landlock.is_none() {
            if settings.confinement == Confinement::Required {
                let words = "confinement is now \"required\": restart demarc to have it checked.";
                waits.push(Wait::new("confinement", words));
            }
            return waits;
        }
        let unknown = self.unknown_directories().filter(|directory| directory.exists());
        waits.extend(unknown.map(|directory| Wait::new("pbx", unknown_words(directory))));
        let support = layout::waits_for_restart(&self.ground, settings, &self.granted);
        waits.extend(support.map(|words| Wait::new("support", words)));
        waits
    }
}

fn unknown_words(directory: &Path) -> String {
    format!(
        "{} was not known or not there when demarc was started, and the running demarc may not read it; restart demarc once it \
         is there.",
        directory.display()
    )
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
