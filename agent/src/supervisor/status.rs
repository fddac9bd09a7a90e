//! What the supervisor tells `demarc status`.

use std::time::{Instant, SystemTime};

use super::Supervisor;
use crate::{
    confine::layout::{self, covers},
    control::{RoleStatus, Status},
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
        let settings = &self.loaded.settings;
        let mut notices = load::warnings(settings);
        notices.extend(self.site.as_ref().err().cloned());
        notices.extend(self.web_notice());
        notices.extend(self.messenger_notice());
        notices.extend(self.backup_notice());
        if self.ground.landlock.is_none() {
            if settings.confinement == Confinement::Required {
                notices.push("confinement is now \"required\": restart demarc to have it checked.".to_owned());
            }
            return notices;
        }
        for path in settings.pbx.source.iter().filter_map(Source::path) {
            let Some(directory) = path.parent() else { continue };
            if !covers(&self.granted, directory) {
                let directory = directory.display();
                notices.push(format!(
                    "{directory} was not known or not there when demarc was started, and the running demarc may not \
                     read it; restart demarc once it is there."
                ));
            }
        }
        notices.extend(layout::waits_for_restart(&self.ground, settings, &self.granted));
        notices
    }
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
