//! A real browser that a test drives: Debian's Chromium by its own driver, over WebDriver on loopback.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{http, process, process::Daemon, wait};

const PATIENCE: Duration = Duration::from_secs(90);
/// It runs as root here, and speaks to nobody but the page.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// How WebDriver names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The browser; it ends when it is dropped.
pub struct Driven {
    address: String,
    session: String,
    _driver: Daemon,
    _room: TempDir,
}

impl Driven {
    /// Starts one, fetched where that was not done before.
    pub fn start() -> Self {
        static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| fetched("chromium", "driver"));
        let room = tempfile::Builder::new().prefix("demarc-driven-").tempdir().unwrap();
        let driver = Daemon::spawn(Command::new(&*PROGRAM).arg("--port=0"), &room.path().join("log"));
        let port = wait::until(PATIENCE, "the driver to listen", || {
            let log = driver.log();
            let (_, rest) = log.split_once("started successfully on port ")?;
            Some(rest.split_once('.')?.0.to_owned())
        });
        let flags: Vec<String> = FLAGS
            .iter()
            .map(|&flag| flag.to_owned())
            .chain([format!("--user-data-dir={}", room.path().join("profile").display())])
            .collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"binary": PROGRAM.with_file_name("chromium"), "args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let mut driven =
            Self { address: format!("127.0.0.1:{port}"), session: String::new(), _driver: driver, _room: room };
        let begun = driven.call("POST", "/session", &wanted);
        driven.session = begun["sessionId"].as_str().unwrap().to_owned();
        driven
    }

    /// Loads a page.
    pub fn go(&self, url: &str) {
        self.ask("url", &json!({"url": url}));
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        self.call("GET", &self.path("url"), &Value::Null).as_str().unwrap().to_owned()
    }

    /// The page as HTML.
    pub fn source(&self) -> String {
        self.call("GET", &self.path("source"), &Value::Null).as_str().unwrap().to_owned()
    }

    /// Runs a script in the page, as the page's own rules would not let anybody.
    pub fn script(&self, text: &str) -> Value {
        self.ask("execute/sync", &json!({"script": text, "args": []}))
    }

    /// Clicks on what the selector finds first.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.ask(&format!("element/{element}/click"), &json!({}));
    }

    /// Types into what the selector finds first.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.ask(&format!("element/{element}/value"), &json!({"text": text}));
    }

    /// Presses a key, wherever the focus is.
    pub fn press(&self, key: char) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.ask("actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
    }

    /// Shows pages at this size from now on.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.develop("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Shows pages to somebody who likes it light or dark.
    pub fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.develop("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Shows pages without scroll bars from now on.
    pub fn hide_scrollbars(&self) {
        self.develop("Emulation.setScrollbarsHidden", &json!({"hidden": true}));
    }

    /// What the console said since this was asked last.
    pub fn console(&self) -> Vec<String> {
        let lines = self.ask("se/log", &json!({"type": "browser"}));
        lines.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The addresses that were asked for since this was asked last.
    pub fn requests(&self) -> Vec<String> {
        let lines = self.ask("se/log", &json!({"type": "performance"}));
        let events = lines.as_array().unwrap().iter().filter_map(|line| {
            let event: Value = serde_json::from_str(line["message"].as_str()?).ok()?;
            let message = &event["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        });
        events.collect()
    }

    /// The cookies of the page.
    pub fn cookies(&self) -> Value {
        self.call("GET", &self.path("cookie"), &Value::Null)
    }

    /// A picture of what is seen, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let text = self.call("GET", &self.path("screenshot"), &Value::Null);
        data_encoding::BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap()
    }

    /// On how many sheets the page is printed.
    pub fn sheets(&self) -> usize {
        let wish = json!({"printBackground": true, "preferCSSPageSize": true, "displayHeaderFooter": false});
        let printed = self.develop("Page.printToPDF", &wish);
        let bytes = data_encoding::BASE64.decode(printed["data"].as_str().unwrap().as_bytes()).unwrap();
        let mark = b"/Type /Page\n";
        bytes.windows(mark.len()).filter(|bytes| bytes == mark).count()
    }

    /// What axe-core finds wrong with the page.
    pub fn violations(&self) -> Vec<String> {
        static PROGRAM: LazyLock<String> = LazyLock::new(|| std::fs::read_to_string(fetched("axe", "fetch")).unwrap());
        self.script(&format!("{}; window.axe = axe", *PROGRAM));
        let run = "const done = arguments[0]; window.axe.run().then(found => done(found.violations.map(one => \
                   one.id + ': ' + one.nodes.map(node => node.html.slice(0, 200) + ' ' + node.failureSummary).join(' | '))), \
                   error => done([String(error)]))";
        let found = self.ask("execute/async", &json!({"script": run, "args": []}));
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    fn find(&self, selector: &str) -> String {
        let found = self.ask("element", &json!({"using": "css selector", "value": selector}));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    fn develop(&self, command: &str, parameters: &Value) -> Value {
        self.ask("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn path(&self, rest: &str) -> String {
        format!("/session/{}/{rest}", self.session)
    }

    fn ask(&self, what: &str, body: &Value) -> Value {
        self.call("POST", &self.path(what), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let answer = http::send(&self.address, request.as_bytes()).unwrap();
        let text = &answer.body;
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(answer.status, 200, "{method} {path}: {text}");
        value["value"].clone()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // Without that its browser would stay.
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            self.session, self.address
        );
        let _ = http::send(&self.address, request.as_bytes());
    }
}

/// What a script of the lab fetched.
fn fetched(script: &str, what: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab").join(script);
    PathBuf::from(process::run(Command::new(script).arg(what), Duration::from_secs(600)).ok().trim())
}
