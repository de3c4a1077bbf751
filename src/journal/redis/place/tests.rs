use std::task::{Context, Waker};

use redis::Value;

use super::*;
use crate::journal::redis::scripts::Reply;

fn follower(now: Instant) -> State {
    let common = Common {
        terms: Terms::of(Duration::from_secs(5), false),
        process: "process".to_owned(),
        watch: Duration::from_secs(15),
    };
    let keys = ["meta", "log"].map(str::to_owned);
    let mut state = State::following(Arc::new(common), 1, keys, now);
    state.attend(true, now);
    state
}

fn reply(word: &str, numbers: &[i64], rest: &[&str]) -> Reply {
    let text = |text: &&str| Value::BulkString(text.as_bytes().to_vec());
    let mut values = vec![text(&word)];
    values.extend(numbers.iter().copied().map(Value::Int));
    values.extend(rest.iter().map(text));
    Reply::read(Value::Array(values)).unwrap()
}

fn at(now: Instant) -> Exchange {
    Exchange {
        sent: now,
        now,
        generation: 1,
    }
}

#[test]
fn what_is_heard_while_an_answer_is_under_way_is_not_forgotten() {
    let now = Instant::now();
    let mut state = follower(now);
    let held = || reply("held", &[3000], &["0", "birth", "branch"]);
    assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
    state.answered(Ask::Look, held(), at(now)).unwrap();
    assert!(state.next(now, 1).is_none(), "all is known");

    let now = now + Duration::from_secs(1);
    assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
    // Released, after this was executed and before it is answered.
    state.stirred(b"free", now);
    state.answered(Ask::Look, held(), at(now)).unwrap();
    assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
}

/// As when nobody polls a stream whose owner comes and goes.
#[test]
fn news_that_nobody_takes_do_not_pile_up() {
    let mut state = follower(Instant::now());
    let owned = News::Owned {
        continuous: true,
        last: 0,
    };
    for _ in 0..1000 {
        for news in [owned.clone(), News::Readers(true), News::Readers(false)] {
            state.tell(news);
        }
        state.tell(News::Disowned);
    }
    assert!(state.news.len() < 5, "{} wait", state.news.len());
}

#[test]
fn nothing_is_read_before_it_is_known_what_became_of_an_append() {
    let now = Instant::now();
    let mut state = follower(now);
    let mine = reply("mine", &[1, 0, 1], &["birth", "branch", "1"]);
    assert_eq!(state.next(now, 1).unwrap().0, Ask::Look);
    state.answered(Ask::Look, mine, at(now)).unwrap();
    assert_eq!(state.next(now, 1).unwrap().0, Ask::Read);
    let none = Reply::read(Value::Array(vec![Value::BulkString(b"none".to_vec())]));
    state.answered(Ask::Read, none.unwrap(), at(now)).unwrap();
    assert!(state.start_append(now));

    // Its answer is lost, and the lease ends meanwhile.
    let now = now + Duration::from_secs(4);
    assert!(state.next(now, 1).is_none());
    assert_eq!(state.take_news().back(), Some(&News::Disowned));
    state.stirred(b"record", now);
    let cx = &Context::from_waker(Waker::noop());
    assert!(state.poll_news(cx).is_pending());
    assert!(state.next(now, 1).is_none());
}
