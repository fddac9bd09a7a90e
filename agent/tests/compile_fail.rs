//! What the compiler refuses: a call record cannot be put into a report, a message or the outbox.
//!
//! Each file in `compile_fail/` names the expected errors where they occur: `//~ E0277`. They are compiled by `rustc`
//! against the very library that this test was built with, which takes seconds; a harness that builds the
//! dependencies a second time takes minutes. `allowed.rs` shows that the same setup accepts what is right, so that a
//! broken setup cannot pass for a refusal.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// An error of the compiler: line and code.
type Errors = BTreeSet<(usize, String)>;

struct Compiler {
    libraries: PathBuf,
    demarc: PathBuf,
    proto: PathBuf,
}

impl Compiler {
    /// The newest build of each library with which `allowed.rs` compiles: several builds may lie side by side.
    fn find(allowed: &Path) -> Self {
        let libraries = env::current_exe().expect("a test has a path").parent().expect("in a directory").to_owned();
        let mut complaints = String::new();
        for demarc in builds(&libraries, "libdemarc-") {
            for proto in builds(&libraries, "libdemarc_proto-") {
                let compiler = Self { libraries: libraries.clone(), demarc: demarc.clone(), proto };
                match compiler.compile(allowed) {
                    (errors, _) if errors.is_empty() => return compiler,
                    (_, text) => complaints = text,
                }
            }
        }
        panic!("{} does not compile:\n{complaints}", allowed.display());
    }

    /// The errors in a file, and what the compiler said.
    fn compile(&self, file: &Path) -> (Errors, String) {
        let out = tempfile::tempdir().expect("a directory for what the compiler writes");
        let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition=2024",
                "--crate-type=lib",
                "--emit=metadata",
                "--error-format=short",
                "--cap-lints=allow",
            ])
            .arg("--extern")
            .arg(format!("demarc={}", self.demarc.display()))
            .arg("--extern")
            .arg(format!("demarc_proto={}", self.proto.display()))
            .arg("-L")
            .arg(format!("dependency={}", self.libraries.display()))
            .arg("--out-dir")
            .arg(out.path())
            .arg(file)
            .output()
            .expect("rustc runs, since it built this test");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut errors: Errors = text.lines().filter_map(|line| parse_error(file, line)).collect();
        if !output.status.success() && errors.is_empty() {
            errors.insert((0, "no error with a code".to_owned()));
        }
        (errors, text)
    }
}

/// Builds of a library, the newest first.
fn builds(libraries: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut builds: Vec<(SystemTime, PathBuf)> = fs::read_dir(libraries)
        .expect("the test lies among the libraries")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(|n| n.starts_with(prefix) && n.ends_with(".rlib")))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    builds.sort();
    builds.into_iter().rev().map(|(_, path)| path).collect()
}

/// Reads `file:line:column: error[E0277]: …`; other lines are about other places, or sum up.
fn parse_error(file: &Path, line: &str) -> Option<(usize, String)> {
    let (number, rest) = line.strip_prefix(file.to_str()?)?.strip_prefix(':')?.split_once(':')?;
    let (_, code) = rest.split_once("error[")?;
    Some((number.parse().ok()?, code.split_once(']')?.0.to_owned()))
}

fn expected(file: &Path) -> Errors {
    let text = fs::read_to_string(file).expect("the file is there");
    let marked = |(place, line): (usize, &str)| Some((place + 1, line.split_once("//~ ")?.1.trim().to_owned()));
    text.lines().enumerate().filter_map(marked).collect()
}

#[test]
fn the_compiler_refuses_what_must_not_leave() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let compiler = Compiler::find(&directory.join("allowed.rs"));
    let mut refused = 0;
    for entry in fs::read_dir(&directory).expect("the cases") {
        let file = entry.expect("a case").path();
        let expected = expected(&file);
        let (errors, text) = compiler.compile(&file);
        assert_eq!(errors, expected, "{}:\n{text}", file.display());
        refused += expected.len();
    }
    assert!(refused > 20, "only {refused} refusals were seen");
}
