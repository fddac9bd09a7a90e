//! Any bytes at all as what a database server says: nothing panics, and no answer takes more memory than the bytes that came.

#![no_main]

use std::io::Cursor;

use demarc::pbx::mysql::{Access, Client};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (private, said) = input;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::io::join(Cursor::new(said.to_vec()), tokio::io::sink());
        let access = Access { user: "demarc", password: "secret", private, tls: false };
        let Ok(mut client) = Client::connect(Box::new(stream), access).await else { return };
        while let Ok(rows) = client.ask("SELECT 1").await {
            let held: usize = rows.iter().map(|row| row.bytes().len()).sum();
            assert!(held <= said.len());
            for row in &rows {
                assert!((0..70).all(|column| row.text(column).is_none_or(|text| text.len() <= row.bytes().len())));
            }
        }
    });
});
