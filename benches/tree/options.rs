//! The command line.

const HELP: &str = "\
cargo bench --bench tree -- [--FLAG NUMBER]...

  --clients           in all                                         1000000
  --feeds             different shared streams, on every edge        100
  --regions                                                          4
  --per-proxy         client connections of one proxy, at most       50000
  --region-proxies    in each region, for shared streams             2
  --origin-proxies    before the backend, for shared streams         2
  --rate              events a second to each client                 1
  --event             bytes of an event as it is sent                250
  --buffer            events retained of each stream, at most        1024
  --age               seconds for which they are, at most            300
  --kib-shared        memory of an idle client of a shared stream    3.2
  --kib-private       with a stream of its own, both connections     10.5
  --us-shared         processor time per event and client, in µs     5.63
  --accept            clients that one edge accepts per second       5000
  --backlog           clients that one edge lets wait                4096
  --notice            seconds until a lost connection is noticed: drawn evenly
                      from 0 to this for each client                 1
  --retry-low         seconds clients are told to wait, at least     2
  --retry-high        and at most                                    5
  --seed                                                             1";

/// What is simulated. Times are in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) clients: u64,
    pub(crate) feeds: u64,
    pub(crate) regions: u64,
    pub(crate) per_proxy: u64,
    pub(crate) region_proxies: u64,
    pub(crate) origin_proxies: u64,
    pub(crate) rate: f64,
    pub(crate) event: u64,
    pub(crate) buffer: u64,
    pub(crate) age: f64,
    pub(crate) kib_shared: f64,
    pub(crate) kib_private: f64,
    pub(crate) us_shared: f64,
    pub(crate) accept: u64,
    pub(crate) backlog: u64,
    pub(crate) notice: f64,
    pub(crate) retry_low: f64,
    pub(crate) retry_high: f64,
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clients: 1_000_000,
            feeds: 100,
            regions: 4,
            per_proxy: 50_000,
            region_proxies: 2,
            origin_proxies: 2,
            rate: 1.0,
            event: 250,
            buffer: 1024,
            age: 300.0,
            kib_shared: 3.2,
            kib_private: 10.5,
            us_shared: 5.63,
            accept: 5_000,
            backlog: 4_096,
            notice: 1.0,
            retry_low: 2.0,
            retry_high: 5.0,
            seed: 1,
        }
    }
}

impl Options {
    /// Flags and their numbers; the message says what is wrong, or helps.
    pub(crate) fn parse<'a>(
        mut arguments: impl Iterator<Item = &'a String>,
    ) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or(HELP)?;
            options
                .set(flag, value)
                .ok_or_else(|| format!("{flag} {value}: not understood\n\n{HELP}"))?;
        }
        options.check()?;
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: &str) -> Option<()> {
        match flag {
            "--clients" => self.clients = whole(value)?,
            "--feeds" => self.feeds = whole(value)?,
            "--regions" => self.regions = whole(value)?,
            "--per-proxy" => self.per_proxy = whole(value)?,
            "--region-proxies" => self.region_proxies = whole(value)?,
            "--origin-proxies" => self.origin_proxies = whole(value)?,
            "--rate" => self.rate = real(value)?,
            "--event" => self.event = whole(value)?,
            "--buffer" => self.buffer = whole(value)?,
            "--age" => self.age = real(value)?,
            "--kib-shared" => self.kib_shared = real(value)?,
            "--kib-private" => self.kib_private = real(value)?,
            "--us-shared" => self.us_shared = real(value)?,
            "--accept" => self.accept = whole(value)?,
            "--backlog" => self.backlog = whole(value)?,
            "--notice" => self.notice = real(value)?,
            "--retry-low" => self.retry_low = real(value)?,
            "--retry-high" => self.retry_high = real(value)?,
            "--seed" => self.seed = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    fn check(&self) -> Result<(), String> {
        if self.regions < 2 {
            return Err("--regions: with fewer than 2, none is left when one is lost".to_owned());
        }
        if self.clients > 100_000_000 || self.clients < self.regions {
            return Err("--clients: from one for each region to 100000000".to_owned());
        }
        if self.retry_low > self.retry_high || self.retry_high == 0.0 {
            return Err("--retry-low: must not be above --retry-high, nor both be 0".to_owned());
        }
        Ok(())
    }

    /// Edges of one region.
    pub(crate) fn edges(&self) -> u64 {
        (self.clients / self.regions).div_ceil(self.per_proxy)
    }
}

/// A number of things, of which there is at least one.
fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}

fn real(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (0.0..=1e9).contains(&number).then_some(number)
}
