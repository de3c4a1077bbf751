//! What was meant by a key or a word that does not exist.

use crate::proxy::schema;

/// More places than this would be no answer.
const PLACES: usize = 3;

/// Says that a mapping at `place` has no such key, which keys it has, or where
/// the key belongs.
pub(super) fn unknown_key(name: &str, known: &[&str], place: &str) -> String {
    if let Some(near) = nearest(name, known) {
        return format!("unknown key; did you mean `{near}`?");
    }
    let valid = known.join(", ");
    if let Some((key, places)) = elsewhere(name, place) {
        let places = places.join(" or ");
        if key == name {
            return format!("`{name}` belongs under {places}; move it there (valid here: {valid})");
        }
        return format!(
            "unknown key; did you mean `{key}`, which belongs under {places}? Valid here: {valid}"
        );
    }
    format!("unknown key; valid here: {valid}")
}

/// The key that is meant and where it belongs: below `place` if that is
/// possible, else wherever it is.
fn elsewhere(name: &str, place: &str) -> Option<(String, Vec<String>)> {
    let keys = schema::keys();
    let names: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
    let meant = if names.contains(&name) {
        name
    } else {
        // Among so many, only the nearest can be what was meant.
        nearest(name, &names).filter(|key| name.len() > 4 && distance(name, key) == 1)?
    };
    let place = generalized(place);
    let places = keys.iter().filter(|(key, _)| key == meant);
    let places: Vec<&str> = places.map(|(_, place)| place.as_str()).collect();
    let below: Vec<&str> = places
        .iter()
        .filter_map(|other| within(other, &place))
        .collect();
    let mut shown: Vec<String> = match below.as_slice() {
        [] => places.iter().map(|place| shown(place)).collect(),
        below => below.iter().map(|place| shown(place)).collect(),
    };
    shown.dedup();
    (shown.len() <= PLACES).then(|| (meant.to_owned(), shown))
}

fn shown(place: &str) -> String {
    match place {
        "" => "the top level".into(),
        place => format!("`{place}`"),
    }
}

/// `routes[0].sse` as the schema has it: `routes[].sse`.
fn generalized(place: &str) -> String {
    let mut text = String::with_capacity(place.len());
    let mut inside = false;
    for c in place.chars() {
        inside &= c != ']';
        if !inside {
            text.push(c);
        }
        inside |= c == '[';
    }
    text
}

/// What is left of `place` below `outer`, in which any name may stand for a `*`.
fn within<'p>(place: &'p str, outer: &str) -> Option<&'p str> {
    if outer.is_empty() {
        return None;
    }
    let mut rest = place;
    for segment in outer.split('.') {
        let (first, others) = rest.split_once('.').unwrap_or((rest, ""));
        if first != segment && first != "*" {
            return None;
        }
        rest = others;
    }
    (!rest.is_empty()).then_some(rest)
}

/// The known word that differs least, if it differs by a slip of the hand only.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let slips = 1 + word.chars().count() / 4;
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), *candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insertions, deletions, replacements, and swaps of
/// neighbours, which are the commonest slip.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word() {
        let known = ["heartbeat", "hold", "linger", "on_gap", "retry"];
        for (slip, word) in [
            ("hearbeat", Some("heartbeat")),
            ("heartbaet", Some("heartbeat")),
            ("Heartbeat", Some("heartbeat")),
            ("on-gap", Some("on_gap")),
            ("rety", Some("retry")),
            ("timeout", None),
            ("x", None),
        ] {
            assert_eq!(nearest(slip, &known), word, "{slip}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_place() {
        for (name, place, said) in [
            (
                "heartbeat",
                "routes[3]",
                "`heartbeat` belongs under `sse`; move it there (valid here: a)",
            ),
            (
                "interval",
                "upstreams.any",
                "`interval` belongs under `health_check`; move it there (valid here: a)",
            ),
            (
                "hearbeat",
                "routes[0]",
                "unknown key; did you mean `heartbeat`, which belongs under `sse`? Valid here: a",
            ),
            (
                "upstreams",
                "routes[0].sse",
                "`upstreams` belongs under the top level; move it there (valid here: a)",
            ),
            (
                "sync_interval",
                "drain",
                "`sync_interval` belongs under `journal`; move it there (valid here: a)",
            ),
            ("nothing_of_ours", "", "unknown key; valid here: a"),
        ] {
            assert_eq!(unknown_key(name, &["a"], place), said);
        }
    }
}
