//! The reference as a page of the manual, section 5.

use std::fmt::Write;

use super::Section;

/// The page.
pub(super) fn page(sections: &[Section]) -> String {
    let mut text = String::from(
        ".\\\" Made by `make docs` of the types in agent/src/settings; not to be edited.\n\
         .TH demarc.toml 5 \"\" \"demarc\"\n.SH NAME\ndemarc.toml \\- the settings of demarc\n.SH SYNOPSIS\n/etc/demarc/demarc.toml\n\
         .SH DESCRIPTION\n",
    );
    text += &escaped(
        "demarc setup writes this file. An edit counts within a second and without a restart, unless it is said otherwise; a wrong one \
         is refused with file, line and key, and the last good settings stay. A key that is absent has its default, and an unknown one \
         is an error. A variable such as DEMARC__STATS__UPLOAD=false overrules the file.",
    );
    for section in sections.iter().filter(|section| !section.keys.is_empty()) {
        let heading = match (&section.kind, section.path.as_str()) {
            (Some(kind), path) => format!("[[{path}]] with type = \"{kind}\""),
            (None, "") => "At the top".to_owned(),
            (None, path) => format!("[{path}]"),
        };
        let _ =
            write!(text, ".SH \"{}\"\n{}", heading.replace('"', "\\(dq").replace('-', "\\-"), escaped(&section.means));
        for key in &section.keys {
            let default = match (&key.default, key.needed) {
                (Some(default), _) => format!("Default: {default}."),
                (None, true) => "It must be there.".to_owned(),
                (None, false) => "Absent by default.".to_owned(),
            };
            let words = format!("{} Allowed: {}. {default}", key.means, key.allowed).replace('`', "");
            let _ = write!(text, ".TP\n\\fB{}\\fR\n{}", key.name, escaped(&words));
        }
    }
    text + ".SH SEE ALSO\n\\fBdemarc\\fR(1), \\fBdemarc-setup\\fR(1)\n"
}

/// One paragraph as roff has it.
fn escaped(words: &str) -> String {
    let words = words.replace('`', "").replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    let begins_like_a_request = words.starts_with(['.', '\'']);
    format!("{}{words}\n", if begins_like_a_request { "\\&" } else { "" })
}
