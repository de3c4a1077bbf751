//! When to renew, and when to try again.

use std::time::Duration;

use crate::proxy::tls::Certificate;

/// Authorities count failures: five in an hour, for the best known one.
const FIRST_PAUSE: Duration = Duration::from_secs(120);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// When a certificate is to be replaced, in seconds since 1970: at two thirds of
/// its life, or up to a thirtieth of it later. `jitter` is from 0 to 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "to the second is more than enough"
)]
pub(super) fn due(certificate: &Certificate, jitter: f64) -> i64 {
    let life = certificate.not_after.saturating_sub(certificate.not_before);
    let part = 2.0 / 3.0 + jitter.clamp(0.0, 1.0) / 30.0;
    let after = (life.max(0) as f64 * part) as i64;
    certificate.not_before.saturating_add(after)
}

/// How long to wait after so many failures in a row: twice as long each time,
/// and anything between half of that and all of it.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let whole = doubled.min(LONGEST_PAUSE);
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::acme::order::placeholder;

    const DAY: i64 = 24 * 60 * 60;

    #[test]
    fn a_third_of_its_life_is_left_for_the_renewal() {
        let mut certificate = placeholder(&["a.example".to_owned()]).unwrap();
        (certificate.not_before, certificate.not_after) = (1000, 1000 + 90 * DAY);
        assert_eq!(due(&certificate, 0.0), 1000 + 60 * DAY);
        assert_eq!(due(&certificate, 1.0), 1000 + 63 * DAY);
        certificate.not_after = 0;
        assert_eq!(due(&certificate, 0.5), 1000, "one that never was valid");
    }

    #[test]
    fn failures_are_ever_farther_apart() {
        let minutes = |failures| backoff(failures, 1.0).as_secs() / 60;
        let pauses: Vec<_> = (1..=7).map(minutes).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(1, 0.0), Duration::from_secs(60));
        assert_eq!(backoff(u32::MAX, 1.0), LONGEST_PAUSE);
    }
}
