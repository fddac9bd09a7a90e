//! Proxies of all manners, played by a listener on loopback.

use tokio::net::TcpListener;

use super::*;

const WITHIN: Duration = Duration::from_secs(3);

fn hub() -> Endpoint {
    "hub.example:8443".parse().unwrap()
}

fn parsed(text: &str) -> Result<Proxy, ProxyError> {
    Proxy::parse(&Secret::new(text))
}

/// Asks a proxy that takes `reads` in turn, each answered with the next of `says`.
async fn ask(scheme: &str, script: &'static [(&'static [u8], &'static [u8])]) -> Result<TcpStream, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = parsed(&scheme.replace("HERE", &address.to_string())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (expected, answer) in script {
            let mut read = vec![0; expected.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, *expected);
            // The other end may have heard enough.
            let _ = stream.write_all(answer).await;
            if answer.is_empty() {
                return None;
            }
        }
        Some(stream)
    });
    let result = proxy.connect(&hub(), WITHIN).await.map_err(|error| error.to_string());
    drop(server.await.unwrap());
    result
}

const PLAIN: &[u8] = b"CONNECT hub.example:8443 HTTP/1.1\r\nHost: hub.example:8443\r\n\r\n";
// user "anna", password "s3cr:t"
const WITH_LOGIN: &[u8] = b"CONNECT hub.example:8443 HTTP/1.1\r\nHost: hub.example:8443\r\n\
    Proxy-Authorization: Basic YW5uYTpzM2NyOnQ=\r\n\r\n";

#[test]
fn addresses_of_proxies() {
    let proxy = parsed("http://anna:s3cr%3At@proxy.example:3128/").unwrap();
    assert_eq!(proxy.endpoint().to_string(), "proxy.example:3128");
    assert_eq!(proxy.login.as_ref().unwrap().password.expose(), "s3cr:t");
    assert!(!format!("{proxy:?}").contains("s3cr"));
    assert_eq!(parsed("http://proxy.example").unwrap().endpoint().port, 80);
    assert_eq!(parsed("socks5://[::1]").unwrap().endpoint().to_string(), "[::1]:1080");
    for bad in ["", "proxy:3128", "http://", "http://a:b:c", "http://u%zz@h:1", "http://u%0d@h:1", "http://h:1/path"] {
        assert!(matches!(parsed(bad), Err(ProxyError::Address)), "{bad}");
    }
    assert!(matches!(parsed("https://h:1"), Err(ProxyError::Scheme)));
}

#[test]
fn the_setting_wins_over_the_environment_and_exceptions_count() {
    let chosen = |setting: Option<&str>, pairs: &[(&str, &str)]| {
        let setting = setting.map(Secret::new);
        let environment = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        choose(setting.as_ref(), "hub.example:8443", environment).map(|proxy| proxy.expose().to_owned())
    };
    let proxy = ("HTTPS_PROXY", "http://p:1");
    assert_eq!(chosen(None, &[]), None);
    assert_eq!(chosen(Some("http://mine:1"), &[proxy]).as_deref(), Some("http://mine:1"));
    assert_eq!(chosen(Some(""), &[proxy]), None);
    assert_eq!(chosen(None, &[("HTTPS_PROXY", " p:3128 ")]).as_deref(), Some("http://p:3128"));
    assert_eq!(chosen(None, &[("https_proxy", "http://q:1")]).as_deref(), Some("http://q:1"));
    for (exceptions, direct) in [
        ("*", true),
        ("hub.example", true),
        ("HUB.example", true),
        ("other, .example", true),
        ("*.example", true),
        ("hub.example:8443", true),
        ("hub.example:443", false),
        ("ub.example", false),
        ("", false),
        ("10.0.0.0/8", false),
    ] {
        assert_eq!(chosen(None, &[proxy, ("NO_PROXY", exceptions)]).is_none(), direct, "{exceptions}");
    }
}

#[test]
fn exceptions_by_address_and_network() {
    let four: Endpoint = "10.1.2.3:443".parse().unwrap();
    let six: Endpoint = "[fd00::1]:443".parse().unwrap();
    for (item, hub, fits) in [
        ("10.0.0.0/8", &four, true),
        ("11.0.0.0/8", &four, false),
        ("0.0.0.0/0", &four, true),
        ("10.1.2.3/32", &four, true),
        ("10.1.2.3/33", &four, false),
        ("10.1.2.3", &four, true),
        ("10.1.2.3:443", &four, true),
        ("fd00::/8", &six, true),
        ("::/0", &six, true),
        ("fd00::1", &six, true),
        ("[fd00::1]", &six, true),
        ("[fd00::1]:443", &six, true),
        ("fe80::/10", &six, false),
    ] {
        assert_eq!(excepts(item, hub), fits, "{item}");
    }
}

#[tokio::test]
async fn http_lets_through_with_and_without_login() {
    ask("http://HERE", &[(PLAIN, b"HTTP/1.1 200 Connection established\r\n\r\n")]).await.unwrap();
    ask("http://anna:s3cr%3At@HERE", &[(WITH_LOGIN, b"HTTP/1.0 200 OK\r\nVia: x\r\n\r\n")]).await.unwrap();
}

#[tokio::test]
async fn http_refusals_in_words() {
    let said = |answer| async move { ask("http://HERE", answer).await.unwrap_err() };
    let words = said(&[(PLAIN, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")]).await;
    assert!(words.contains("wants a user and a password"), "{words}");
    let words = said(&[(PLAIN, b"HTTP/1.1 403 Forbidden\r\n\r\n")]).await;
    assert!(words.contains("does not allow a connection to hub.example:8443 (HTTP 403)"), "{words}");
    let words = said(&[(PLAIN, b"HTTP/1.1 502 Bad Gateway\r\n\r\n")]).await;
    assert!(words.contains("cannot reach hub.example:8443"), "{words}");
    let words = said(&[(PLAIN, b"SSH-2.0-OpenSSH_9.2\r\n")]).await;
    assert!(words.contains("does not answer like a proxy"), "{words}");
    let words = said(&[(PLAIN, b"HTTP/1.1 abc\r\n\r\n")]).await;
    assert!(words.contains("does not answer like a proxy"), "{words}");
    let words = said(&[(PLAIN, b"")]).await;
    assert!(words.contains("closed the connection"), "{words}");
    let endless: &'static [u8] = Vec::leak([&b"HTTP/1.1 200 OK\r\n"[..], &[b'x'; MAX_HEADER]].concat());
    let words = ask("http://HERE", Vec::leak(vec![(PLAIN, endless)])).await.unwrap_err();
    assert!(words.contains("does not answer like a proxy"), "{words}");
    let words = ask("http://anna:s3cr%3At@HERE", &[(WITH_LOGIN, b"HTTP/1.1 407 No\r\n\r\n")]).await.unwrap_err();
    assert!(
        words.contains("does not accept the user") && !words.contains("s3cr") && !words.contains("anna"),
        "{words}"
    );
}

const SOCKS_CONNECT: &[u8] = b"\x05\x01\x00\x03\x0bhub.example\x20\xfb";

#[tokio::test]
async fn socks_lets_through_with_and_without_login() {
    let reply: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";
    let script: Vec<(&[u8], &[u8])> = vec![(b"\x05\x01\x00", b"\x05\x00"), (SOCKS_CONNECT, reply)];
    ask("socks5://HERE", Vec::leak(script)).await.unwrap();
    let script: Vec<(&[u8], &[u8])> = vec![
        (b"\x05\x02\x00\x02", b"\x05\x02"),
        (b"\x01\x04anna\x06s3cr:t", b"\x01\x00"),
        (SOCKS_CONNECT, b"\x05\x00\x00\x03\x03abc\x00\x50"),
    ];
    ask("socks5h://anna:s3cr%3At@HERE", Vec::leak(script)).await.unwrap();
}

#[tokio::test]
async fn socks_refusals_in_words() {
    let words = ask("socks5://HERE", &[(b"\x05\x01\x00", b"\x05\xff")]).await.unwrap_err();
    assert!(words.contains("wants a user"), "{words}");
    let script: &[(&[u8], &[u8])] = &[(b"\x05\x01\x00", b"\x05\x00"), (SOCKS_CONNECT, b"\x05\x05\x00\x01")];
    let words = ask("socks5://HERE", script).await.unwrap_err();
    assert!(words.contains("cannot reach hub.example:8443 (SOCKS reply 5)"), "{words}");
    let words = ask("socks5://HERE", &[(b"\x05\x01\x00", b"HTTP")]).await.unwrap_err();
    assert!(words.contains("does not answer like a proxy"), "{words}");
}
