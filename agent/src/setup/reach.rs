//! What the settings want read and the service cannot read as things are: for want of a right, or because its unit hides it.
//! A confined daemon can change neither, so root's commands do.

use std::path::{Path, PathBuf};

use super::{access, unit};
use crate::{
    backup::places,
    confine::known,
    settings::{Settings, Source},
};

/// What is out of reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Closed to the service's user.
    pub closed: Vec<PathBuf>,
    /// Hidden by the unit, and to be shown by a drop-in of it.
    pub hidden: Vec<PathBuf>,
    /// Hidden by the unit, and better not shown by anybody but the owner: why, in words.
    pub left: Vec<String>,
}

impl Reach {
    /// Looks for it. `unit` is the text of the unit that runs the service, if one does.
    pub fn of(settings: &Settings, unit: Option<&str>) -> Self {
        let mut reach = Self { closed: access::shut(settings), ..Self::default() };
        let Some(unit) = unit else { return reach };
        for path in settings.pbx.source.iter().filter_map(Source::path) {
            let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            reach.look(unit, directory, "call records");
        }
        if let Some(command) = &settings.health.alert_command {
            let directory = command.parent().filter(|directory| access::holds_files_only(directory));
            reach.look(unit, directory.unwrap_or(command), "the program that is told of alerts");
        }
        if settings.backup.is_on() {
            // These were looked at already: none reaches a tree of recordings.
            let places = places::find(settings).0.into_iter();
            reach.hidden.extend(places.filter(|place| unit::can_show(unit) && unit::hides(unit, place)));
        }
        reach.hidden.sort();
        reach.hidden.dedup();
        reach
    }

    fn look(&mut self, unit: &str, path: &Path, what: &str) {
        if !path.exists() || !unit::hides(unit, path) {
            return;
        }
        if !unit::can_show(unit) {
            self.left.push(format!(
                "{what} lie in {}, which demarc's unit hides, and the systemd of this machine cannot show a part of what it \
                 hides: have them written below /var/log/asterisk",
                path.display()
            ));
            return;
        }
        let holds_recordings =
            known::TREES.iter().map(Path::new).any(|tree| tree.starts_with(path) || path.starts_with(tree));
        if holds_recordings || (path.is_dir() && !access::holds_files_only(path)) {
            self.left.push(format!(
                "{what} lie in {path}, which demarc's unit hides, beside other directories: if no recordings are there, show it \
                 to demarc by `systemctl edit demarc` with these two lines, and restart demarc:\n    [Service]\n    \
                 BindReadOnlyPaths=-{path}",
                path = path.display()
            ));
        } else {
            self.hidden.push(path.to_owned());
        }
    }

    /// What would be done, in words.
    pub fn plan(&self) -> Vec<String> {
        let open = |path: &PathBuf| format!("let the service read what is its phone system's: {}", access::line(path));
        let mut plan: Vec<String> = self.closed.iter().map(open).collect();
        if !self.hidden.is_empty() {
            let lines = unit::drop_in(None, &self.hidden).replace('\n', "\n      ");
            plan.push(format!(
                "show the service what its unit hides, by {}:\n      {}",
                unit::DROP_IN,
                lines.trim_end()
            ));
        }
        plan
    }

    /// Does it, as root. What is told on the way goes to `say`; comes back with what is left to do, in words.
    pub fn open(&self, say: &mut dyn FnMut(String)) -> Vec<String> {
        let mut left = self.left.clone();
        for path in &self.closed {
            match access::open(path) {
                Ok(()) => {
                    say(format!("demarc's user may read {} from now on ({}).", path.display(), access::line(path)));
                }
                Err(error) => {
                    say(format!("{error:#}."));
                    left.push(format!("let demarc's user read {}: {}", path.display(), access::line(path)));
                }
            }
        }
        if !self.hidden.is_empty() {
            let paths: Vec<String> = self.hidden.iter().map(|path| path.display().to_string()).collect();
            let paths = paths.join(", ");
            match unit::show(&self.hidden) {
                Ok(()) => say(format!("Written: {}, by which demarc's unit shows it {paths}.", unit::DROP_IN)),
                Err(error) => {
                    say(format!("{} cannot be written: {error}.", unit::DROP_IN));
                    let lines = unit::drop_in(None, &self.hidden).replace('\n', "\n    ");
                    left.push(format!("show demarc {paths} by `systemctl edit demarc`:\n    {}", lines.trim_end()));
                }
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::settings::Source;

    #[test]
    fn a_hidden_directory_is_shown_unless_it_may_hold_more_than_records() {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        for directory in ["cdr", "mixed/monitor", "alarm"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let unit = format!("TemporaryFileSystem={}:ro\n", root.display());
        let mut settings = Settings::default();
        settings.pbx.source = ["cdr", "mixed"]
            .map(|name| Source::AsteriskCsv { path: root.join(name).join("Master.csv"), timezone: None })
            .to_vec();
        settings.health.alert_command = Some(root.join("alarm/tell"));
        let reach = Reach::of(&settings, Some(&unit));
        assert_eq!(reach.hidden, [root.join("alarm"), root.join("cdr")]);
        let shown = format!("BindReadOnlyPaths=-{}", root.join("mixed").display());
        assert!(reach.left.len() == 1 && reach.left[0].contains(&shown), "{:?}", reach.left);
        assert!(reach.plan().concat().contains(&format!("BindReadOnlyPaths=-{}", root.join("cdr").display())));
        assert_eq!(Reach::of(&settings, None).hidden, Vec::<PathBuf>::new());
    }
}
