//! Who may ask for a page: what a browser must say in every request, and what every answer says.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{
    app::App,
    desk::Absent,
    pages::{enter, trouble},
};
use crate::{control::Status, ipc::web::WebSettings, settings::Secret};

/// The cookie's name.
const COOKIE: &str = "demarc";
/// Nothing of another origin is loaded or asked, nothing is framed, no form goes elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A browser that is logged in, and how everything was when it asked.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) session: Secret,
    pub(super) status: Arc<Status>,
}

impl Visitor {
    /// What every form of this browser carries: another site cannot know it.
    pub(super) fn token(&self) -> String {
        let digest = Sha256::new().chain_update(b"form\0").chain_update(self.session.expose()).finalize();
        HEXLOWER.encode(&digest)
    }
}

/// Looks at a request before anything else does: whether the browser means this machine, and whether a change comes from one
/// of our own pages.
pub(super) async fn same_origin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = if !is_our_name(&app.settings(), request.headers()) {
        let words = "This name is not one of this machine's. Open the link that `demarc web` prints, or add the name to web.hosts.";
        (StatusCode::MISDIRECTED_REQUEST, words).into_response()
    } else if request.method() != Method::GET
        && request.method() != Method::HEAD
        && !is_from_our_page(request.headers())
    {
        (StatusCode::FORBIDDEN, "A change is made from one of demarc's own pages only.").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Figures are nobody's business who uses the browser later. Assets say otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Lets logged-in browsers through; others are shown how to log in.
pub(super) async fn logged_in(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let Some(session) = session(request.headers()) else { return enter::invitation(&app) };
    match app.desk.status(&session).await {
        Ok(Some(status)) => {
            request.extensions_mut().insert(Visitor { session, status: Arc::from(status) });
            next.run(request).await
        }
        Ok(None) => enter::invitation(&app),
        Err(Absent) => {
            trouble::page(StatusCode::SERVICE_UNAVAILABLE, "demarc is busy or stopping; try again in a moment.")
        }
    }
}

/// The secret that the browser shows.
pub(super) fn session(headers: &HeaderMap) -> Option<Secret> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| Secret::new(value))
}

/// An answer that has the browser keep that secret, or forget its own.
pub(super) fn with_session(app: &App, mut response: Response<Body>, session: Option<&Secret>) -> Response {
    let secure = if app.settings().tls.is_some() { "; Secure" } else { "" };
    let (value, age) = match session {
        Some(session) => (session.expose(), ""),
        None => ("", "; Max-Age=0"),
    };
    if let Ok(cookie) = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}").parse() {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether the browser calls this machine by a name that is known: a name of somebody else's could point here, too.
fn is_our_name(settings: &WebSettings, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    let (name, port) = match host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_listed = || settings.hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
    match settings.address {
        Some(address) => {
            let usual = if settings.tls.is_some() { "443" } else { "80" };
            let is_port = port.unwrap_or(usual) == address.port().to_string();
            let own = match address {
                std::net::SocketAddr::V4(address) => address.ip().to_string(),
                std::net::SocketAddr::V6(address) => format!("[{}]", address.ip()),
            };
            // A web server in front may have another port.
            is_listed() || is_port && (name == own || address.ip().is_loopback() && name == "localhost")
        }
        None => is_listed() || name == "localhost",
    }
}

/// Whether the browser says that one of our pages sent the request.
fn is_from_our_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site"))
        && site != "same-origin"
    {
        return false;
    }
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, name)| name == host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Consent;

    fn settings(address: Option<&str>) -> WebSettings {
        WebSettings {
            state_dir: "/nowhere".into(),
            address: address.map(|address| address.parse().unwrap()),
            hosts: vec!["pbx.example.com".to_owned()],
            tls: None,
            has_password: false,
            consent: Consent {
                upload: false,
                enrolled: None,
                grace: std::time::Duration::ZERO,
                accepted_schema: demarc_proto::SCHEMA,
            },
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_this_machine_s_names_are_answered() {
        let is_ours = |address: Option<&str>, host: &str| is_our_name(&settings(address), &headers(&[("host", host)]));
        let here = Some("127.0.0.1:8427");
        for host in ["127.0.0.1:8427", "localhost:8427", "pbx.example.com", "PBX.example.com:443"] {
            assert!(is_ours(here, host), "{host}");
        }
        for host in
            ["evil.example:8427", "127.0.0.1", "127.0.0.1:80", "localhost.evil.example:8427", "[::1]:8427", "", ":8427"]
        {
            assert!(!is_ours(here, host), "{host}");
        }
        assert!(is_ours(Some("[::1]:8427"), "[::1]:8427") && !is_ours(Some("[::1]:8427"), "127.0.0.1:8427"));
        assert!(is_ours(Some("192.0.2.7:80"), "192.0.2.7") && !is_ours(Some("192.0.2.7:80"), "localhost"));
        assert!(is_ours(None, "localhost") && is_ours(None, "pbx.example.com") && !is_ours(None, "evil.example"));
        let twice = headers(&[("host", "127.0.0.1:8427"), ("host", "evil.example")]);
        assert!(!is_our_name(&settings(here), &twice) && !is_our_name(&settings(here), &HeaderMap::new()));
    }

    #[test]
    fn a_change_comes_from_our_own_page() {
        let host = ("host", "127.0.0.1:8427");
        let ours = ("origin", "http://127.0.0.1:8427");
        assert!(is_from_our_page(&headers(&[host, ours])));
        assert!(is_from_our_page(&headers(&[host, ours, ("sec-fetch-site", "same-origin")])));
        for foreign in [
            vec![host],
            vec![ours],
            vec![host, ("origin", "null")],
            vec![host, ("origin", "http://127.0.0.1:8428")],
            vec![host, ("origin", "http://evil.example")],
            vec![host, ours, ("sec-fetch-site", "same-site")],
            vec![host, ours, ("sec-fetch-site", "cross-site")],
            vec![host, ours, ("sec-fetch-site", "none")],
        ] {
            assert!(!is_from_our_page(&headers(&foreign)), "{foreign:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |line| session(&headers(&[("cookie", line)])).map(|secret| secret.expose().to_owned());
        assert_eq!(found("a=b; demarc=secret; c=d").as_deref(), Some("secret"));
        assert_eq!(found("xdemarc=secret; demarcx=y"), None);
    }
}
