//! Durations and sizes: how they are read and how they are written.
//!
//! What is written reads back as the same value; that keeps `sse-proxy check`
//! usable as a configuration.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Milliseconds per unit, largest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Bytes per unit; the binary ones largest first, as they are preferred when
/// writing.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// What to write where a duration is expected.
pub(super) const DURATION_HINT: &str = "write a number with a unit, such as 15s or 500ms";

/// What to write where a size is expected.
pub(super) const SIZE_HINT: &str = "write a number with a unit, such as 4MiB or 512KiB";

/// `15s`, `500ms`, `1h30m`; a bare number only if it is `0`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut millis = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.checked_mul(*factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// The inverse of [`parse_duration`], to the millisecond.
pub(super) fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in TIMES {
        let count = millis / factor;
        millis %= factor;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// `4MiB`, `512KiB`, `1GB`, or a bare number of bytes. Units may be in any
/// case: nobody means anything else by `4mib`.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = leading_number(text)?;
    let factor = if unit.is_empty() {
        1
    } else {
        let unit = unit.trim_start();
        SIZES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))?
            .1
    };
    usize::try_from(number.checked_mul(factor)?).ok()
}

/// The inverse of [`parse_size`].
pub(super) fn format_size(bytes: usize) -> String {
    let exact = SIZES[..4].iter().find_map(|(unit, factor)| {
        let factor = usize::try_from(*factor).ok()?;
        (bytes >= factor && bytes.is_multiple_of(factor))
            .then(|| format!("{}{unit}", bytes / factor))
    });
    exact.unwrap_or_else(|| bytes.to_string())
}

/// `2s..5s`, or `3s` for a range of one value.
pub(super) fn parse_range(text: &str) -> Option<RangeInclusive<Duration>> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    Some(parse_duration(low.trim())?..=parse_duration(high.trim())?)
}

/// The inverse of [`parse_range`].
pub(super) fn format_range(range: &RangeInclusive<Duration>) -> String {
    let (low, high) = (
        format_duration(*range.start()),
        format_duration(*range.end()),
    );
    if low == high {
        low
    } else {
        format!("{low}..{high}")
    }
}

/// Splits a decimal number off the front.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, rest) = text.split_at(digits.unwrap_or(text.len()));
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let ms = |millis| Some(Duration::from_millis(millis));
        for (text, expected) in [
            ("0", ms(0)),
            ("0s", ms(0)),
            ("15s", ms(15_000)),
            ("500ms", ms(500)),
            ("5m", ms(300_000)),
            ("1h30m", ms(5_400_000)),
            ("2d", ms(172_800_000)),
            ("", None),
            ("15", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("15 s", None),
            ("15sec", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("4MiB", Some(4 << 20)),
            ("512KiB", Some(512 << 10)),
            ("512 kib", Some(512 << 10)),
            ("1GB", Some(1_000_000_000)),
            ("7B", Some(7)),
            ("", None),
            ("4M", None),
            ("1.5MiB", None),
            ("-1", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let s = Duration::from_secs;
        assert_eq!(parse_range("2s..5s"), Some(s(2)..=s(5)));
        assert_eq!(parse_range("2s .. 5s"), Some(s(2)..=s(5)));
        assert_eq!(parse_range("3s"), Some(s(3)..=s(3)));
        assert_eq!(parse_range("2s.."), None);
        assert_eq!(parse_range("2..5s"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0..u64::MAX / 2, bytes: usize) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = (parse_duration(&text), parse_size(&text), parse_range(&text));
        }
    }
}
