// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// The final response; 1xx responses are forwarded unseen. Needs no grant. At hand from `on-response-head` on. A policy
// can edit it there, and in `on-response-body` up to the call in which it lets the first bytes of the body go;
// afterwards edits are refused as `read-only`. In the hooks of the request there is no response: reading gives status
// 0 and no fields, editing is refused as `read-only`.
//
// What the route itself changes (`response-headers`) comes after all edits. A response that has no body
// (`body.is-absent`) is edited in the one call of `on-response-body` that it gets: a field that describes the body,
// such as `etag` or a digest, is for the policy to leave as it is then.
//
// An answer made by the gateway (no route, no upstream, a policy's reply) passes through here like an upstream's.
package response

import (
	"unsafe"
	"portcullis/policy/abi"
	"portcullis/policy/types"
)

//go:wasmimport portcullis:policy/response@0.2.1 status
func importStatus() uint32

// The status code.
func Status() uint16 {
	result := uint16(importStatus())
	return result
}

//go:wasmimport portcullis:policy/response@0.2.1 set-status
func importSetStatus(p0 uint32, p1 unsafe.Pointer) 

// Sets the status. Refuses what is outside 200 to 599 (`invalid-value`), and any change from or to 204, 205 or
// 304, which say that there is no body.
func SetStatus(status uint16) error {
	importSetStatus(uint32(status), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/response@0.2.1 header
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

//go:wasmimport portcullis:policy/response@0.2.1 header-bytes
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

//go:wasmimport portcullis:policy/response@0.2.1 header-values
func importHeaderValues(p0 string, p1 unsafe.Pointer) 

// The value of each line of a field, in order. See `request.header-values`.
func HeaderValues(name string) []string {
	importHeaderValues(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 8, func(p unsafe.Pointer) string { return abi.String(p) })
}

//go:wasmimport portcullis:policy/response@0.2.1 header-values-bytes
func importHeaderValuesBytes(p0 string, p1 unsafe.Pointer) 

// The same as bytes.
func HeaderValuesBytes(name string) [][]byte {
	importHeaderValuesBytes(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 8, func(p unsafe.Pointer) []byte { return abi.Bytes(p) })
}

//go:wasmimport portcullis:policy/response@0.2.1 headers
func importHeaders(p0 unsafe.Pointer) 

// All fields in order, except the hop-by-hop ones. Costs a copy of the whole head.
func Headers() []types.Field {
	importHeaders(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
}

//go:wasmimport portcullis:policy/response@0.2.1 headers-bytes
func importHeadersBytes(p0 unsafe.Pointer) 

// The same as bytes.
func HeadersBytes() []types.FieldBytes {
	importHeadersBytes(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 16, func(p unsafe.Pointer) types.FieldBytes { return types.FieldBytes{Name: abi.String(p), Value: abi.Bytes(abi.Add(p, 8))} })
}

//go:wasmimport portcullis:policy/response@0.2.1 set-header
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

//go:wasmimport portcullis:policy/response@0.2.1 set-header-bytes
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

//go:wasmimport portcullis:policy/response@0.2.1 append-header
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

//go:wasmimport portcullis:policy/response@0.2.1 append-header-bytes
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

//go:wasmimport portcullis:policy/response@0.2.1 remove-header
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

