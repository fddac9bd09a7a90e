//! What every page needs.

use std::sync::{Arc, RwLock};

use super::{desk::Desk, reader::Reader};
use crate::{ipc::web::WebSettings, local_report::ReportZone};

/// What every page needs.
pub(super) struct App {
    settings: RwLock<Arc<WebSettings>>,
    /// The way to the supervisor.
    pub(super) desk: Desk,
    /// The way to the figures.
    pub(super) reader: Reader,
    /// The zone of days and hours.
    pub(super) zone: ReportZone,
}

impl App {
    pub(super) fn new(settings: WebSettings, desk: Desk, reader: Reader, zone: ReportZone) -> Self {
        Self { settings: RwLock::new(Arc::new(settings)), desk, reader, zone }
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Arc<WebSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Takes over changed settings.
    pub(super) fn take(&self, settings: WebSettings) {
        *self.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(settings);
    }
}
