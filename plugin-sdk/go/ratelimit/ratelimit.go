// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Rate limits that all workers share exactly. Grant: `rate-limit = true`.
package ratelimit

import (
	"unsafe"
	"portcullis/policy/abi"
)

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

// LoadQuota reads what the gateway wrote. It is for the bindings.
func LoadQuota(p unsafe.Pointer) Quota {
	var value Quota
	value.Requests = abi.U32(abi.Add(p, 0))
	value.PerMs = abi.U64(abi.Add(p, 8))
	value.Burst = abi.U32(abi.Add(p, 16))
	return value
}

// LoadVerdict reads what the gateway wrote. It is for the bindings.
func LoadVerdict(p unsafe.Pointer) Verdict {
	var value Verdict
	value.Allowed = abi.U8(abi.Add(p, 0)) != 0
	value.Remaining = abi.U32(abi.Add(p, 4))
	value.RetryAfterMs = abi.U64(abi.Add(p, 8))
	value.ResetAfterMs = abi.U64(abi.Add(p, 16))
	return value
}

//go:wasmimport portcullis:policy/rate-limit@0.2.1 check
func importCheck(p0 string, p1 uint32, p2 uint64, p3 uint32, p4 uint32, p5 unsafe.Pointer) 

// Takes `cost` from a named bucket by the generic cell rate algorithm (ITU-T I.371). The policy's buckets are its
// own and survive reloads. Their number is bounded: beyond it a new bucket takes the place of the one that is
// closest to full.
func Check(bucket string, quota Quota, cost uint32) Verdict {
	importCheck(bucket, uint32(quota.Requests), quota.PerMs, uint32(quota.Burst), uint32(cost), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return LoadVerdict(p)
}

