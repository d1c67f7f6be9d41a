// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// The trailer fields of the message whose body ends: those of chunked bodies of HTTP/1.1 and those of HTTP/2, such as
// `grpc-status`. Needs no grant.
//
// They are at hand in the call of a body hook in which `body.is-last` holds, and can be edited in it, whatever was let
// go before; in `on-completed` they are those that were sent behind the response. In all other calls there are none,
// and edits are refused as `read-only`, as for messages behind which no trailers can be sent: those that have no body
// (`body.is-absent`, 205) and requests for an upgrade. A body that came without trailers can get some. A client of
// HTTP/1.0 gets none, and a policy that called `body.finish` is not called for them.
//
// Fields that may not be trailers (RFC 9110, 6.5.1: framing, routing, authentication, what controls caches and what
// describes the body) never are: those of a peer are dropped, and edits of them are refused as `forbidden`. A client's
// trailers also come without credentials and without what only the gateway may say of the client.
package trailers

import (
	"unsafe"
	"portcullis/policy/abi"
	"portcullis/policy/types"
)

//go:wasmimport portcullis:policy/trailers@0.2.1 header
func importHeader(p0 string, p1 unsafe.Pointer) 

// All values of a field joined by `", "`; none if there is no such field. See `request.header`.
func Header(name string) (string, bool) {
	importHeader(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/trailers@0.2.1 header-bytes
func importHeaderBytes(p0 string, p1 unsafe.Pointer) 

// The same as bytes.
func HeaderBytes(name string) ([]byte, bool) {
	importHeaderBytes(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none []byte
		return none, false
	}
	return abi.Bytes(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/trailers@0.2.1 header-values
func importHeaderValues(p0 string, p1 unsafe.Pointer) 

// The value of each line of a field, in order. See `request.header-values`.
func HeaderValues(name string) []string {
	importHeaderValues(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 8, func(p unsafe.Pointer) string { return abi.String(p) })
}

//go:wasmimport portcullis:policy/trailers@0.2.1 header-values-bytes
func importHeaderValuesBytes(p0 string, p1 unsafe.Pointer) 

// The same as bytes.
func HeaderValuesBytes(name string) [][]byte {
	importHeaderValuesBytes(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 8, func(p unsafe.Pointer) []byte { return abi.Bytes(p) })
}

//go:wasmimport portcullis:policy/trailers@0.2.1 headers
func importHeaders(p0 unsafe.Pointer) 

// All fields in order.
func Headers() []types.Field {
	importHeaders(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
}

//go:wasmimport portcullis:policy/trailers@0.2.1 headers-bytes
func importHeadersBytes(p0 unsafe.Pointer) 

// The same as bytes.
func HeadersBytes() []types.FieldBytes {
	importHeadersBytes(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 16, func(p unsafe.Pointer) types.FieldBytes { return types.FieldBytes{Name: abi.String(p), Value: abi.Bytes(abi.Add(p, 8))} })
}

//go:wasmimport portcullis:policy/trailers@0.2.1 set-header
func importSetHeader(p0 string, p1 string, p2 unsafe.Pointer) 

// Replaces all lines of a field by one.
func SetHeader(name string, value string) error {
	importSetHeader(name, value, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/trailers@0.2.1 set-header-bytes
func importSetHeaderBytes(p0 string, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// The same as bytes.
func SetHeaderBytes(name string, value []byte) error {
	importSetHeaderBytes(name, abi.Data(value), uint32(len(value)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/trailers@0.2.1 append-header
func importAppendHeader(p0 string, p1 string, p2 unsafe.Pointer) 

// Adds a line to a field.
func AppendHeader(name string, value string) error {
	importAppendHeader(name, value, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/trailers@0.2.1 append-header-bytes
func importAppendHeaderBytes(p0 string, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// The same as bytes.
func AppendHeaderBytes(name string, value []byte) error {
	importAppendHeaderBytes(name, abi.Data(value), uint32(len(value)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/trailers@0.2.1 remove-header
func importRemoveHeader(p0 string, p1 unsafe.Pointer) 

// Removes all lines of a field; an absent field is no error.
func RemoveHeader(name string) error {
	importRemoveHeader(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

