//! The format, rule by rule: an input, and what a browser dispatches for it.
//!
//! Those named `wpt` follow the web platform tests, eventsource/format-*.

pub(crate) struct Seed {
    pub(crate) name: &'static str,
    pub(crate) input: &'static [u8],
    /// Type, data and last id of each event.
    pub(crate) events: &'static [(&'static str, &'static str, &'static str)],
}

macro_rules! seeds {
    ($($name:literal: $input:expr => [$($event:expr),* $(,)?];)*) => {
        pub(crate) const SEEDS: &[Seed] = &[$(Seed { name: $name, input: $input, events: &[$($event),*] }),*];
    };
}

seeds! {
    "nothing": b"" => [];
    "one event": b"data: x\n\n" => [("message", "x", "")];
    "two events": b"data: x\n\ndata: y\n\n" => [("message", "x", ""), ("message", "y", "")];
    "all fields": b"event: e\ndata: x\nid: 1\nretry: 10\n\n" => [("e", "x", "1")];
    "cr": b"event: e\rdata: x\rid: 1\r\rdata: y\r\r" => [("e", "x", "1"), ("message", "y", "1")];
    "crlf": b"event: e\r\ndata: x\r\nid: 1\r\n\r\ndata: y\r\n\r\n" => [("e", "x", "1"), ("message", "y", "1")];
    "cr, then lf": b"data: x\r\n\r" => [("message", "x", "")];
    "cr cr lf": b"data: x\r\r\ndata: y\n\n" => [("message", "x", ""), ("message", "y", "")];
    "lf cr": b"data: x\n\rdata: y\n\r\n" => [("message", "x", ""), ("message", "y", "")];
    "every line end in one block": b"data: a\rdata: b\r\ndata: c\ndata: d\n\n" => [("message", "a\nb\nc\nd", "")];
    "lf after cr": b"data: a\r\n\ndata: b\r\n\n" => [("message", "a", ""), ("message", "b", "")];
    "stray blank lines": b"\n\r\n\r\r\ndata: x\n\n\n\r\n\n" => [("message", "x", "")];
    "cut in a line": b"data: x\n\ndata: y" => [("message", "x", "")];
    "cut before the blank line": b"data: x\n\nid: 2\ndata: y\n" => [("message", "x", "")];
    "cut in a comment": b"data: x\n\n: y" => [("message", "x", "")];

    "bom": b"\xEF\xBB\xBFdata: x\n\n" => [("message", "x", "")];
    "bom alone": b"\xEF\xBB\xBF" => [];
    "bom before a comment": b"\xEF\xBB\xBF: c\ndata: x\n\n" => [("message", "x", "")];
    "bom before a blank line": b"\xEF\xBB\xBF\r\ndata: x\n\n" => [("message", "x", "")];
    "bom twice": b"\xEF\xBB\xBF\xEF\xBB\xBFdata: x\n\ndata: y\n\n" => [("message", "y", "")];
    "bom later": b"data: x\n\n\xEF\xBB\xBFdata: y\n\n" => [("message", "x", "")];
    "bom after a line end": b"\n\xEF\xBB\xBFdata: y\n\n" => [];
    "half a bom": b"\xEF\xBBdata: x\n\ndata: y\n\n" => [("message", "y", "")];
    "half a bom, then a line end": b"\xEF\ndata: x\n\n" => [("message", "x", "")];
    "half a bom, then cr": b"\xEF\xBB\rdata: x\r\n\r\n" => [("message", "x", "")];
    "a bom begun twice": b"\xEF\xEF\xBB\xBFdata: x\n\ndata: y\n\n" => [("message", "y", "")];

    "comment": b": c\ndata: x\n\n" => [("message", "x", "")];
    "comment in a block": b"data: a\n: c\ndata: b\n\n" => [("message", "a\nb", "")];
    "comment before the blank line": b"data: a\n:\n\n" => [("message", "a", "")];
    "comment with cr": b"data: a\n:c\rdata: b\n\n" => [("message", "a\nb", "")];
    "comments between blocks": b":\n:\n: a\n\n:\r\n:\rdata: x\n\n:b\n\n" => [("message", "x", "")];
    "comment with colons": b":::\n: :\n" => [];
    "heartbeat blocks": b":\n\n:\n\nid: 1\ndata: x\n\n:\n\n" => [("message", "x", "1")];
    "comment in every gap": b":1\nevent: e\n:2\ndata: x\n:3\nid: 1\n:4\n\n:5\n" => [("e", "x", "1")];

    "no colon": b"data\n\n" => [("message", "", "")];
    "no colon twice": b"data\ndata\n\n" => [("message", "\n", "")];
    "empty value": b"data:\n\n" => [("message", "", "")];
    "one space": b"data: \n\n" => [("message", "", "")];
    "two spaces": b"data:  x\n\n" => [("message", " x", "")];
    "no space": b"data:x\n\n" => [("message", "x", "")];
    "tab": b"data:\tx\n\n" => [("message", "\tx", "")];
    "trailing space": b"data: x \n\n" => [("message", "x ", "")];
    "colons in the value": b"data:: x:y\n\n" => [("message", ": x:y", "")];
    "case matters": b"Data: a\nDATA: b\nEvent: e\nID: 1\nRetry: 5\ndata: x\n\n" => [("message", "x", "")];
    "space before the colon": b"data : a\nid : 1\ndata: x\n\n" => [("message", "x", "")];
    "space before the name": b" data: a\n id: 1\ndata: x\n\n" => [("message", "x", "")];
    "longer and shorter names": b"dat: a\ndatas: b\nidx: 1\ni: 1\nretryy: 5\nretr: 5\nevents: e\neven: e\ndata: x\n\n" => [("message", "x", "")];
    "unknown fields alone": b"foo: bar\nbaz\n\ndata: x\n\n" => [("message", "x", "")];
    "nul in a name": b"\0data: a\nda\0ta: b\ndata\0: c\ndata: x\n\n" => [("message", "x", "")];
    "nul in data": b"data: a\0b\n\n" => [("message", "a\0b", "")];
    "utf-8": "data: h\u{e9}llo \u{1F980}\n\n".as_bytes() => [("message", "h\u{e9}llo \u{1F980}", "")];
    "not utf-8": b"foo: \xFF\xC3\ndata: x\nid: \xE9\nid: 1\n\n" => [("message", "x", "1")];

    "event alone": b"event: complete\n\ndata: x\n\n" => [("message", "x", "")];
    "event empty": b"event:\ndata: x\n\n" => [("message", "x", "")];
    "event without colon": b"event: e\nevent\ndata: x\n\n" => [("message", "x", "")];
    "event last wins": b"event: a\nevent: b\ndata: x\n\n" => [("b", "x", "")];
    "event ends with its block": b"event: a\ndata: x\n\ndata: y\n\n" => [("a", "x", ""), ("message", "y", "")];

    "id stays": b"id: 1\ndata: x\n\ndata: y\n\n" => [("message", "x", "1"), ("message", "y", "1")];
    "id alone": b"id: 1\n\ndata: y\n\n" => [("message", "y", "1")];
    "id first": b"id: 1\ndata: x\n\n" => [("message", "x", "1")];
    "id last wins": b"id: 1\nid: 2\ndata: x\n\n" => [("message", "x", "2")];
    "id empty": b"id: 1\ndata: x\n\nid:\ndata: y\n\n" => [("message", "x", "1"), ("message", "y", "")];
    "id without colon": b"id: 1\ndata: x\n\nid\ndata: y\n\n" => [("message", "x", "1"), ("message", "y", "")];
    "id of one space": b"id: 1\nid: \ndata: x\n\n" => [("message", "x", "")];
    "id of two spaces": b"id:  \ndata: x\n\n" => [("message", "x", " ")];
    "id set after empty": b"id\nid: 2\ndata: x\n\n" => [("message", "x", "2")];
    "id with nul": b"id: a\0\ndata: x\n\n" => [("message", "x", "")];
    "id with nul after a valid one": b"id: 1\nid: \0\ndata: x\n\n" => [("message", "x", "1")];
    "id with nul after empty": b"id: 1\n\nid\nid:a\0b\ndata: x\n\n" => [("message", "x", "")];
    "id in crlf": b"id: 1\r\ndata: x\r\nid: 22\r\n\r\n" => [("message", "x", "22")];
    "id after a comment": b"data: x\n: c\nid: 333\n\n" => [("message", "x", "333")];

    "retry alone": b"retry: 5000\n\n" => [];
    "retry bogus": b"retry: 5000x\nretry: -1\nretry: +1\nretry: 1.5\nretry: 1e3\nretry:  7\nretry: 7 \ndata: x\n\n" => [("message", "x", "")];
    "retry empty": b"retry: 1\nretry:\nretry\nretry: \ndata: x\n\n" => [("message", "x", "")];
    "retry last valid wins": b"retry: 1\nretry: 2\nretry: x\ndata: x\n\n" => [("message", "x", "")];
    "retry with zeros": b"retry: 000\n\nretry: 007\n\n" => [];
    "retry overflow": b"retry: 18446744073709551615\n\nretry: 18446744073709551616\n\nretry: 99999999999999999999999\n\n" => [];
    "retry in other digits": "retry: \u{0663}\n\n".as_bytes() => [];

    "wpt bom": b"\xEF\xBB\xBFdata:1\n\n\xEF\xBB\xBFdata:2\n\ndata:3\n\n" => [("message", "1", ""), ("message", "3", "")];
    "wpt bom-2": b"\xEF\xBB\xBF\xEF\xBB\xBFdata:1\n\ndata:2\n\ndata:3\n\n" => [("message", "2", ""), ("message", "3", "")];
    "wpt comments": b"data:1\r:\0\n:\r\ndata:2\n:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\rdata:3\n:data:fail\r:xxxxxxxxxxxxxxxxxxxxxxx\ndata:4\n\n" => [("message", "1\n2\n3\n4", "")];
    "wpt data-before-final-empty-line": b"retry:1000\ndata:test1\n\nid:test\ndata:test2" => [("message", "test1", "")];
    "wpt field-data": b"data:\n\ndata\ndata\n\ndata:test\n\n" => [("message", "", ""), ("message", "\n", ""), ("message", "test", "")];
    "wpt field-event": b"event:test\ndata:x\n\ndata:x\n\n" => [("test", "x", ""), ("message", "x", "")];
    "wpt field-event-empty": b"event: \ndata:data\n\n" => [("message", "data", "")];
    "wpt field-id-null": b"id: 1\nid: \0\x31\ndata: x\n\n" => [("message", "x", "1")];
    "wpt field-parsing": b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n" => [("message", "\0\n 2\n1\n3\n\n4", "")];
    "wpt field-unknown": b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n" => [("message", "test\n\ntest", "")];
    "wpt leading-space": b"data:\ttest\rdata: \ndata:test\n\n" => [("message", "\ttest\n\ntest", "")];
    "wpt newlines": b"data:test\r\ndata\ndata:test\r\n\r" => [("message", "test\n\ntest", "")];
    "wpt null-character": b"data:\0\n\n\n\n" => [("message", "\0", "")];
    "wpt utf-8": "data:ok\u{2026}\n\n".as_bytes() => [("message", "ok\u{2026}", "")];
}
