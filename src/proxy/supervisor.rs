//! What systemd is told, where it started the process (`Type=notify`).
//!
//! Elsewhere nobody listens, and nothing is done.

#[cfg(unix)]
pub(super) use self::systemd::{ready, reloading, stopping, watch};

#[cfg(unix)]
mod systemd {
    use sd_notify::NotifyState;

    use super::super::server::Control;

    /// Clients can connect; or: the reload is over.
    pub(in super::super) fn ready() {
        notify(&[NotifyState::Ready]);
    }

    /// The configuration is being read again.
    pub(in super::super) fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
        }
    }

    /// The drain has begun.
    pub(in super::super) fn stopping() {
        notify(&[NotifyState::Stopping]);
    }

    /// Tells the watchdog, where there is one, that all threads answer.
    pub(in super::super) async fn watch(control: Control) {
        let Some(patience) = sd_notify::watchdog_enabled() else {
            return std::future::pending().await;
        };
        loop {
            control.answered().await;
            notify(&[NotifyState::Watchdog]);
            tokio::time::sleep(patience / 2).await;
        }
    }

    fn notify(state: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "cannot notify systemd");
        }
    }
}

#[cfg(not(unix))]
pub(super) fn ready() {}

#[cfg(not(unix))]
pub(super) fn reloading() {}

#[cfg(not(unix))]
pub(super) fn stopping() {}

#[cfg(not(unix))]
pub(super) async fn watch(_: super::server::Control) {
    std::future::pending().await
}
