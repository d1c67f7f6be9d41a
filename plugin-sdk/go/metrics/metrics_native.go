// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Counters, gauges and histograms that the gateway exports under the policy's name. Grant: `metrics = true`.
//
// A metric is a plain number, valid in every instance of the policy: making one with the same name and labels gives
// the same number. Names and labels beyond the policy's limit (256 series) give number 0, which counts nothing.
package metrics

import (
	"portcullis/policy/types"
)

type Metric = uint32

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Counter func(name string, labels []types.Field) uint32
	Gauge func(name string, labels []types.Field) uint32
	Histogram func(name string, labels []types.Field) uint32
	Add func(metric uint32, value uint64) 
	Set func(metric uint32, value float64) 
	Observe func(metric uint32, value float64) 
}

// A number that only grows. Refuses nothing: characters outside `[a-zA-Z0-9_]` of a name become `_`.
func Counter(name string, labels []types.Field) uint32 {
	if Mock.Counter == nil {
		panic("metrics.Counter is called and metrics.Mock.Counter is not set")
	}
	return Mock.Counter(name, labels)
}

// A number that goes up and down.
func Gauge(name string, labels []types.Field) uint32 {
	if Mock.Gauge == nil {
		panic("metrics.Gauge is called and metrics.Mock.Gauge is not set")
	}
	return Mock.Gauge(name, labels)
}

// A distribution in buckets of powers of two.
func Histogram(name string, labels []types.Field) uint32 {
	if Mock.Histogram == nil {
		panic("metrics.Histogram is called and metrics.Mock.Histogram is not set")
	}
	return Mock.Histogram(name, labels)
}

// Adds to a counter. Of any other metric it does nothing.
func Add(metric uint32, value uint64)  {
	if Mock.Add == nil {
		panic("metrics.Add is called and metrics.Mock.Add is not set")
	}
	Mock.Add(metric, value)
}

// Sets a gauge. Of any other metric it does nothing.
func Set(metric uint32, value float64)  {
	if Mock.Set == nil {
		panic("metrics.Set is called and metrics.Mock.Set is not set")
	}
	Mock.Set(metric, value)
}

// Adds a sample to a histogram. Of any other metric it does nothing.
func Observe(metric uint32, value float64)  {
	if Mock.Observe == nil {
		panic("metrics.Observe is called and metrics.Mock.Observe is not set")
	}
	Mock.Observe(metric, value)
}

