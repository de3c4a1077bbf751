//! The time over which something is measured.

use std::io;
use std::time::Instant;

use crate::load::Load;
use crate::process::Cpu;
use crate::result::Sample;
use crate::stage::Site;

#[derive(Debug)]
pub(super) struct Window {
    began: Instant,
    measured: Cpu,
    own: Cpu,
}

impl Window {
    /// Begins to count.
    pub(super) fn open(site: &Site<'_>, load: &mut Load) -> Self {
        let measured = site.measured().cpu();
        load.tally.reset();
        Self {
            own: Cpu::own(),
            measured,
            began: Instant::now(),
        }
    }

    /// What was delivered since, and what that cost.
    pub(super) fn close(self, site: &mut Site<'_>, load: &Load) -> io::Result<Sample> {
        let seconds = self.began.elapsed().as_secs_f64();
        let own = Cpu::own().since(self.own) as f64;
        let cpu = site.measured().cpu().since(self.measured) as f64;
        let events = load.tally.events;
        let of_events = (events > 0).then_some(events as f64);
        let megabytes = of_events.map(|_| load.tally.bytes() as f64 / 1e6);
        Ok(Sample {
            clients: load.clients(),
            seconds,
            events,
            events_per_second: events as f64 / seconds,
            cpu_us_per_event: of_events.map(|events| cpu / 1e3 / events),
            events_per_cpu_second: of_events.map(|events| events / (cpu / 1e9)),
            mb_per_second: megabytes.map(|megabytes| megabytes / seconds),
            cpu_us_per_mb: megabytes.map(|megabytes| cpu / 1e3 / megabytes),
            busy: Some(cpu / 1e9 / seconds),
            upstream_connections: Some(site.origin.state()?.open),
            client_cpu_us_per_event: of_events.map(|events| own / 1e3 / events),
            ..Sample::default()
        })
    }
}

/// Adds how late events were.
pub(super) fn latency(sample: &mut Sample, load: &Load) {
    let at = |quantile| Some(load.tally.latency.value_at_quantile(quantile) as f64 / 1e3);
    sample.p50_us = at(0.5);
    sample.p99_us = at(0.99);
    sample.p999_us = at(0.999);
}
