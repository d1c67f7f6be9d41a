//! `metrics`: counters, gauges and histograms under plain numbers, shared by all workers through atomics.

use portcullis_model::Capability;
use portcullis_services::metrics::{Labels, Registry, Sort};
use serde_json::{Value, json};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::recorded::Answer;
use crate::component::bindings::portcullis::policy::metrics;
use crate::instance::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    metrics::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    fn registry(&self) -> Result<&Registry> {
        self.require(Capability::Metrics)?;
        Ok(&self.policy.shared.metrics)
    }

    fn metric(&mut self, function: &'static str, sort: Sort, name: String, labels: Labels) -> Result<u32> {
        self.registry()?;
        let describe = |(name, labels): &(String, Labels)| json!({ "name": name, "labels": labels });
        // Its number is another in each process, so a replay makes it anew.
        self.observed(function, (name, labels), describe, u32::to_json, |state, (name, labels)| {
            let replay = state.recorder().is_some_and(|recorder| recorder.is_replay());
            let effects = state.has_effects() || replay;
            let registry = state.registry()?;
            // Without effects a metric that is not there yet is not made, and counting in it counts nothing.
            Ok(if effects {
                registry.number(sort, &name, &labels)
            } else {
                registry.known(sort, &name, &labels)
            })
        })
    }

    fn count<T: Copy + Into<Value>>(
        &mut self,
        function: &'static str,
        metric: u32,
        value: T,
        count: fn(&Registry, u32, T),
    ) -> Result<()> {
        self.registry()?;
        if self.recorder().is_none() {
            count(self.registry()?, metric, value);
            return Ok(());
        }
        let name = json!(self.registry()?.display_name(metric));
        let describe = |(name, value): &(Value, T)| json!({ "metric": name, "value": (*value).into() });
        self.observed(function, (name, value), describe, <()>::to_json, |state, (_, value)| {
            if state.has_effects() {
                count(state.registry()?, metric, value);
            }
            Ok(())
        })
    }
}

impl metrics::Host for State {
    fn counter(&mut self, name: String, labels: Labels) -> Result<u32> {
        self.metric("metrics.counter", Sort::Counter, name, labels)
    }

    fn gauge(&mut self, name: String, labels: Labels) -> Result<u32> {
        self.metric("metrics.gauge", Sort::Gauge, name, labels)
    }

    fn histogram(&mut self, name: String, labels: Labels) -> Result<u32> {
        self.metric("metrics.histogram", Sort::Histogram, name, labels)
    }

    fn add(&mut self, metric: u32, value: u64) -> Result<()> {
        self.count("metrics.add", metric, value, Registry::add)
    }

    fn set(&mut self, metric: u32, value: f64) -> Result<()> {
        self.count("metrics.set", metric, value, Registry::set)
    }

    fn observe(&mut self, metric: u32, value: f64) -> Result<()> {
        self.count("metrics.observe", metric, value, Registry::observe)
    }
}
