//! What a terminal would show, as text alone.

/// The text without anything that a terminal would act on.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // A sequence ends with a letter, a title with BEL or ESC \.
                Some('[') => while characters.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']') => {
                    while let Some(c) = characters.next() {
                        if c == '\u{7}' || c == '\u{1b}' && characters.next_if_eq(&'\\').is_some() {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\n' | '\t' => plain.push(character),
            character if character.is_control() => {}
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_cannot_move_a_terminal() {
        let text = "\u{1b}[1;31mred\u{1b}[0m\r\n\u{1b}]0;title\u{7}x\u{1b}]0;t\u{1b}\\y\u{7}\u{9b}z\u{1b}";
        assert_eq!(plain(text), "red\nxyz");
    }
}
