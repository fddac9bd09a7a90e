//! The bundled call records: files that a real Asterisk wrote.

use std::path::{Path, PathBuf};

/// `tests/data/pbx` in the source tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/pbx")
}

/// One of the files.
pub fn file(name: &str) -> PathBuf {
    let path = root().join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// Every file that `cdr_csv` itself wrote.
pub const MASTER_FILES: [&str; 14] = [
    "asterisk16/Master.default16.csv",
    "asterisk16/Master.uniqueid18.csv",
    "asterisk16/ACME.default16.csv",
    "asterisk16/ACME.uniqueid18.csv",
    "asterisk22/Master.default16.csv",
    "asterisk22/Master.uniqueid18.csv",
    "asterisk22/ACME.default16.csv",
    "asterisk22-options/Master.batch.csv",
    "asterisk22-options/Master.stock-defaults.csv",
    "rotate/files/ACME.csv",
    "rotate/files/Master.csv",
    "rotate/files/Master.csv.1",
    "rotate/files/Master.csv.2",
    "rotate/files/Master.csv.3",
];

/// The files that logrotate left, oldest first.
pub const ROTATED_FILES: [&str; 5] = [
    "rotate/files/Master.csv.3",
    "rotate/files/Master.csv-20261122-1795310451",
    "rotate/files/Master.csv.2",
    "rotate/files/Master.csv.1",
    "rotate/files/Master.csv",
];

/// The files with 20 columns of an administrator's own choice, which hold linkedid and sequence.
pub const CUSTOM_FILES: [&str; 2] = ["asterisk16/cdr_custom.csv", "asterisk22/cdr_custom.csv"];

/// The trunks of the PBX that wrote them all.
pub const TRUNKS: [&str; 3] = ["provider1", "provider2", "peer"];

/// Brings a custom file into the 21 columns of `newcdrcolumns=yes`: the very records, in the order that
/// `cdr_csv` would have given them.
pub fn custom_as_21(custom: &Path) -> Vec<u8> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(custom).unwrap();
    let mut out = Vec::new();
    for record in reader.byte_records() {
        let record = record.unwrap();
        let field = |n: usize| record.get(n).unwrap();
        // accountcode src dst dcontext clid channel dstchannel lastapp lastdata start answer end duration
        // billsec disposition amaflags uniqueid userfield peeraccount linkedid sequence
        let order = [
            field(15),
            field(1),
            field(2),
            field(3),
            field(0),
            field(4),
            field(5),
            field(6),
            field(7),
            field(8),
            field(9),
            field(10),
            field(11),
            field(12),
            field(13),
            field(14),
            field(16),
            field(17),
            b"",
            field(18),
            field(19),
        ];
        for (place, value) in order.into_iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            let bare = matches!(place, 12 | 13 | 20) || (place == 10 && value.is_empty());
            crate::cdr::push_field(&mut out, value, bare);
        }
        out.push(b'\n');
    }
    out
}
