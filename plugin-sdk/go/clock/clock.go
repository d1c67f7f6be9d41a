// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Reads clocks. Grant: `clock = true`.
package clock

//go:wasmimport portcullis:policy/clock@0.2.1 now-ms
func importNowMs() uint64

// Milliseconds since 1970-01-01T00:00:00Z. Can jump.
func NowMs() uint64 {
	result := uint64(importNowMs())
	return result
}

//go:wasmimport portcullis:policy/clock@0.2.1 monotonic-us
func importMonotonicUs() uint64

// Microseconds since some fixed moment. Never goes back.
func MonotonicUs() uint64 {
	result := uint64(importMonotonicUs())
	return result
}

