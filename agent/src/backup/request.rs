//! What is asked of the hub about backups, byte for byte: the supervisor enters it in the ledger, the link sends it.

use demarc_proto::backup::BACKUPS_PATH;
use http::{Method, Request, header};

use super::Act;

/// The request without its body. The host is where the link connects.
pub fn request(act: &Act, host: &str) -> Request<()> {
    let (method, uri) = match act {
        Act::Keep { name, .. } => (Method::PUT, format!("{BACKUPS_PATH}/{}", name.file())),
        Act::List => (Method::GET, BACKUPS_PATH.to_owned()),
        Act::Fetch { name } => (Method::GET, format!("{BACKUPS_PATH}/{}", name.file())),
        Act::Remove { name } => (Method::DELETE, format!("{BACKUPS_PATH}/{}", name.file())),
    };
    let mut builder = Request::builder().method(method).uri(uri).header(header::HOST, host);
    if let Act::Keep { bytes, .. } = act {
        builder = builder.header(header::CONTENT_LENGTH, *bytes);
    }
    builder.body(()).expect("a method, a path of digits and an address make a request")
}

/// What the ledger has of it: the head that leaves, and what its body is known by. The body itself stays on this machine as
/// long as the backup does.
pub fn entry(act: &Act, host: &str) -> String {
    let request = crate::link::head(&request(act, host));
    match act {
        Act::Keep { bytes, sha256, .. } => serde_json::json!({"request": request, "bytes": bytes, "sha256": sha256}),
        _ => serde_json::json!({"request": request}),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_is_what_is_entered() {
        let name: demarc_proto::backup::BackupName = "20261126T154500Z".parse().unwrap();
        let act = Act::Keep { name: name.clone(), bytes: 7, sha256: "ab".to_owned() };
        let entry: serde_json::Value = serde_json::from_str(&entry(&act, "hub:443")).unwrap();
        let head = "PUT /backups/20261126T154500Z.age HTTP/1.1\r\nhost: hub:443\r\ncontent-length: 7\r\n\r\n";
        assert_eq!(entry, serde_json::json!({"request": head, "bytes": 7, "sha256": "ab"}));
        assert_eq!(request(&Act::List, "h:1").uri().path(), "/backups");
        assert_eq!(request(&Act::Remove { name }, "h:1").method(), Method::DELETE);
    }
}
