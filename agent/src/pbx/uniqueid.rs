//! Asterisk's ids of channels: `[systemname-]seconds.serial`, where `seconds` is the moment of the channel's making.

const TWO_DAYS: i64 = 2 * 86_400;

/// When the channel was made, in seconds since 1970 in UTC: the one time in a row that no zone can bend.
pub fn created(uniqueid: &[u8]) -> Option<i64> {
    let dot = uniqueid.iter().rposition(|&byte| byte == b'.')?;
    let (front, serial) = (&uniqueid[..dot], &uniqueid[dot + 1..]);
    let first = front.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
    let seconds = &front[first..];
    let prefixed = first == 0 || front[first - 1] == b'-';
    if !prefixed
        || seconds.is_empty()
        || seconds.len() > 12
        || serial.is_empty()
        || !serial.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    Some(seconds.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

/// Whether a column that may be the uniqueid or the user field is the uniqueid. A user field can look like `12.50`; an
/// id holds a moment of this century, or one near the row's start where the PBX's clock is far off.
pub fn is_one(value: &[u8], start: i64) -> bool {
    created(value).is_some_and(|created| created >= 1_000_000_000 || (created - start).abs() <= TWO_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_name_may_stand_before_it() {
        assert_eq!(created(b"1795310338.18"), Some(1_795_310_338));
        assert_eq!(created(b"hq-pbx-01-1795311318.12"), Some(1_795_311_318));
        assert_eq!(created(b"a.b-1795311318.12"), Some(1_795_311_318));
        for none in
            [&b""[..], b".", b"1.", b".1", b"pbx1795311318.12", b"1795311318", b"1795311318.1a", b"9999999999999.1"]
        {
            assert_eq!(created(none), None);
        }
    }

    #[test]
    fn a_price_is_no_id() {
        assert!(is_one(b"1795310338.18", 0) && is_one(b"100.1", 3_700) && !is_one(b"12.50", 1_795_310_338));
    }
}
