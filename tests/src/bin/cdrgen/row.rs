//! One call record, and how Asterisk's `cdr_csv` writes it.

use std::io::Write;

/// Which of Asterisk's layouts.
#[derive(Clone, Copy)]
pub(crate) enum Columns {
    /// With `newcdrcolumns`, `loguniqueid` and `loguserfield`: peer account, linkedid, sequence.
    TwentyOne,
    /// With `loguniqueid` and `loguserfield`.
    Eighteen,
}

/// One call record. The derived order is by end, then by sequence: the order in which rows are written.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) end: u64,
    pub(crate) sequence: u64,
    pub(crate) start: u64,
    pub(crate) answer: Option<u64>,
    pub(crate) disposition: &'static str,
    pub(crate) uniqueid: String,
    pub(crate) linkedid: String,
    pub(crate) src: String,
    pub(crate) dst: String,
    pub(crate) context: &'static str,
    pub(crate) name: &'static str,
    pub(crate) channel: String,
    pub(crate) dstchannel: String,
    pub(crate) lastapp: &'static str,
    pub(crate) lastdata: String,
}

impl Row {
    /// Writes the line, in place of what the buffer held.
    pub(crate) fn write(&self, columns: Columns, line: &mut Vec<u8>) {
        line.clear();
        let duration = self.end - self.start;
        let billed = self.answer.map_or(0, |answer| self.end - answer);
        let clid = if self.name.is_empty() { String::new() } else { format!(r#"""{}"" "#, self.name) };
        let answer = self.answer.map(|answer| format!("\"{}\"", wall(answer))).unwrap_or_default();
        let _ = write!(
            line,
            r#""","{}","{}","{}","{clid}<{}>","{}","{}","{}","{}","{}",{answer},"{}",{duration},{billed},"{}","DOCUMENTATION","{}","""#,
            self.src,
            self.dst,
            self.context,
            self.src,
            self.channel,
            self.dstchannel,
            self.lastapp,
            self.lastdata,
            wall(self.start),
            wall(self.end),
            self.disposition,
            self.uniqueid,
        );
        let _ = match columns {
            Columns::TwentyOne => writeln!(line, r#","","{}",{}"#, self.linkedid, self.sequence),
            Columns::Eighteen => writeln!(line),
        };
    }
}

/// `2026-01-05 00:00:00`, in UTC.
fn wall(second: u64) -> String {
    let (day, rest) = (second / 86_400, second % 86_400);
    // Counting years from March puts the leap day last, so that months before it have fixed lengths.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_asterisk_writes_it() {
        let row = Row {
            end: 1_767_571_320,
            sequence: 7,
            start: 1_767_571_200,
            answer: Some(1_767_571_210),
            disposition: "ANSWERED",
            uniqueid: "1767571200.3".into(),
            linkedid: "1767571200.3".into(),
            src: "447700900001".into(),
            dst: "201".into(),
            context: "from-did-direct",
            name: "Smith, John",
            channel: "PJSIP/provider1-00000003".into(),
            dstchannel: "PJSIP/201-00000004".into(),
            lastapp: "Dial",
            lastdata: "PJSIP/201,20,Tt".into(),
        };
        let mut line = Vec::new();
        row.write(Columns::TwentyOne, &mut line);
        assert_eq!(
            String::from_utf8_lossy(&line),
            concat!(
                r#""","447700900001","201","from-did-direct","""Smith, John"" <447700900001>","PJSIP/provider1-00000003","#,
                r#""PJSIP/201-00000004","Dial","PJSIP/201,20,Tt","2026-01-05 00:00:00","2026-01-05 00:00:10","#,
                r#""2026-01-05 00:02:00",120,110,"ANSWERED","DOCUMENTATION","1767571200.3","","","1767571200.3",7"#,
                "\n"
            )
        );
    }

    #[test]
    fn wall_time_knows_leap_years() {
        assert_eq!(wall(0), "1970-01-01 00:00:00");
        assert_eq!(wall(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(wall(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(wall(1_767_225_599), "2025-12-31 23:59:59");
    }
}
