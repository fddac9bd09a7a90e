//! Masking: what is shown of texts that may hold numbers and names.

/// Fewer digits than this are no number of anybody.
const SHORTEST_NUMBER: usize = 3;
/// Groups of digits with so many in all are one number, written with blanks or dashes.
const SPACED_NUMBER: usize = 7;
/// What stands in place of what is not shown.
const HIDDEN: &str = "***";

/// Each run of three digits or more, as its last two.
pub(super) fn numbers(text: &str) -> String {
    digits(text, |run| format!("{HIDDEN}{}", &run[run.len() - 2..]))
}

/// The name of a channel's or member's technology and of its endpoint: `PJSIP/provider1`. An endpoint that is an extension
/// is masked.
pub(super) fn endpoint(interface: &str) -> String {
    let (technology, name) = interface.split_once('/').unwrap_or(("", interface));
    let name = name.split(['@', '/', ';']).next().unwrap_or_default();
    // A channel's own number follows its endpoint.
    let name = match name.rsplit_once('-') {
        Some((name, number)) if number.len() == 8 && number.bytes().all(|digit| digit.is_ascii_hexdigit()) => name,
        _ => name,
    };
    let name = numbers(name);
    if technology.is_empty() { name } else { format!("{technology}/{name}") }
}

/// A line of a log without numbers, names, addresses of people, and whatever stands in quotes.
pub(super) fn line(text: &str) -> String {
    let text = quotes(text);
    let text = before_brackets(&text);
    let text = users(&text);
    digits(&spaced(&text), |_| HIDDEN.to_owned())
}

fn digits(text: &str, shown: impl Fn(&str) -> String) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|sign: char| sign.is_ascii_digit()) {
        let length = rest[start..].find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len() - start);
        let (before, run) = (&rest[..start], &rest[start..start + length]);
        masked.push_str(before);
        if length >= SHORTEST_NUMBER {
            masked.push_str(&shown(run))
        } else {
            masked.push_str(run)
        }
        rest = &rest[start + length..];
    }
    masked + rest
}

/// Hides numbers that are written in groups: `+44 20 7123-0001`.
fn spaced(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut group = String::new();
    let mut signs = text.chars().peekable();
    let flush = |group: &mut String, masked: &mut String| {
        let count = group.chars().filter(char::is_ascii_digit).count();
        let kept = group.trim_end_matches(|sign: char| !sign.is_ascii_digit());
        let after = group[kept.len()..].to_owned();
        if count >= SPACED_NUMBER {
            masked.push_str(HIDDEN);
        } else {
            masked.push_str(kept);
        }
        masked.push_str(&after);
        group.clear();
    };
    while let Some(sign) = signs.next() {
        let joins = matches!(sign, ' ' | '-' | '(' | ')' | '/');
        let goes_on = signs.peek().is_some_and(|next| next.is_ascii_digit() || matches!(next, '(' | ')' | ' ' | '-'));
        if sign.is_ascii_digit() || (joins && !group.is_empty() && goes_on) {
            group.push(sign);
        } else {
            flush(&mut group, &mut masked);
            masked.push(sign);
        }
    }
    flush(&mut group, &mut masked);
    masked
}

/// Hides what stands in double quotes: names of callers, and whatever a dialplan says.
fn quotes(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut parts = text.split('"');
    masked.push_str(parts.next().unwrap_or_default());
    let mut is_inside = true;
    for part in parts {
        masked.push('"');
        masked.push_str(if is_inside && !part.is_empty() { HIDDEN } else { part });
        is_inside = !is_inside;
    }
    masked
}

/// Hides the name before an address in angle brackets: `From: Alice Example <sip:1001@pbx>`.
fn before_brackets(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        let is_address = ["<sip:", "<sips:", "<tel:", "<+"].iter().any(|start| after.starts_with(start))
            || after[1..].starts_with(|sign: char| sign.is_ascii_digit());
        let start = before.rfind(['\'', '"', ':', ',', ';', '=', '(', '[', '{', '|', '>']).map_or(0, |at| at + 1);
        if is_address && !before[start..].trim().is_empty() {
            masked.push_str(&before[..start]);
            masked.push_str(HIDDEN);
        } else {
            masked.push_str(before);
        }
        masked.push('<');
        rest = &after[1..];
    }
    masked + rest
}

/// Hides whoever stands before an `@`: users of SIP addresses, and of e-mail addresses.
fn users(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let before = &rest[..at];
        let is_of_a_name = |sign: char| {
            sign.is_alphanumeric()
                || matches!(sign, '.' | '_' | '-' | '+' | '%' | '*' | '#' | '~' | '!' | '=' | '&' | '$')
        };
        let start = before
            .rfind(|sign| !is_of_a_name(sign))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        masked.push_str(&before[..start]);
        if start < at {
            masked.push_str(HIDDEN);
        }
        masked.push('@');
        rest = &rest[at + 1..];
    }
    masked + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_last_two_digits() {
        assert_eq!(numbers("1001"), "***01");
        assert_eq!(numbers("trunk-442071230001-b2"), "trunk-***01-b2");
        assert_eq!(numbers("s"), "s");
        assert_eq!(numbers("42"), "42");
        assert_eq!(numbers("١٢٣٤"), "١٢٣٤");
    }

    #[test]
    fn endpoints_stay_and_extensions_do_not() {
        assert_eq!(endpoint("PJSIP/provider1-00000007"), "PJSIP/provider1");
        assert_eq!(endpoint("PJSIP/1002-0000000a"), "PJSIP/***02");
        assert_eq!(endpoint("SIP/my-trunk-deadbeef"), "SIP/my-trunk");
        assert_eq!(endpoint("Local/1007@from-queue/n"), "Local/***07");
        assert_eq!(endpoint("Local/1007@from-queue-00000001;2"), "Local/***07");
    }

    #[test]
    fn a_line_of_a_log_tells_of_nobody() {
        for (text, expected) in [
            (
                "Call from '\"Alice Example\" <sip:1001@10.1.2.3:5060>' failed",
                "Call from '\"***\" <sip:***@10.1.2.3:***>' failed",
            ),
            ("From: Alice Example <sip:alice@pbx.example>;tag=a", "From:***<sip:***@pbx.example>;tag=a"),
            ("mail to bob.smith@example.com sent", "mail to ***@example.com sent"),
            ("dialling +44 20 7123-0001 now", "dialling +*** now"),
            ("dialling (020) 7123 0001", "dialling (***"),
            ("PJSIP/1001 is now Unreachable, 42 ms", "PJSIP/*** is now Unreachable, 42 ms"),
            ("Executing NoOp(\"PJSIP/1001-00000001\", \"CALLERID(name)=Alice\")", "Executing NoOp(\"***\", \"***\")"),
            ("an open quote \"Alice", "an open quote \"***"),
            ("Alice <1001> rang", "***<***> rang"),
            ("no people here <none>", "no people here <none>"),
        ] {
            assert_eq!(line(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        /// Whatever a log holds, no number of three digits or more is shown.
        #[test]
        fn no_number_is_left(text in "[ -~é]{0,60}") {
            let shown = line(&text);
            let longest = shown.split(|sign: char| !sign.is_ascii_digit()).map(str::len).max();
            proptest::prop_assert!(longest < Some(SHORTEST_NUMBER), "{shown}");
        }
    }
}
