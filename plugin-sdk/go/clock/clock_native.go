// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Reads clocks. Grant: `clock = true`.
package clock

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	NowMs func() uint64
	MonotonicUs func() uint64
}

// Milliseconds since 1970-01-01T00:00:00Z. Can jump.
func NowMs() uint64 {
	if Mock.NowMs == nil {
		panic("clock.NowMs is called and clock.Mock.NowMs is not set")
	}
	return Mock.NowMs()
}

// Microseconds since some fixed moment. Never goes back.
func MonotonicUs() uint64 {
	if Mock.MonotonicUs == nil {
		panic("clock.MonotonicUs is called and clock.Mock.MonotonicUs is not set")
	}
	return Mock.MonotonicUs()
}

