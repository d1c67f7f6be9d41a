// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// How the exchange ended. At hand in `on-completed`; before, numbers are 0 and texts none. Needs no grant.
package outcome

import (
	"unsafe"
	"portcullis/policy/abi"
)

//go:wasmimport portcullis:policy/outcome@0.2.1 status
func importStatus() uint32

// The status that the client got; 0 if it got none.
func Status() uint16 {
	result := uint16(importStatus())
	return result
}

//go:wasmimport portcullis:policy/outcome@0.2.1 request-bytes
func importRequestBytes() uint64

// Bytes of the request's body that were received.
func RequestBytes() uint64 {
	result := uint64(importRequestBytes())
	return result
}

//go:wasmimport portcullis:policy/outcome@0.2.1 response-bytes
func importResponseBytes() uint64

// Bytes of the response's body that were sent.
func ResponseBytes() uint64 {
	result := uint64(importResponseBytes())
	return result
}

//go:wasmimport portcullis:policy/outcome@0.2.1 duration-us
func importDurationUs() uint64

// From the request's head to the response's last byte.
func DurationUs() uint64 {
	result := uint64(importDurationUs())
	return result
}

//go:wasmimport portcullis:policy/outcome@0.2.1 endpoint
func importEndpoint(p0 unsafe.Pointer) 

// The endpoint that answered, as `host:port`. None if there was none.
func Endpoint() (string, bool) {
	importEndpoint(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/outcome@0.2.1 error
func importError(p0 unsafe.Pointer) 

// What went wrong, in words. None if nothing went wrong.
func Error() (string, bool) {
	importError(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

