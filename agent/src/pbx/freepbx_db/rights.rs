//! What the database user may do beyond what is needed.

use super::{Settings, words};
use crate::pbx::mysql::Row;

/// What the grants hold that they need not, in words.
pub(super) fn excess(grants: &[Row], settings: &Settings) -> Option<String> {
    let grants = grants.iter().filter_map(|row| row.text(0)).map(String::from_utf8_lossy);
    let mut excess: Vec<String> = grants.flat_map(|grant| beyond(&grant)).collect();
    excess.dedup();
    (!excess.is_empty()).then(|| words::too_much(settings, &excess.join(", ")))
}

/// The rights in `GRANT SELECT (calldate), FILE ON *.* TO …` that read no call records.
fn beyond(grant: &str) -> Vec<String> {
    let Some((rights, rest)) = grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON ")) else {
        return Vec::new();
    };
    let everywhere = rest.starts_with("*.*");
    let mut beyond: Vec<String> = without_columns(rights)
        .split(',')
        .map(|right| right.trim().to_owned())
        .filter(|right| !matches!(right.as_str(), "SELECT" | "USAGE" | ""))
        .collect();
    if everywhere && without_columns(rights).split(',').any(|right| right.trim() == "SELECT") {
        beyond.push("SELECT on every database".to_owned());
    }
    if rest.contains("WITH GRANT OPTION") {
        beyond.push("GRANT OPTION".to_owned());
    }
    beyond
}

fn without_columns(rights: &str) -> String {
    let mut depth = 0_u32;
    let outside = rights.chars().filter(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    });
    outside.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_call_records_is_enough() {
        for enough in [
            "GRANT USAGE ON *.* TO `demarc`@`localhost` IDENTIFIED BY PASSWORD '*00'",
            "GRANT SELECT ON `asteriskcdrdb`.`cdr` TO `demarc`@`localhost`",
            "GRANT SELECT (`calldate`, `dst`, `src`) ON `asteriskcdrdb`.`cdr` TO `demarc`@`localhost`",
            "GRANT `reader`@`%` TO `demarc`@`localhost`",
        ] {
            assert_eq!(beyond(enough), Vec::<String>::new(), "{enough}");
        }
    }

    #[test]
    fn anything_else_is_told() {
        assert_eq!(
            beyond("GRANT ALL PRIVILEGES ON *.* TO `a`@`b` WITH GRANT OPTION"),
            ["ALL PRIVILEGES", "GRANT OPTION"]
        );
        assert_eq!(
            beyond("GRANT SELECT, INSERT, FILE ON *.* TO `a`@`b`"),
            ["INSERT", "FILE", "SELECT on every database"]
        );
        assert_eq!(beyond("GRANT SELECT (`calldate`, `dst`), UPDATE (`src`) ON `x`.`cdr` TO `a`@`b`"), ["UPDATE"]);
    }
}
