//! The reference as a page of the manual, section 5.

use std::fmt::Write;

use crate::Section;

/// What is above and below the settings.
pub struct Manual<'a> {
    /// Where the types are, for whoever wants to edit the page.
    pub made_of: &'a str,
    /// The page's name: that of the file.
    pub name: &'a str,
    /// Whose settings they are.
    pub program: &'a str,
    /// Where the file lies.
    pub file: &'a str,
    /// What there is to know about all of them, in one paragraph.
    pub description: &'a str,
    /// Pages to go on with, in section 1.
    pub also: &'a [&'a str],
}

/// The page.
pub fn manual(of: &Manual<'_>, sections: &[Section]) -> String {
    let Manual { made_of, name, program, file, description, also } = of;
    let mut text = format!(
        ".\\\" Made by `make docs` of the types in {made_of}; not to be edited.\n.TH {name} 5 \"\" \"{program}\"\n.SH NAME\n\
         {name} \\- the settings of {}\n.SH SYNOPSIS\n{file}\n.SH DESCRIPTION\n",
        program.replace('-', "\\-")
    );
    text += &escaped(description);
    for section in sections.iter().filter(|section| !section.keys.is_empty()) {
        let heading = match (section.head(), &section.kind) {
            (Some(head), Some(kind)) => format!("{head} with type = \"{kind}\""),
            (Some(head), None) => head,
            (None, _) => "At the top".to_owned(),
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
    let also: Vec<String> = also.iter().map(|page| format!("\\fB{page}\\fR(1)")).collect();
    text + ".SH SEE ALSO\n" + &also.join(", ") + "\n"
}

/// One paragraph as roff has it.
fn escaped(words: &str) -> String {
    let words = words.replace('`', "").replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    let begins_like_a_request = words.starts_with(['.', '\'']);
    format!("{}{words}\n", if begins_like_a_request { "\\&" } else { "" })
}
