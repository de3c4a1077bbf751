//! Medians and ratios.

use crate::result::{Run, Sample};

/// The middle of `values`; of an even number, the mean of the two there.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// What is taken from a sample.
pub(crate) type Figure = fn(&Sample) -> Option<f64>;

/// One peer's samples of one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series<'a> {
    run: &'a Run,
    scenario: &'a str,
    peer: &'a str,
}

impl<'a> Series<'a> {
    pub(crate) fn new(run: &'a Run, scenario: &'a str, peer: &'a str) -> Self {
        Self {
            run,
            scenario,
            peer,
        }
    }

    fn samples(self) -> impl Iterator<Item = &'a Sample> {
        let of_it = move |s: &&Sample| s.scenario == self.scenario && s.peer == self.peer;
        self.run.samples.iter().filter(of_it)
    }

    pub(crate) fn median(self, figure: Figure) -> Option<f64> {
        median(self.samples().filter_map(figure).collect())
    }

    /// The median of the ratios to another peer, each of one round: what
    /// changes from round to round with the machine has changed for both.
    pub(crate) fn ratio_to(self, other: &'a str, figure: Figure) -> Option<f64> {
        let other = Self {
            peer: other,
            ..self
        };
        let ratio = |sample: &Sample| {
            let theirs = other
                .samples()
                .find(|theirs| theirs.round == sample.round)?;
            Some(figure(sample)? / figure(theirs)?).filter(|ratio| ratio.is_finite())
        };
        median(self.samples().filter_map(ratio).collect())
    }

    /// The median of processor time per event in bare sends of its round.
    pub(crate) fn floors(self) -> Option<f64> {
        let floors = |sample: &Sample| {
            let floor = self.run.floor_ns.get(sample.round)?;
            Some(sample.cpu_us_per_event? * 1e3 / floor)
        };
        median(self.samples().filter_map(floors).collect())
    }
}
