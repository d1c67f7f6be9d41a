// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// The part of a body that is at hand in `on-request-body` and `on-response-body`: what was held back before, and what
// has come since. Needs no grant.
//
// A hook that calls nothing lets it all go on. `pass` and `replace` let some of it go from its front, in order; what
// is left after the hook goes on as well, unless the hook has called `hold` or `collect`. Bytes are only copied by
// `read`.
// In other hooks nothing is at hand: `size` is 0, and what changes something is refused as `read-only`.
package body

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Size func() uint64
	IsLast func() bool
	IsAbsent func() bool
	Read func(offset uint64, size uint64) []byte
	Pass func(size uint64) error
	Replace func(size uint64, bytes []byte) error
	Hold func() error
	Collect func() error
	Finish func() error
}

// Bytes that are at hand and were not let go.
func Size() uint64 {
	if Mock.Size == nil {
		panic("body.Size is called and body.Mock.Size is not set")
	}
	return Mock.Size()
}

// Whether nothing comes after them.
func IsLast() bool {
	if Mock.IsLast == nil {
		panic("body.IsLast is called and body.Mock.IsLast is not set")
	}
	return Mock.IsLast()
}

// Whether the message can have no body: the response to a HEAD request, 204 and 304.
func IsAbsent() bool {
	if Mock.IsAbsent == nil {
		panic("body.IsAbsent is called and body.Mock.IsAbsent is not set")
	}
	return Mock.IsAbsent()
}

// At most `size` of the bytes at hand, from `offset` on.
func Read(offset uint64, size uint64) []byte {
	if Mock.Read == nil {
		panic("body.Read is called and body.Mock.Read is not set")
	}
	return Mock.Read(offset, size)
}

// Lets the first `size` bytes at hand go on, or all that are there.
func Pass(size uint64) error {
	if Mock.Pass == nil {
		panic("body.Pass is called and body.Mock.Pass is not set")
	}
	return Mock.Pass(size)
}

// Lets `bytes` go on in place of the first `size` bytes at hand, or of all that are there. The policy's body limit
// (`limits.body`) is how much a call may put there; more is `too-large`.
func Replace(size uint64, bytes []byte) error {
	if Mock.Replace == nil {
		panic("body.Replace is called and body.Mock.Replace is not set")
	}
	return Mock.Replace(size, bytes)
}

// Keeps what is left, and calls again with it and what came since together: when about as much again has come,
// when nothing came for a moment, or at the end. A body of which more would have to be held than the policy's body
// limit is answered 413, or 502 if it is the response's; this does not count as a fault of the policy. At the end
// there is nothing to wait for, and it has no effect.
func Hold() error {
	if Mock.Hold == nil {
		panic("body.Hold is called and body.Mock.Hold is not set")
	}
	return Mock.Hold()
}

// Keeps what is left, and calls again once, with all of it, at the end. Bounded as `hold` is.
func Collect() error {
	if Mock.Collect == nil {
		panic("body.Collect is called and body.Mock.Collect is not set")
	}
	return Mock.Collect()
}

// Lets what is left and all that follows go by without a further call for this body.
func Finish() error {
	if Mock.Finish == nil {
		panic("body.Finish is called and body.Mock.Finish is not set")
	}
	return Mock.Finish()
}

