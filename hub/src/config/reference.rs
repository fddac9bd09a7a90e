//! The reference of the hub's settings, once more as a page of the manual, and the example of a whole file: made of the types as
//! those of the agent are. `make docs` writes all three anew; the tests fail where they differ.

use std::{path::Path, time::Duration};

use demarc_reference::{Book, Manual, Section, UNSAID, check_keys, example, file, in_force, manual, page, paths};
use expect_test::expect_file;
use serde::Serializer;
use toml::Table;

use super::Config;

const PAGE: &str = "<!-- Made by `make docs` of the types in hub/src/config.rs; not to be edited. -->\n\
    # Settings of the hub, one by one\n\n\
    They stand in the file that `--config` names; `demarc-hub init` writes a first one. A relative path counts from the file's\n\
    directory. A key that is absent has its default, an unknown one is an error with its line, and a change takes effect at the next\n\
    start. The whole file with its defaults: [hub.toml](../deploy/hub/hub.toml). How to run a hub: [hub.md](hub.md).\n";
const EXAMPLE: &str = "# hub.toml with every setting that there is, what it means, and its default. A line that begins with a # and a space is a\n\
     # comment; take the # from the line of a setting to change it. `demarc-hub init` writes a file of its own.\n\
     # Made by `make docs`; not to be edited here.\n";
const MANUAL: Manual<'_> = Manual {
    made_of: "hub/src/config.rs",
    name: "hub.toml",
    program: "demarc-hub",
    file: "/var/lib/demarc-hub/hub.toml",
    description: "demarc-hub init writes this file, and --config names it. A relative path counts from its directory. A key that is \
        absent has its default, an unknown one is an error with its line, and a change takes effect at the next start.",
    also: &["demarc-hub", "demarc-hub-init", "demarc-hub-serve"],
};
/// What may stand at each key.
const ALLOWED: &[(&str, &str)] = &[
    ("listen", "an address and a port in quotes, such as \"0.0.0.0:443\""),
    ("address", "a name or an address and a port, such as \"hub.example.com:443\""),
    ("data_dir", "a directory in quotes"),
    ("workers", "1 to 256"),
    ("keys", "a section"),
    ("keys.ca_certificate", "a file in quotes"),
    ("keys.ca_key", "a file in quotes"),
    ("keys.receipt_key", "a file in quotes"),
    ("certificates", "a section"),
    ("certificates.lifetime", "a time such as \"90d\", up to ten years"),
    ("reports", "a section"),
    ("reports.min_floor", "a whole number of at least 2"),
    ("updates", "a section"),
    ("updates.dir", "a directory in quotes, such as \"/srv/repository\""),
    ("backups", "a section"),
    ("backups.enabled", "true or false"),
    ("backups.most_bytes_per_site", "a whole number of at least 1"),
    ("backups.keep", "a whole number of at least 1"),
    ("limits", "a section"),
    ("limits.handshakes", "a whole number of at least 1"),
    ("limits.messages_per_minute", "a whole number of at least 1"),
    ("limits.message_burst", "a whole number of at least 1"),
    ("limits.failed_enrollments_per_minute", "a whole number of at least 1"),
    ("limits.support_streams_per_site", "1 to 5"),
    ("limits.support_streams", "a whole number of at least 1"),
];

/// A time as a file has it.
pub(super) fn written<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}s", time.as_secs()))
}

fn sections() -> Vec<Section> {
    let least: Config = toml::from_str("listen = \"127.0.0.1:8443\"").unwrap();
    let mut defaults = Table::try_from(least).unwrap();
    defaults.remove("listen");
    let files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config.rs")];
    Book { root: "Config", files, defaults, allowed: ALLOWED, whole: |least| least }.sections()
}

#[test]
fn the_reference_in_docs_is_what_the_types_say() {
    expect_file![file("docs/hub-settings.md")].assert_eq(&page(PAGE, &sections()));
}

#[test]
fn the_shipped_example_is_what_the_types_say() {
    expect_file![file("deploy/hub/hub.toml")].assert_eq(&example(EXAMPLE, &[], &sections()));
}

#[test]
fn the_page_of_the_manual_is_what_the_types_say() {
    expect_file![file("deploy/man/hub.toml.5")].assert_eq(&manual(&MANUAL, &sections()));
}

#[test]
fn the_keys_are_those_that_serde_takes_and_each_has_words() {
    let refused = |text: &str| toml::from_str::<Config>(text).expect_err("no key is called zzz").to_string();
    check_keys(&sections(), refused);
    let told = ALLOWED.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(paths(&sections()), told);
}

#[test]
fn the_shipped_example_loads_with_every_line_in_force() {
    let text = std::fs::read_to_string(file("deploy/hub/hub.toml")).unwrap();
    assert!(!text.contains(UNSAID), "every line has a value");
    let config = Config::parse(&in_force(&text), Path::new("hub.toml"), Path::new("/srv/hub")).unwrap();
    assert_eq!(config.address(), "hub.example.com:443");
    assert_eq!(config.limits, super::Limits::default());
}

/// The file that `init` writes shows each key with its default, too.
#[test]
fn the_first_file_of_a_hub_shows_every_key() {
    let first = include_str!("../cli/hub.toml");
    for section in sections() {
        let rest = match section.path.as_str() {
            "" => first,
            path => first.split_once(&format!("# [{path}]\n")).unwrap_or_else(|| panic!("no [{path}] in it")).1,
        };
        for key in &section.keys {
            match &key.default {
                Some(default) => {
                    let line = format!("# {} = {default}\n", key.name);
                    assert!(rest.contains(&line), "no {line:?} below [{}]", section.path);
                }
                None if section.path.is_empty() => {
                    assert!(first.contains(&format!("@{}@", key.name.to_uppercase())), "{}", key.name);
                }
                None => assert!(rest.contains(&format!("#   {}=", key.name)), "{}", key.name),
            }
        }
    }
}
