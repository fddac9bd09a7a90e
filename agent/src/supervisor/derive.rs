//! From the settings to what each role is told: pure functions of settings, environment and enrollment.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::{
    gate::consent::effective_upload,
    ipc::{CollectorSettings, LinkSettings},
    link::proxy::{self, Proxy},
    settings::{
        health::Health,
        load::{Loaded, endpoint},
    },
    state::Site,
};

/// Whether reports may leave, and what decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Whether.
    pub on: bool,
    /// What decided it, in words.
    pub decided_by: String,
}

/// Whether statistics may leave: setting, environment and `DO_NOT_TRACK` taken together.
pub fn upload(loaded: &Loaded, do_not_track: Option<&OsStr>) -> Upload {
    decide(loaded, "stats.upload", loaded.settings.stats.upload, do_not_track)
}

/// Whether reports of the machine's health may leave, likewise.
pub fn health_upload(loaded: &Loaded, do_not_track: Option<&OsStr>) -> Upload {
    decide(loaded, "health.upload", loaded.settings.health.upload, do_not_track)
}

fn decide(loaded: &Loaded, key: &str, set: bool, do_not_track: Option<&OsStr>) -> Upload {
    let on = effective_upload(set, do_not_track);
    let decided_by = match loaded.overridden_by(key) {
        _ if set && !on => "DO_NOT_TRACK in the environment".to_owned(),
        Some(variable) => format!("{variable} in the environment"),
        None => format!("{key} in the config file"),
    };
    Upload { on, decided_by }
}

/// What the owner lets leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// Statistics of calls.
    pub stats: Upload,
    /// Reports of the machine's health.
    pub health: Upload,
}

/// What the owner lets leave.
pub fn uploads(loaded: &Loaded, do_not_track: Option<&OsStr>) -> Uploads {
    Uploads { stats: upload(loaded, do_not_track), health: health_upload(loaded, do_not_track) }
}

/// What the collector is told.
pub(super) fn collector(
    loaded: &Loaded,
    uploads: &Uploads,
    site: Option<&Site>,
    gauges: &[PathBuf],
    generation: u64,
) -> CollectorSettings {
    let settings = &loaded.settings;
    CollectorSettings {
        generation,
        state_dir: settings.state_dir.clone(),
        pbx: settings.pbx.clone(),
        quiet: settings.quiet(),
        health: Health { upload: uploads.health.on, ..settings.health.clone() },
        recordings: settings.recordings.paths.clone(),
        sensors: gauges.iter().filter(|file| file.starts_with("/sys")).cloned().collect(),
        upload: uploads.stats.on,
        window_seconds: settings.stats.window.seconds(),
        floor: settings.stats.floor,
        grace: settings.stats.grace,
        schema: settings.stats.schema,
        enrolled: site.map(|site| (site.site.clone(), site.enrolled)),
    }
}

/// What the link is told and the port that it may connect to, or why there is no link, in words.
pub fn link(
    loaded: &Loaded,
    uploads: &Uploads,
    site: Option<&Site>,
    environment: impl Fn(&str) -> Option<String>,
    generation: u64,
) -> Result<(LinkSettings, u16), String> {
    let settings = &loaded.settings;
    if !settings.tunnel.enabled {
        return Err(match loaded.overridden_by("tunnel.enabled") {
            Some(variable) => format!("switched off by {variable} in the environment"),
            None => "switched off".to_owned(),
        });
    }
    let Some(site) = site else {
        return Err("this site is not enrolled; `demarc enroll TOKEN` connects it to a vendor".to_owned());
    };
    let hub = settings.tunnel.hub.clone().unwrap_or_else(|| site.hub.clone());
    let Some(hub_endpoint) = endpoint(&hub) else {
        return Err("the address of the hub is not host:port; enroll this site again, or set tunnel.hub".to_owned());
    };
    let proxy = proxy::choose(settings.tunnel.proxy.as_ref(), &hub, environment);
    let port = match &proxy {
        Some(proxy) => Proxy::parse(proxy).map_err(|error| error.to_string())?.endpoint().port,
        None => hub_endpoint.port,
    };
    let state_dir = settings.state_dir.clone();
    let (upload, health) = (uploads.stats.on, uploads.health.on);
    let (updates, backup) = (settings.updates.via_tunnel, settings.backup.is_on());
    let site = site.clone();
    Ok((LinkSettings { generation, state_dir, site, hub, proxy, upload, health, updates, backup }, port))
}

/// The enrollment, where there is one.
///
/// # Errors
/// When the file is there and cannot be used, in words.
pub fn read_site(file: &Path) -> Result<Option<Site>, String> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|_| format!("{} is damaged; enroll this site again", file.display()))
}

#[cfg(test)]
mod tests {
    use demarc_proto::bytes64::Bytes64;

    use super::*;
    use crate::settings::load::load_text;

    fn loaded(text: &str, environment: &[(&str, &str)]) -> Loaded {
        let environment: Vec<_> = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        load_text(Path::new("demarc.toml"), text, environment).unwrap()
    }

    fn site() -> Site {
        Site {
            site: "site-one".parse().unwrap(),
            hub: "hub.example.com:8443".to_owned(),
            ca: Bytes64(vec![1]),
            receipt_key: Bytes64(vec![2; 32]),
            enrolled: 1,
        }
    }

    #[test]
    fn the_last_word_on_uploads_is_named() {
        let decided = |text, environment: &[_], dnt: Option<&str>| {
            let upload = upload(&loaded(text, environment), dnt.map(OsStr::new));
            (upload.on, upload.decided_by)
        };
        let off = "[stats]\nupload = false\n";
        assert_eq!(decided("", &[], None), (true, "stats.upload in the config file".to_owned()));
        assert_eq!(decided(off, &[], Some("1")), (false, "stats.upload in the config file".to_owned()));
        assert_eq!(decided("", &[], Some("1")), (false, "DO_NOT_TRACK in the environment".to_owned()));
        let variable = [("DEMARC__STATS__UPLOAD", "true")];
        assert_eq!(decided(off, &variable, None), (true, "DEMARC__STATS__UPLOAD in the environment".to_owned()));
        assert_eq!(decided(off, &variable, Some("1")), (false, "DO_NOT_TRACK in the environment".to_owned()));
    }

    #[test]
    fn the_link_connects_to_the_hub_or_the_proxy_alone() {
        let on = Upload { on: true, decided_by: String::new() };
        let uploads = Uploads { stats: on.clone(), health: on };
        let port = |text: &str, proxy: Option<&str>| {
            let environment = |name: &str| proxy.filter(|_| name == "HTTPS_PROXY").map(str::to_owned);
            link(&loaded(text, &[]), &uploads, Some(&site()), environment, 1).map(|(_, port)| port)
        };
        assert_eq!(port("", None), Ok(8443));
        assert_eq!(port("[tunnel]\nhub = \"other:443\"\n", None), Ok(443));
        assert_eq!(port("", Some("http://u:p@proxy:3128")), Ok(3128));
        assert_eq!(port("", Some("")), Ok(8443));
        assert_eq!(port("[tunnel]\nproxy = \"http://proxy:81\"\n", Some("http://proxy:3128")), Ok(81));
        assert_eq!(port("[tunnel]\nproxy = \"\"\n", Some("http://proxy:3128")), Ok(8443));
        assert_eq!(port("", Some("socks5://proxy:1")), Ok(1));
        assert!(port("", Some("ftp://proxy:1")).is_err());
        assert_eq!(port("[tunnel]\nenabled = false\n", None), Err("switched off".to_owned()));
        assert!(link(&loaded("", &[]), &uploads, None, |_| None, 1).is_err());
    }
}
