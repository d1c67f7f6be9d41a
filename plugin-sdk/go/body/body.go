// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// The part of a body that is at hand in `on-request-body` and `on-response-body`: what was held back before, and what
// has come since. Needs no grant.
//
// A hook that calls nothing lets it all go on. `pass` and `replace` let some of it go from its front, in order; what
// is left after the hook goes on as well, unless the hook has called `hold` or `collect`. Bytes are only copied by
// `read`.
// In other hooks nothing is at hand: `size` is 0, and what changes something is refused as `read-only`.
package body

import (
	"unsafe"
	"portcullis/policy/abi"
	"portcullis/policy/types"
)

//go:wasmimport portcullis:policy/body@0.2.1 size
func importSize() uint64

// Bytes that are at hand and were not let go.
func Size() uint64 {
	result := uint64(importSize())
	return result
}

//go:wasmimport portcullis:policy/body@0.2.1 is-last
func importIsLast() uint32

// Whether nothing comes after them.
func IsLast() bool {
	result := importIsLast() != 0
	return result
}

//go:wasmimport portcullis:policy/body@0.2.1 is-absent
func importIsAbsent() uint32

// Whether the message can have no body: the response to a HEAD request, 204 and 304.
func IsAbsent() bool {
	result := importIsAbsent() != 0
	return result
}

//go:wasmimport portcullis:policy/body@0.2.1 read
func importRead(p0 uint64, p1 uint64, p2 unsafe.Pointer) 

// At most `size` of the bytes at hand, from `offset` on.
func Read(offset uint64, size uint64) []byte {
	importRead(offset, size, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Bytes(p)
}

//go:wasmimport portcullis:policy/body@0.2.1 pass
func importPass(p0 uint64, p1 unsafe.Pointer) 

// Lets the first `size` bytes at hand go on, or all that are there.
func Pass(size uint64) error {
	importPass(size, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/body@0.2.1 replace
func importReplace(p0 uint64, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// Lets `bytes` go on in place of the first `size` bytes at hand, or of all that are there. The policy's body limit
// (`limits.body`) is how much a call may put there; more is `too-large`.
func Replace(size uint64, bytes []byte) error {
	importReplace(size, abi.Data(bytes), uint32(len(bytes)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/body@0.2.1 hold
func importHold(p0 unsafe.Pointer) 

// Keeps what is left, and calls again with it and what came since together: when about as much again has come,
// when nothing came for a moment, or at the end. A body of which more would have to be held than the policy's body
// limit is answered 413, or 502 if it is the response's; this does not count as a fault of the policy. At the end
// there is nothing to wait for, and it has no effect.
func Hold() error {
	importHold(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/body@0.2.1 collect
func importCollect(p0 unsafe.Pointer) 

// Keeps what is left, and calls again once, with all of it, at the end. Bounded as `hold` is.
func Collect() error {
	importCollect(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/body@0.2.1 finish
func importFinish(p0 unsafe.Pointer) 

// Lets what is left and all that follows go by without a further call for this body.
func Finish() error {
	importFinish(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

