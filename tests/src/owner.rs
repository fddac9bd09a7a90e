//! The owner of a site at its pages, without a browser: logged in by a link of `demarc web`.

use crate::{
    http::{self, Answer},
    site::Site,
};

/// A login.
pub struct Owner {
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// The cookie as the browser sends it back.
    pub cookie: String,
}

/// The link that `demarc web` prints.
pub fn link(site: &Site) -> String {
    site.run(&["web", "--json"]).json()["url"].as_str().unwrap().to_owned()
}

/// Parts a link into the address and the rest.
pub fn part(url: &str) -> (String, String) {
    let (address, path) = url.split_once("://").unwrap().1.split_once('/').unwrap();
    (address.to_owned(), format!("/{path}"))
}

impl Owner {
    /// Logs in.
    pub fn of(site: &Site) -> Self {
        let (address, path) = part(&link(site));
        let answer = http::send(&address, get(&address, &path, "").as_bytes()).unwrap();
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { address, cookie }
    }

    /// Loads a page.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    /// Sends a form as one of the pages does, with the token of this login.
    pub fn post(&self, path: &str, fields: &str) -> Answer {
        let origin = format!("Origin: http://{}\r\n", self.address);
        self.ask("POST", path, &origin, &format!("token={}&{fields}", self.token()))
    }

    /// Sends a request with these further header lines, each with its end.
    pub fn ask(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nConnection: close\r\n{lines}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.cookie,
            body.len()
        );
        http::send(&self.address, request.as_bytes()).unwrap()
    }

    /// What the forms of this login carry.
    pub fn token(&self) -> String {
        let page = self.get("/").text();
        let (_, rest) =
            page.split_once("name=\"token\" value=\"").expect("a page of somebody who is logged in has a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

/// A request for a page, with these further header lines.
pub fn get(address: &str, path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}\r\n")
}
