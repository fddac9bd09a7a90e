//! For trying by hand with whatever client: `DEMARC_TRY=DIRECTORY cargo test -p demarc by_hand -- --ignored` serves each
//! connection to `DIRECTORY/ssh` until it is interrupted. `DEMARC_SCOPE` is the scope; the authority's key and the
//! certified host lie in the directory.

use std::{os::unix::net::UnixListener, path::PathBuf};

use russh::keys::ssh_key::{
    LineEnding,
    certificate::{Builder, CertType},
};

use super::super::testing::{AUTHORITY, HOST, Site, key};

#[tokio::test]
#[ignore = "for trying by hand"]
async fn serves_by_hand() {
    let directory = PathBuf::from(std::env::var("DEMARC_TRY").unwrap());
    let scope = std::env::var("DEMARC_SCOPE").unwrap_or("shell".to_owned()).parse().unwrap();
    let authority = key(AUTHORITY);
    authority.write_openssh_file(directory.join("authority"), LineEnding::LF).unwrap();
    authority.public_key().write_openssh_file(directory.join("authority.pub")).unwrap();
    let mut host = Builder::new([1; 16], key(HOST).public_key().key_data().clone(), 0, u64::MAX).unwrap();
    host.cert_type(CertType::Host).unwrap().valid_principal("site-one").unwrap().key_id("site-one").unwrap();
    let host = host.sign(&authority).unwrap().to_openssh().unwrap();
    let listener = UnixListener::bind(directory.join("ssh")).unwrap();
    for number in 1.. {
        let accepting = listener.try_clone().unwrap();
        let accepted = tokio::task::spawn_blocking(move || accepting.accept()).await.unwrap();
        let mut site = Site::new(scope);
        site.settings.host_certificate = Some(host.clone());
        site.recording = directory.join(format!("{number}.cast"));
        if let Ok(left) = std::env::var("DEMARC_ENDS") {
            site.settings.ends = crate::support::boot::now().as_millis() as u64 + left.parse::<u64>().unwrap();
        }
        let live = site.begin_on(accepted.unwrap().0);
        tokio::spawn(async move {
            let (report, site) = live.report_at_last().await;
            println!("{}: {report:#?}", site.recording.display());
        });
    }
}
