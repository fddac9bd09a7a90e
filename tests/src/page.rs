//! A phone system's web page on loopback, with everything that makes a browser work: a redirect, a login, a style, a
//! script, and pictures that are only handed out once all of them have been asked for.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

/// How many pictures there are: so many connections have to be open at a time.
pub const PICTURES: usize = 4;
/// Their size in points.
pub const WIDTH: u32 = 320;
/// As above.
pub const HEIGHT: u32 = 240;
/// The colour that the style gives to the heading.
pub const COLOUR: &str = "rgb(12, 34, 56)";
const COOKIE: &str = "session=of-ada";

/// The page; its server ends with the test.
pub struct Page {
    port: u16,
    figures: Arc<Figures>,
}

#[derive(Default)]
struct Figures {
    answers: AtomicU64,
    bytes: AtomicU64,
}

impl Page {
    /// Begins to serve it.
    pub fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let page = Self { port: listener.local_addr().unwrap().port(), figures: Arc::default() };
        let (figures, all_asked) = (Arc::clone(&page.figures), Arc::new(Barrier::new(PICTURES)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (figures, all_asked) = (Arc::clone(&figures), Arc::clone(&all_asked));
                std::thread::spawn(move || answer(stream, &figures, &all_asked));
            }
        });
        page
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests were answered, and with how many bytes.
    pub fn served(&self) -> (u64, u64) {
        (self.figures.answers.load(SeqCst), self.figures.bytes.load(SeqCst))
    }
}

/// Serves one request. A browser opens connections that it then has no use for.
fn answer(mut stream: TcpStream, figures: &Figures, all_asked: &Barrier) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    while reader.read_line(&mut request).ok()? > 2 {}
    let (method, path) = request.lines().next()?.split_once(' ')?;
    let path = path.split(' ').next()?;
    let field = |name: &str| {
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut sent = vec![0; field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut sent).ok()?;
    let is_known = field("cookie").is_some_and(|cookie| cookie.contains(COOKIE));
    let html = "Content-Type: text/html; charset=utf-8";
    let (status, headers, body): (&str, String, Vec<u8>) = match (method, path) {
        ("GET", "/") => ("302 Found", "Location: /admin/".to_owned(), Vec::new()),
        ("POST", "/admin/") if sent == b"username=ada&password=secret" => {
            ("303 See Other", format!("Location: /admin/\r\nSet-Cookie: {COOKIE}; Path=/; HttpOnly"), Vec::new())
        }
        ("GET", "/admin/") if !is_known => ("200 OK", html.to_owned(), LOGIN.into()),
        ("GET", "/admin/") => ("200 OK", html.to_owned(), dashboard().into()),
        ("GET", "/admin/style.css") => ("200 OK", "Content-Type: text/css".to_owned(), style().into()),
        ("GET", "/admin/page.js") => ("200 OK", "Content-Type: text/javascript".to_owned(), SCRIPT.into()),
        ("GET", path) if path.starts_with("/admin/picture-") => {
            all_asked.wait();
            ("200 OK", "Content-Type: image/bmp".to_owned(), picture())
        }
        _ => ("404 Not Found", "Content-Type: text/plain".to_owned(), b"there is no such page".to_vec()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()?;
    figures.answers.fetch_add(1, SeqCst);
    figures.bytes.fetch_add((head.len() + length) as u64, SeqCst);
    Some(())
}

/// Whoever is not known yet sends this form.
const LOGIN: &str = "<!DOCTYPE html><title>Log in</title><form method=post action=/admin/>\
     <input name=username value=ada><input name=password type=password value=secret></form>\
     <script>document.forms[0].submit()</script>";

fn dashboard() -> String {
    let pictures: String = (0..PICTURES).map(|number| format!("<img src=picture-{number}.bmp>")).collect();
    format!(
        "<!DOCTYPE html><title>Phone system</title><link rel=stylesheet href=style.css><h1>Phone system</h1>\
         <p id=told>nothing</p>{pictures}<script src=page.js></script>"
    )
}

fn style() -> String {
    format!("body {{ font-family: 'DejaVu Sans', sans-serif }} h1 {{ color: {COLOUR} }}")
}

/// Tells in the page itself what of it has come.
const SCRIPT: &str = "addEventListener('load', () => {
  const sizes = [...document.images].map(image => image.naturalWidth + 'x' + image.naturalHeight);
  const colour = getComputedStyle(document.querySelector('h1')).color;
  document.getElementById('told').textContent = 'pictures ' + sizes.join(' ') + '; heading ' + colour;
});
";

/// A picture without compression (BMP): 54 bytes of header, then three bytes for each point.
fn picture() -> Vec<u8> {
    let points = WIDTH * HEIGHT * 3;
    let mut bytes = b"BM".to_vec();
    for number in [54 + points, 0, 54, 40, WIDTH, HEIGHT, 1 | (24 << 16), 0, points, 2835, 2835, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend((0..WIDTH * HEIGHT).flat_map(|point| [(point % WIDTH / 2) as u8, (point / WIDTH) as u8, 0x80]));
    bytes
}
