//! The reference as a page of the book.

use std::fmt::Write;

use crate::Section;

/// The page, below a head of its own.
pub fn page(head: &str, sections: &[Section]) -> String {
    let mut text = head.to_owned();
    for section in sections.iter().filter(|section| !section.keys.is_empty()) {
        let heading = match (section.head(), &section.kind) {
            (Some(head), Some(kind)) => format!("`{head}` with `type = \"{kind}\"`"),
            (Some(head), None) => format!("`{head}`"),
            (None, _) => "At the top".to_owned(),
        };
        let _ = write!(text, "\n## {heading}\n\n{}\n\n", section.means);
        for key in &section.keys {
            let default = match (&key.default, key.needed) {
                (Some(default), _) => format!(" = `{default}`"),
                (None, true) => ", which must be there".to_owned(),
                (None, false) => ", absent by default".to_owned(),
            };
            let _ = writeln!(text, "- **`{}`**{default}  \n  {}  \n  Allowed: {}.", key.name, key.means, key.allowed);
        }
    }
    text
}
