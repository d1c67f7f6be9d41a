// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Rate limits that all workers share exactly. Grant: `rate-limit = true`.
package ratelimit

// How much is allowed: `requests` in every `per-ms` milliseconds, and `burst` beyond that at once. Zero requests
// or milliseconds allow nothing.
type Quota struct {
	Requests uint32
	PerMs uint64
	Burst uint32
}

// The answer for one request.
type Verdict struct {
	Allowed bool
	// How many more would be allowed now.
	Remaining uint32
	// When the next one will be allowed; 0 if it is now.
	RetryAfterMs uint64
	// When the bucket will be full again.
	ResetAfterMs uint64
}

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Check func(bucket string, quota Quota, cost uint32) Verdict
}

// Takes `cost` from a named bucket by the generic cell rate algorithm (ITU-T I.371). The policy's buckets are its
// own and survive reloads. Their number is bounded: beyond it a new bucket takes the place of the one that is
// closest to full.
func Check(bucket string, quota Quota, cost uint32) Verdict {
	if Mock.Check == nil {
		panic("ratelimit.Check is called and ratelimit.Mock.Check is not set")
	}
	return Mock.Check(bucket, quota, cost)
}

