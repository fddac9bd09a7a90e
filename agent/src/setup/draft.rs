//! The config file that follows from the answers: a new one with comments, or changes to the one that is there.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use super::question::{QUESTIONS, Question};
use crate::settings::{
    Confinement, Settings, Source,
    edit::{self, EditError},
    load::load_text,
};

/// How wide a comment is.
const WIDTH: usize = 110;

/// What the file is to say.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The answers, in the order of [`QUESTIONS`].
    pub choices: [bool; 4],
    /// The sources; a file that has some keeps them.
    pub sources: Vec<Source>,
    /// The lines to the outside; a file that has some keeps them.
    pub trunks: Vec<String>,
    /// The vendor's support authorities; a file that names some keeps them.
    pub authorities: Vec<String>,
    /// What to do on a kernel that cannot confine, where that was asked.
    pub confinement: Option<Confinement>,
    /// Where demarc keeps what it keeps, where that is not the usual place.
    pub state_dir: Option<PathBuf>,
    /// The phone system, for a comment.
    pub pbx: Option<&'static str>,
    /// The day, for a comment.
    pub day: String,
}

/// The config file before and after.
#[derive(Clone, Debug)]
pub struct Draft {
    file: PathBuf,
    /// What stands there now; nothing where there is no file.
    before: Option<String>,
    /// What will stand there.
    pub text: String,
}

impl Draft {
    /// What the file would say. `before` is what it says now.
    ///
    /// # Errors
    /// When the file that is there, or what would become of it, does not load.
    pub fn new(file: &Path, before: Option<String>, wish: &Wish) -> Result<Self, EditError> {
        let text = match &before {
            Some(text) => changed(file, text, wish)?,
            None => fresh(wish),
        };
        load_text(file, &text, std::iter::empty())?;
        Ok(Self { file: file.to_owned(), before, text })
    }

    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        self.before.as_deref() != Some(&self.text)
    }

    /// The lines that are not there yet, and with a minus those that go.
    pub fn difference(&self) -> String {
        let before: Vec<&str> = self.before.as_deref().unwrap_or_default().lines().collect();
        let after: Vec<&str> = self.text.lines().collect();
        let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}\n"));
        let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}\n"));
        gone.chain(new).collect()
    }

    /// Puts it in its place, in one step. A new file belongs to whom its directory belongs to, and only owner and group may
    /// read it: it can hold passwords. Says whether anything changed.
    ///
    /// # Errors
    /// When it cannot be written, or somebody else wrote it meanwhile.
    pub fn write(&self) -> Result<bool, EditError> {
        match &self.before {
            Some(before) => edit::replace(&self.file, before, &self.text),
            None => self.create().map(|()| true).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => EditError::Raced { file: self.file.clone() },
                _ => EditError::Unwritable { file: self.file.clone(), source },
            }),
        }
    }

    fn create(&self) -> io::Result<()> {
        let directory = self.file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
        let mut staged = tempfile::Builder::new().prefix(".demarc.toml.").tempfile_in(directory)?;
        staged.write_all(self.text.as_bytes())?;
        let (own, above) = (staged.as_file().metadata()?, fs::metadata(directory)?);
        if rustix::process::geteuid().is_root() && (own.uid(), own.gid()) != (above.uid(), above.gid()) {
            std::os::unix::fs::fchown(staged.as_file(), Some(above.uid()), Some(above.gid()))?;
        }
        staged.as_file().set_permissions(fs::Permissions::from_mode(0o640))?;
        staged.as_file().sync_all()?;
        staged.persist_noclobber(&self.file).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }
}

/// A file where there was none.
fn fresh(wish: &Wish) -> String {
    let mut text = format!(
        "# What demarc does here. Written by `demarc setup` on {}, and yours to change: an edit counts within a second.\n\
         # Running `demarc setup` again changes nothing here but the answers to its questions.\n\
         # Every setting with its default: man 5 demarc.toml, or docs/settings.md.\n\n",
        wish.day
    );
    let state_dir = wish.state_dir.clone().unwrap_or_else(|| Settings::default().state_dir);
    let _ = writeln!(
        text,
        "# Everything that demarc keeps lies here.\nstate_dir = {}",
        quoted(&state_dir.display().to_string())
    );
    if let Some(confinement) = wish.confinement {
        let _ = writeln!(
            text,
            "# \"required\": demarc runs only where the kernel keeps its processes from files. \"best-effort\": also elsewhere.\n\
             confinement = {}",
            quoted(confinement_word(confinement))
        );
    }
    text.push_str("\n[pbx]\n");
    if let Some(pbx) = wish.pbx {
        let _ = writeln!(text, "# Found: {pbx}.");
    }
    let names: Vec<String> = wish.trunks.iter().map(|name| quoted(name)).collect();
    let _ = writeln!(
        text,
        "# Lines to the outside, by their names in the phone system; everything else is an extension.\ntrunks = [{}]",
        names.join(", ")
    );
    if wish.sources.is_empty() {
        text.push_str(
            "# No source of call records was found: `demarc sources` looks again, and says what it would write here.\n",
        );
    } else {
        text.push_str(
            "\n# Where call records come from. The first one counts; the others are asked where it missed something.\n",
        );
    }
    for source in &wish.sources {
        // A source is plain data.
        let body = toml::to_string(source).unwrap_or_default();
        let _ = writeln!(text, "[[pbx.source]]\n{body}");
    }
    if wish.sources.is_empty() {
        text.push('\n');
    }
    let section = |(question, yes): (&Question, bool)| {
        let (section, key) = question.setting;
        let words = wrapped(&format!("{} What leaves on \"yes\": {}", question.asks, question.leaves));
        let mut text = format!("[{section}]\n{words}{key} = {}\n", question.value(yes));
        if section == "support" && !wish.authorities.is_empty() {
            let keys: toml_edit::Array = wish.authorities.iter().collect();
            let _ = writeln!(text, "# Whose signature an engineer's certificate must have.\nauthorities = {keys}");
        }
        text
    };
    let sections: Vec<String> = QUESTIONS.iter().zip(wish.choices).map(section).collect();
    text.push_str(&sections.join("\n"));
    text
}

/// A comment of several lines.
fn wrapped(words: &str) -> String {
    let mut text = String::from("#");
    let mut width = 1;
    for word in words.split(' ') {
        if width + word.chars().count() >= WIDTH {
            text.push_str("\n#");
            width = 1;
        }
        let _ = write!(text, " {word}");
        width += 1 + word.chars().count();
    }
    text + "\n"
}

/// The file that is there, with nothing changed but what was asked and what it does not say.
fn changed(file: &Path, text: &str, wish: &Wish) -> Result<String, EditError> {
    let now = load_text(file, text, std::iter::empty())?.settings;
    edit::amended(file, text, |document| {
        for (question, yes) in QUESTIONS.iter().zip(wish.choices) {
            let (section, key) = question.setting;
            let is_said = document.get(section).and_then(|section| section.get(key)).is_some();
            // A default that nobody wrote down is no answer.
            if !is_said || question.now(&now) != yes {
                edit::put(document, section, key, question.value(yes));
            }
        }
        if now.pbx.trunks.is_empty() && !wish.trunks.is_empty() {
            edit::put(document, "pbx", "trunks", toml_edit::Value::Array(wish.trunks.iter().collect()));
        }
        if now.support.authorities.is_empty() && !wish.authorities.is_empty() {
            edit::put(document, "support", "authorities", toml_edit::Value::Array(wish.authorities.iter().collect()));
        }
        if now.pbx.source.is_empty() && !wish.sources.is_empty() {
            add_sources(document, &wish.sources);
        }
        if let Some(confinement) = wish.confinement.filter(|confinement| *confinement != now.confinement) {
            document.insert("confinement", Item::Value(confinement_word(confinement).into()));
        }
    })
}

fn add_sources(document: &mut DocumentMut, sources: &[Source]) {
    let mut tables = ArrayOfTables::new();
    for source in sources {
        let table = toml::to_string(source).ok().and_then(|text| text.parse::<DocumentMut>().ok());
        if let Some(table) = table {
            tables.push(table.as_table().clone());
        }
    }
    let section = document.entry("pbx").or_insert_with(|| Item::Table(Table::new()));
    if let Some(section) = section.as_table_like_mut() {
        section.insert("source", Item::ArrayOfTables(tables));
    }
}

fn confinement_word(confinement: Confinement) -> &'static str {
    match confinement {
        Confinement::Required => "required",
        Confinement::BestEffort => "best-effort",
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn wish(choices: [bool; 4]) -> Wish {
        let source = Source::AsteriskCsv { path: "/r/Master.csv".into(), timezone: Some("UTC".into()) };
        Wish {
            choices,
            sources: vec![source],
            trunks: vec!["provider1".into()],
            pbx: Some("FreePBX"),
            day: "2026-11-26".into(),
            ..Wish::default()
        }
    }

    fn draft(before: Option<&str>, wish: &Wish) -> Draft {
        Draft::new(Path::new("demarc.toml"), before.map(str::to_owned), wish).unwrap()
    }

    #[test]
    fn a_new_file_says_what_was_answered_and_why() {
        let draft = draft(None, &wish([true, false, true, false]));
        expect![[r##"
            # What demarc does here. Written by `demarc setup` on 2026-11-26, and yours to change: an edit counts within a second.
            # Running `demarc setup` again changes nothing here but the answers to its questions.
            # Every setting with its default: man 5 demarc.toml, or docs/settings.md.

            # Everything that demarc keeps lies here.
            state_dir = "/var/lib/demarc"

            [pbx]
            # Found: FreePBX.
            # Lines to the outside, by their names in the phone system; everything else is an extension.
            trunks = ["provider1"]

            # Where call records come from. The first one counts; the others are asked where it missed something.
            [[pbx.source]]
            type = "asterisk-csv"
            path = "/r/Master.csv"
            timezone = "UTC"

            [stats]
            # Statistics: may your vendor get totals of your calls? What leaves on "yes": once a day, how many calls there
            # were by time of day, direction and outcome, and how long people talked and waited, in steps. Only groups of
            # 10 calls or more; smaller ones are put together or stay here.
            upload = true

            [health]
            # Health: may your vendor see how this machine is? What leaves on "yes": every quarter of an hour, load,
            # memory, room on the disks, temperature, whether the phone system answers, how many of its registrations
            # stand, how far the clock is off, for how many whole days no call came, and which alerts are raised. Figures
            # and fixed words alone.
            upload = false

            [support]
            # Support: do you want to be able to let an engineer of your vendor in? What leaves on "yes": nothing now.
            # Each time you say demarc support allow, an engineer can come in for the time that you set, and what he sees
            # is recorded here for you.
            mode = "ask"

            [updates]
            # Updates: shall this machine's package manager get new versions of demarc through its tunnel to your vendor?
            # What leaves on "yes": which package files are fetched. Your package manager checks their signature and
            # installs them when you let it; demarc itself can install nothing.
            via_tunnel = false
        "##]]
        .assert_eq(&draft.text);
    }

    #[test]
    fn keys_of_the_vendors_support_are_written_where_there_are_none() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl6AZ6vmhPgJbcEUHNWpDBWF3J9Cxe4w3kLwq2pQvYr";
        let keys = Wish { authorities: vec![key.into()], ..wish([true; 4]) };
        let settings = |text: &str| load_text(Path::new("x"), text, std::iter::empty()).unwrap().settings;
        let first = draft(None, &keys).text;
        assert_eq!(settings(&first).support.authorities, [key]);
        let second = draft(Some("[support]\nmode = \"ask\" # mine\n"), &keys).text;
        assert!(second.contains("mode = \"ask\" # mine") && settings(&second).support.authorities == [key], "{second}");
        assert!(!draft(Some(&first), &Wish { authorities: vec!["other".into()], ..keys }).changes());
    }

    #[test]
    fn a_second_time_nothing_changes_but_what_is_asked() {
        let first = draft(None, &wish([true, false, true, false])).text;
        assert!(!draft(Some(&first), &wish([true, false, true, false])).changes());
        let mine =
            first.replace("upload = true", "upload = true   # the board said so").replace("provider1", "carrier");
        let second = draft(Some(&mine), &wish([false, false, true, true]));
        expect![[r#"
            - upload = true   # the board said so
            - via_tunnel = false
            + upload = false   # the board said so
            + via_tunnel = true
        "#]]
        .assert_eq(&second.difference());
    }

    #[test]
    fn what_a_file_does_not_say_is_added() {
        let text = "# mine\nstate_dir = \"/srv/demarc\" # here\n[web]\nlisten = \"off\"\n";
        let draft = draft(Some(text), &wish([false, true, false, false]));
        expect![[r##"
            # mine
            state_dir = "/srv/demarc" # here
            [web]
            listen = "off"

            [stats]
            upload = false

            [health]
            upload = true

            [support]
            mode = "never"

            [updates]
            via_tunnel = false

            [pbx]
            trunks = ["provider1"]

            [[pbx.source]]
            type = "asterisk-csv"
            path = "/r/Master.csv"
            timezone = "UTC"
        "##]]
        .assert_eq(&draft.text);
    }

    #[test]
    fn a_new_file_never_replaces_one_and_is_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("etc/demarc.toml");
        let draft = Draft::new(&file, None, &wish([true; 4])).unwrap();
        assert!(draft.write().unwrap());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(matches!(draft.write(), Err(EditError::Raced { .. })));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
