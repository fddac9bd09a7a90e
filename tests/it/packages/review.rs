//! What lintian and rpmlint say of the packages, and whether making them twice gives the same bytes.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use demarc_tests::{data, machine, packed, process};

const LIMIT: Duration = Duration::from_secs(600);

/// The program that runs lintian, rpmlint and rpm on what lies in the directory it is called in.
pub(super) fn runner() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let script = data::root().join("../../../deploy/lab/reviewers");
        PathBuf::from(process::run(Command::new(script).arg("fetch"), LIMIT).ok().trim())
    })
}

fn review(words: &[&str], package: &Path) -> process::Finished {
    let mut command = Command::new(runner());
    command.current_dir(package.parent().unwrap()).args(words).arg(package.file_name().unwrap());
    process::run(&mut command, LIMIT)
}

#[test]
fn lintian_has_nothing_to_say_that_is_not_explained() {
    assert!(machine::is_root(), "packages are looked over in a root of their own, which takes root");
    for begin in ["demarc_", "demarc-hub_"] {
        let package = packed::current(begin, ".deb");
        let told = review(
            &[
                "lintian",
                "--allow-root",
                "--display-info",
                "--tag-display-limit",
                "0",
                "--fail-on",
                "error,warning,info",
            ],
            &package,
        );
        assert_eq!((told.code, told.stdout.as_str()), (Some(0), ""), "{}", told.stderr);
        // A check that did not run says so there.
        assert!(!told.stderr.contains("cannot run"), "{}", told.stderr);
    }
}

#[test]
fn rpmlint_has_nothing_to_say_that_is_not_explained() {
    assert!(machine::is_root(), "packages are looked over in a root of their own, which takes root");
    let explained = data::root().join("../../../deploy/package/rpmlint.toml");
    for (begin, end) in
        [("demarc-0", ".el9.x86_64.rpm"), ("demarc-0", ".el7.x86_64.rpm"), ("demarc-hub-0", ".el9.x86_64.rpm")]
    {
        let package = packed::current(begin, end);
        std::fs::copy(&explained, package.parent().unwrap().join("rpmlint.toml")).unwrap();
        let told = review(&["rpmlint", "--strict", "--config", "rpmlint.toml"], &package);
        assert!(told.stdout.contains(" 0 errors, 0 warnings"), "{}{}", told.stdout, told.stderr);
        assert_eq!(told.code, Some(0), "{}", told.stdout);
    }
}

#[test]
fn the_same_programs_give_the_same_packages() {
    // The other kinds were made twice and compared by the script itself.
    let first = packed::current("demarc-0", ".tar.gz");
    let again = |time: Option<&str>| {
        let directory = first.parent().unwrap().join(time.unwrap_or("again"));
        let mut command = packed::build();
        command.arg("--out").arg(&directory).arg("tarball").env("TZ", "Pacific/Auckland");
        time.iter().for_each(|time| {
            command.env("SOURCE_DATE_EPOCH", time);
        });
        process::run(&mut command, LIMIT).ok();
        std::fs::read(directory.join(first.file_name().unwrap())).unwrap()
    };
    let bytes = std::fs::read(&first).unwrap();
    assert!(again(None) == bytes, "{} is another one the second time", first.display());
    assert!(again(Some("1700000000")) != bytes, "the comparison sees a difference");
}
