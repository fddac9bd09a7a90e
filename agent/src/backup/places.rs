//! What a backup covers: paths of the owner's, or the usual ones, and none that reaches recordings.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    confine::known,
    settings::{Settings, backup::USUAL},
};

/// Root's own, and closed to everybody.
const ROOTS_OWN: &[&str] = &["/etc/shadow", "/etc/gshadow", "/root"];

/// The paths that are there, as they really lie, and what is wrong with others, in words. A path that would open a tree of
/// recordings is refused as a whole, and not cut: its owner is to know what is in a backup.
pub fn find(settings: &Settings) -> (Vec<PathBuf>, Vec<String>) {
    let named = &settings.backup.paths;
    let usual = named.is_empty();
    let paths: Vec<PathBuf> = if usual { USUAL.iter().map(PathBuf::from).collect() } else { named.clone() };
    let shut = shut(settings);
    let (mut found, mut troubles): (Vec<PathBuf>, Vec<String>) = Default::default();
    for path in paths {
        let shown = path.display();
        let Ok(real) = fs::canonicalize(&path) else {
            if !usual {
                troubles.push(format!("{shown} is not there, or demarc may not look there: it is in no backup."));
            }
            continue;
        };
        let reaches = shut.iter().find(|(shut, _)| shut.starts_with(&real) || real.starts_with(shut));
        if let Some((shut, what)) = reaches {
            let shut = shut.display();
            troubles.push(format!(
                "{shown} is in no backup: {what} at {shut}, and whatever reads it could read that. Name what is beside it."
            ));
        } else if !found.iter().any(|one| real.starts_with(one)) {
            found.retain(|one| !one.starts_with(&real));
            found.push(real);
        }
    }
    (found, troubles)
}

/// What no path may reach, and what it is.
fn shut(settings: &Settings) -> Vec<(PathBuf, &'static str)> {
    let known = known::TREES.iter().map(Path::new).chain(settings.recordings.paths.iter().map(PathBuf::as_path));
    let recordings = known.map(|tree| (tree, "recordings lie"));
    let ours = [(settings.state_dir.as_path(), "demarc keeps its own keys")];
    let roots = ROOTS_OWN.iter().map(|path| (Path::new(path), "secrets of the system lie"));
    let all = recordings.chain(ours).chain(roots);
    // Both names count: a tree may be a link to another disk, and its link be made anew.
    all.flat_map(|(path, what)| {
        [Some(path.to_owned()), fs::canonicalize(path).ok()].into_iter().flatten().map(move |p| (p, what))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_reaches_recordings_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        for directory in ["pbx/conf.d", "spool/monitor", "state"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("spool"), root.join("link")).unwrap();
        let found = |paths: &[&str]| {
            let mut settings = Settings { state_dir: root.join("state"), ..Settings::default() };
            settings.recordings.paths = vec![root.join("spool/monitor")];
            settings.backup.paths = paths.iter().map(|path| root.join(path)).collect();
            let (found, troubles) = find(&settings);
            let found: Vec<_> = found.iter().map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect();
            (found, troubles.len())
        };
        assert_eq!(found(&["pbx/conf.d", "pbx"]), (vec!["pbx".into()], 0));
        assert_eq!(found(&["pbx", "pbx/conf.d"]), (vec!["pbx".into()], 0));
        for wrong in ["", "spool", "spool/monitor", "link", "link/monitor", "state", "missing"] {
            assert_eq!(found(&[wrong]), (vec![], 1), "{wrong}");
        }
    }
}
