//! How a gap is told of, and read again: the upstream may be a proxy, too.

const COMMENT: &str = " sse-resume gap reason=";

/// The text of the comment that tells of a gap, after its colon.
pub fn gap_comment(reason: &str, lost: Option<u64>) -> String {
    match lost {
        Some(lost) => format!("{COMMENT}{reason} lost={lost}"),
        None => format!("{COMMENT}{reason}"),
    }
}

/// The data of a gap event: one JSON object.
pub fn gap_data(reason: &str, lost: Option<u64>) -> String {
    match lost {
        Some(lost) => format!("{{\"reason\":\"{reason}\",\"lost\":{lost}}}"),
        None => format!("{{\"reason\":\"{reason}\"}}"),
    }
}

/// A gap that the upstream itself tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// How many events it lost, if it knows.
    pub(crate) lost: Option<u64>,
}

/// Whether a comment of the upstream tells of a gap. Its reason is the upstream's
/// own affair: to those who read here, it is the upstream that lost something.
pub(crate) fn announced_gap(comment: &[u8]) -> Option<Announced> {
    let rest = comment.strip_prefix(COMMENT.as_bytes())?;
    let mut words = rest.split(|byte| *byte == b' ').skip(1);
    let lost = words.find_map(|word| word.strip_prefix(b"lost="));
    let lost = lost.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Some(Announced { lost })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for lost in [None, Some(0), Some(u64::MAX)] {
            let comment = gap_comment("trimmed", lost);
            let read = announced_gap(comment.as_bytes());
            assert_eq!(read, Some(Announced { lost }), "{comment}");
        }
    }

    #[test]
    fn other_comments_tell_of_none() {
        for comment in [
            "",
            " ping",
            " sse-resume",
            " sse-resume gap",
            "sse-resume gap reason=x",
        ] {
            assert_eq!(announced_gap(comment.as_bytes()), None, "{comment}");
        }
        // That there is a gap is clear, if not how large it is.
        assert_eq!(
            announced_gap(b" sse-resume gap reason=x lost=-1"),
            Some(Announced { lost: None })
        );
    }

    #[test]
    fn an_event_is_one_object() {
        assert_eq!(gap_data("x", None), "{\"reason\":\"x\"}");
        assert_eq!(gap_data("x", Some(3)), "{\"reason\":\"x\",\"lost\":3}");
    }
}
