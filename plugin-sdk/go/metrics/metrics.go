// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Counters, gauges and histograms that the gateway exports under the policy's name. Grant: `metrics = true`.
//
// A metric is a plain number, valid in every instance of the policy: making one with the same name and labels gives
// the same number. Names and labels beyond the policy's limit (256 series) give number 0, which counts nothing.
package metrics

import (
	"runtime"
	"unsafe"
	"portcullis/policy/abi"
	"portcullis/policy/types"
)

type Metric = uint32

//go:wasmimport portcullis:policy/metrics@0.2.1 counter
func importCounter(p0 string, p1 unsafe.Pointer, p2 uint32) uint32

// A number that only grows. Refuses nothing: characters outside `[a-zA-Z0-9_]` of a name become `_`.
func Counter(name string, labels []types.Field) uint32 {
	list0 := abi.Store(labels, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	result := uint32(importCounter(name, abi.Start(list0), uint32(len(labels))))
	runtime.KeepAlive(list0)
	runtime.KeepAlive(labels)
	return result
}

//go:wasmimport portcullis:policy/metrics@0.2.1 gauge
func importGauge(p0 string, p1 unsafe.Pointer, p2 uint32) uint32

// A number that goes up and down.
func Gauge(name string, labels []types.Field) uint32 {
	list0 := abi.Store(labels, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	result := uint32(importGauge(name, abi.Start(list0), uint32(len(labels))))
	runtime.KeepAlive(list0)
	runtime.KeepAlive(labels)
	return result
}

//go:wasmimport portcullis:policy/metrics@0.2.1 histogram
func importHistogram(p0 string, p1 unsafe.Pointer, p2 uint32) uint32

// A distribution in buckets of powers of two.
func Histogram(name string, labels []types.Field) uint32 {
	list0 := abi.Store(labels, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	result := uint32(importHistogram(name, abi.Start(list0), uint32(len(labels))))
	runtime.KeepAlive(list0)
	runtime.KeepAlive(labels)
	return result
}

//go:wasmimport portcullis:policy/metrics@0.2.1 add
func importAdd(p0 uint32, p1 uint64) 

// Adds to a counter. Of any other metric it does nothing.
func Add(metric uint32, value uint64)  {
	importAdd(uint32(metric), value)

}

//go:wasmimport portcullis:policy/metrics@0.2.1 set
func importSet(p0 uint32, p1 float64) 

// Sets a gauge. Of any other metric it does nothing.
func Set(metric uint32, value float64)  {
	importSet(uint32(metric), value)

}

//go:wasmimport portcullis:policy/metrics@0.2.1 observe
func importObserve(p0 uint32, p1 float64) 

// Adds a sample to a histogram. Of any other metric it does nothing.
func Observe(metric uint32, value float64)  {
	importObserve(uint32(metric), value)

}

