//! From measurements to a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::burst::Burst;
use crate::contender::{Contender, Kind};
use crate::load::{Answered, Generator};
use crate::neighbour::Neighbour;
use crate::pin::Cores;
use crate::scenario::Scenario;

/// One turn of one contender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    round: usize,
    /// CPU time for each request, in microseconds.
    cpu_us: f64,
    per_second: f64,
    requests: u64,
}

impl Sample {
    pub(crate) fn new(round: usize, cpu: Duration, answered: Answered) -> Self {
        let cpu_us = cpu.as_secs_f64() * 1e6 / answered.requests as f64;
        Self { round, cpu_us, per_second: answered.per_second, requests: answered.requests }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.0} requests/s  {:>6.2} us CPU/request", self.per_second, self.cpu_us)
    }
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    samples: BTreeMap<(Scenario, Kind), Vec<Sample>>,
    idle: BTreeMap<Kind, u64>,
    neighbour: Vec<Neighbour>,
    bursts: BTreeMap<Kind, Vec<Burst>>,
}

/// The middle of some figures, and the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Report {
    pub(crate) fn add(&mut self, scenario: Scenario, kind: Kind, sample: Sample) {
        self.samples.entry((scenario, kind)).or_default().push(sample);
    }

    pub(crate) fn add_idle(&mut self, kind: Kind, bytes: u64) {
        self.idle.insert(kind, bytes);
    }

    pub(crate) fn add_neighbour(&mut self, measured: Neighbour) {
        self.neighbour.push(measured);
    }

    pub(crate) fn add_burst(&mut self, kind: Kind, measured: Burst) {
        self.bursts.entry(kind).or_default().push(measured);
    }

    /// Prints how many requests a burst makes upstream.
    fn print_bursts(&self) {
        for (kind, bursts) in &self.bursts {
            let figure = |of: fn(&Burst) -> f64| spread(bursts.iter().map(of).collect());
            let (Some(upstream), Some(took)) =
                (figure(|burst| burst.upstream as f64), figure(|burst| burst.took.as_secs_f64() * 1e3))
            else {
                continue;
            };
            let Spread { median, least, greatest } = upstream;
            println!(
                "  {:<13} {median:.0} upstream ({least:.0} to {greatest:.0}), {:.0} ms",
                kind.to_string(),
                took.median
            );
        }
        if let Some(own) = self.bursts.get(&Kind::Portcullis) {
            let kept = own.iter().all(|burst| burst.upstream == 1);
            println!("  one was promised: {}", if kept { "kept" } else { "NOT KEPT" });
        }
    }

    /// How much longer a plain request takes beside a plugin that burns, in the median round.
    fn print_neighbour(&self) {
        let Some(Spread { median, least, greatest }) =
            spread(self.neighbour.iter().map(Neighbour::ratio).collect())
        else {
            return;
        };
        println!("  p99 beside it as a multiple of p99 alone: {median:.2}  ({least:.2} to {greatest:.2})");
        println!("  at most 2.00 was promised: {}", if median <= 2.0 { "kept" } else { "NOT KEPT" });
    }

    /// Prints which part of the throughput of shared instances a fresh instance for each exchange has, if both were
    /// measured.
    fn print_fresh(&self) {
        let cpu = |scenario| self.spread(scenario, Kind::Portcullis, |sample| sample.cpu_us);
        if let (Some(shared), Some(fresh)) = (cpu(Scenario::H1Policy3), cpu(Scenario::H1Policy3Fresh)) {
            let kept = shared.median / fresh.median;
            let verdict = if kept >= 1.0 / 3.0 { "kept" } else { "NOT KEPT" };
            println!(
                "  {:.0} % of the requests per CPU time of shared instances; a third was promised: {verdict}",
                kept * 100.0
            );
        }
    }

    /// Prints a scenario's table.
    pub(crate) fn print(&self, scenario: Scenario) {
        if scenario == Scenario::Idle {
            for (kind, bytes) in &self.idle {
                println!(
                    "  {:<13} {:>7.2} KiB for each connection",
                    kind.to_string(),
                    *bytes as f64 / 1024.0
                );
            }
            return;
        }
        if scenario == Scenario::Neighbour {
            return self.print_neighbour();
        }
        if scenario == Scenario::CacheBurst {
            return self.print_bursts();
        }
        println!("  {:<13} {:>12} {:>16}   ratio to nginx, CPU", "", "requests/s", "CPU us/request");
        for kind in Kind::ALL {
            let Some(cpu) = self.spread(scenario, kind, |sample| sample.cpu_us) else { continue };
            let rate =
                self.spread(scenario, kind, |sample| sample.per_second).map_or(0.0, |spread| spread.median);
            let ratio = match self.ratio(scenario, kind) {
                Some(Spread { median, least, greatest }) => {
                    format!("{median:.2}  ({least:.2} to {greatest:.2})")
                }
                None => "-".to_owned(),
            };
            println!("  {:<13} {rate:>12.0} {:>16.2}   {ratio}", kind.to_string(), cpu.median);
        }
        if let (Some(most), Some(ratio)) = (scenario.ratio_max(), self.ratio(scenario, Kind::Portcullis)) {
            let verdict = if ratio.median <= most { "kept" } else { "NOT KEPT" };
            println!("  at most {most:.2} was promised: {verdict}");
        }
        if scenario == Scenario::H1Policy3Fresh {
            self.print_fresh();
        }
    }

    fn spread(&self, scenario: Scenario, kind: Kind, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        spread(self.samples.get(&(scenario, kind))?.iter().map(of).collect())
    }

    /// Each turn against nginx's of the same round.
    fn ratio(&self, scenario: Scenario, kind: Kind) -> Option<Spread> {
        let nginx = self.samples.get(&(scenario, Kind::Nginx))?;
        let own = self.samples.get(&(scenario, kind))?;
        let pairs = own.iter().filter_map(|sample| {
            let other = nginx.iter().find(|other| other.round == sample.round)?;
            (other.cpu_us > 0.0).then(|| sample.cpu_us / other.cpu_us)
        });
        spread(pairs.collect())
    }

    /// Everything, for other programs.
    pub(crate) fn json(
        &self,
        arguments: &crate::Arguments,
        contenders: &[Contender],
        generator: &Generator,
        cores: &Cores,
    ) -> Value {
        let versions: BTreeMap<String, &str> = contenders
            .iter()
            .map(|contender| (contender.kind.to_string(), contender.version.as_str()))
            .collect();
        let samples: Vec<Value> = self
            .samples
            .iter()
            .flat_map(|((scenario, kind), samples)| {
                samples.iter().map(move |sample| {
                    json!({
                        "scenario": scenario.name(),
                        "contender": kind.to_string(),
                        "round": sample.round + 1,
                        "requests": sample.requests,
                        "requests_per_second": sample.per_second,
                        "cpu_us_per_request": sample.cpu_us,
                    })
                })
            })
            .collect();
        let idle: BTreeMap<String, u64> =
            self.idle.iter().map(|(kind, bytes)| (kind.to_string(), *bytes)).collect();
        json!({
            "versions": versions,
            "load": generator.to_string(),
            "cores": cores.to_string(),
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "connections": arguments.connections,
            "samples": samples,
            "idle_connection_bytes": idle,
            "bursts": self.bursts.iter().flat_map(|(kind, bursts)| {
                bursts.iter().map(move |burst| json!({
                    "contender": kind.to_string(),
                    "upstream_requests": burst.upstream,
                    "milliseconds": burst.took.as_secs_f64() * 1e3,
                    "cpu_ms": burst.cpu.as_secs_f64() * 1e3,
                }))
            }).collect::<Vec<_>>(),
            "neighbour_p99": self.neighbour.iter().map(|measured| {
                json!({ "alone_us": measured.alone.as_micros(), "beside_us": measured.beside.as_micros() })
            }).collect::<Vec<_>>(),
        })
    }
}

fn spread(mut figures: Vec<f64>) -> Option<Spread> {
    figures.sort_by(f64::total_cmp);
    let (least, greatest) = (*figures.first()?, *figures.last()?);
    let (low, high) = (figures.get((figures.len() - 1) / 2)?, figures.get(figures.len() / 2)?);
    Some(Spread { median: f64::midpoint(*low, *high), least, greatest })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Report, Sample, Spread, spread};
    use crate::contender::Kind;
    use crate::load::Answered;
    use crate::scenario::Scenario;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread(vec![]), None);
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, greatest: 3.0 }));
        assert_eq!(spread(vec![4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, greatest: 4.0 }));
    }

    #[test]
    fn a_turn_is_compared_with_the_one_of_its_round() {
        let mut report = Report::default();
        let mut add = |kind, round, cpu_ms| {
            let answered = Answered { requests: 1000, per_second: 1.0 };
            report.add(Scenario::H1, kind, Sample::new(round, Duration::from_millis(cpu_ms), answered));
        };
        // The second round was slow for both.
        for (kind, first, second) in [(Kind::Nginx, 10, 20), (Kind::Portcullis, 9, 18)] {
            add(kind, 0, first);
            add(kind, 1, second);
        }
        let ratio = report.ratio(Scenario::H1, Kind::Portcullis).unwrap();
        assert!((ratio.least - 0.9).abs() < 1e-9 && (ratio.greatest - 0.9).abs() < 1e-9);
        assert_eq!(report.ratio(Scenario::H1Tls, Kind::Portcullis), None);
    }
}
