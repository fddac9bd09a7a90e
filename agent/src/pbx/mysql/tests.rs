//! The protocol by hand: what a server may say, and what a hostile one tries.

use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::{answer::Head, *};

/// The greeting of a MariaDB 11.8 of Debian, as it came over the wire.
const MARIADB: &[u8] =
    b"\x0a5.5.5-11.8.6-MariaDB\0\x05\0\0\0abcdefgh\0\xfe\xf7\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0\
ijklmnopqrst\0mysql_native_password\0";
const MYSQL8: &[u8] = b"\x0a8.0.40\0\x08\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0\
ijklmnopqrst\0caching_sha2_password\0";

fn access(password: &str) -> Access<'_> {
    Access { user: "demarc", password, private: true, tls: false }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_le_bytes()[..3], &[sequence], payload].concat()
}

async fn heard(server: &mut DuplexStream) -> (u8, Vec<u8>) {
    let head = server.read_u32_le().await.unwrap().to_le_bytes();
    let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    server.read_exact(&mut payload).await.unwrap();
    (head[3], payload)
}

/// A server that lets the client in and then says this in answer to a question.
async fn answered(replies: &[&[u8]]) -> Result<Vec<Row>, MysqlError> {
    let (client, mut server) = duplex(1 << 16);
    let replies: Vec<Vec<u8>> = replies.iter().map(|reply| reply.to_vec()).collect();
    let serving = tokio::spawn(async move {
        server.write_all(&packet(0, MARIADB)).await.unwrap();
        heard(&mut server).await;
        server.write_all(&packet(2, &[0, 0, 0, 2, 0, 0, 0])).await.unwrap();
        assert_eq!(heard(&mut server).await, (0, b"\x03SELECT 1".to_vec()));
        for (number, reply) in replies.iter().enumerate() {
            server.write_all(&packet(number as u8 + 1, reply)).await.unwrap();
        }
    });
    let mut client = Client::connect(Box::new(client), access("secret")).await?;
    let rows = client.ask("SELECT 1").await;
    serving.await.unwrap();
    rows
}

const END: &[u8] = &[0xfe, 0, 0, 2, 0];

#[tokio::test]
async fn rows_come_as_texts_and_nulls() {
    let rows = answered(&[&[3], b"a", b"b", b"c", END, b"\x02hi\xfb\x00", b"\x0242\x01\xff\xfb", END]).await.unwrap();
    assert_eq!(rows[0].text(0), Some(&b"hi"[..]));
    assert_eq!((rows[0].text(1), rows[0].text(2), rows[0].text(3)), (None, Some(&b""[..]), None));
    assert_eq!((rows[1].number(0), rows[1].text(1), rows[1].str(1)), (Some(42), Some(&b"\xff"[..]), None));
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let refused = answered(&[b"\xff\x76\x04#42000SELECT command denied\nto user"]).await.err().unwrap();
    assert_eq!(refused.to_string(), "the server answers with error 1142: SELECT command deniedto user");
}

#[tokio::test]
async fn a_hostile_server_gets_neither_a_file_nor_our_memory() {
    for (reply, why) in [
        (&b"\xfb/etc/passwd"[..], "it wants a file"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff", "no number of columns"),
        (b"", "no number of columns"),
    ] {
        let error = answered(&[reply]).await.err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
    let torn = answered(&[&[1], b"a", END, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"]).await.err().unwrap().to_string();
    assert!(torn.contains("a torn row"), "{torn}");
    let (client, mut server) = duplex(64);
    server.write_all(&[0xff, 0xff, 0xff, 0]).await.unwrap();
    let long = Client::connect(Box::new(client), access("")).await.err().unwrap().to_string();
    assert!(long.contains("a packet too long"), "{long}");
}

#[tokio::test]
async fn the_first_answer_asks_for_nothing_dangerous() {
    let (client, mut server) = duplex(1 << 16);
    server.write_all(&packet(0, MARIADB)).await.unwrap();
    let connecting = tokio::spawn(async move { Client::connect(Box::new(client), access("only-reads")).await.err() });
    let (sequence, login) = heard(&mut server).await;
    assert_eq!(sequence, 1);
    let capabilities = u32::from_le_bytes(login[..4].try_into().unwrap());
    let (local_files, several_statements) = (1 << 7, 1 << 16);
    assert_eq!(capabilities & (local_files | several_statements), 0);
    assert_eq!(&login[32..39], b"demarc\0");
    drop(server);
    assert!(matches!(connecting.await.unwrap(), Some(MysqlError::Lost(_))));
}

#[tokio::test]
async fn who_logs_in_by_the_newer_method_does_so() {
    let (client, mut server) = duplex(1 << 16);
    let connecting = tokio::spawn(async move { Client::connect(Box::new(client), access("secret")).await.is_ok() });
    server.write_all(&packet(0, MYSQL8)).await.unwrap();
    let (_, login) = heard(&mut server).await;
    // The proof stands behind the name, with its length before it.
    assert_eq!(login[39], 32);
    assert_eq!(&login[72..94], b"caching_sha2_password\0");
    // The server does not remember the password, and the way is private.
    server.write_all(&packet(2, &[1, 4])).await.unwrap();
    assert_eq!(heard(&mut server).await, (3, b"secret\0".to_vec()));
    server.write_all(&packet(4, &[0, 0, 0, 2, 0, 0, 0])).await.unwrap();
    assert!(connecting.await.unwrap());
}

#[tokio::test]
async fn on_an_open_way_the_password_is_sealed_or_not_sent() {
    let (client, mut server) = duplex(1 << 16);
    let open = Access { private: false, ..access("secret") };
    let connecting = tokio::spawn(async move { Client::connect(Box::new(client), open).await.err() });
    server.write_all(&packet(0, MYSQL8)).await.unwrap();
    heard(&mut server).await;
    server.write_all(&packet(2, &[1, 4])).await.unwrap();
    assert_eq!(heard(&mut server).await, (3, vec![2]), "the server's key is asked for");
    server.write_all(&packet(4, b"\x01-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")).await.unwrap();
    assert!(matches!(connecting.await.unwrap(), Some(MysqlError::Protocol("a key that is none"))));
}

#[tokio::test]
async fn a_method_that_is_not_known_is_named() {
    let (client, mut server) = duplex(1 << 16);
    let connecting = tokio::spawn(async move { Client::connect(Box::new(client), access("secret")).await.err() });
    server.write_all(&packet(0, MARIADB)).await.unwrap();
    heard(&mut server).await;
    server.write_all(&packet(2, b"\xfeclient_ed25519\0abcdefghijklmnopqrstuvwxyz012345\0")).await.unwrap();
    assert!(matches!(connecting.await.unwrap(), Some(MysqlError::Method(method)) if method == "client_ed25519"));
}

#[test]
fn what_begins_like_an_end_may_be_a_long_text() {
    assert!(answer::is_end(END));
    assert!(!answer::is_end(&[0xfe, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(matches!(answer::head(&[0, 0, 0]), Ok(Head::Done)));
}

#[test]
fn names_and_texts_cannot_end_early() {
    assert_eq!(name("cdr`; DROP"), "`cdr``; DROP`");
    assert_eq!(text("a'b"), "x'612762'");
}
