// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// The request. Needs no grant. At hand in every hook of an exchange. A policy can edit it in `on-request-head`, and in
// `on-request-body` up to the call in which it lets the first bytes of the body go; afterwards edits are refused as
// `read-only`. An edit in `on-request-body` counts as one in `on-request-head` does, for the choice of the upstream
// too, but policies behind it in `use` were called for the head already: they see it in their own hook of the body.
//
// What is read here is what was matched and what will be forwarded: the path is normalised once, before routing. What
// the route itself changes (`rewrite`, `request-headers`) comes after all edits.
package request

import (
	"unsafe"
	"portcullis/policy/abi"
	"portcullis/policy/types"
)

//go:wasmimport portcullis:policy/request@0.2.1 method
func importMethod(p0 unsafe.Pointer) 

// The method, such as `GET`. Methods are case-sensitive.
func Method() string {
	importMethod(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/request@0.2.1 set-method
func importSetMethod(p0 string, p1 unsafe.Pointer) 

// Sets the method. Refuses what is not a token, and `CONNECT` (`invalid-value`).
func SetMethod(method string) error {
	importSetMethod(method, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/request@0.2.1 scheme
func importScheme(p0 unsafe.Pointer) 

// `http` or `https`: how the client reached the gateway, or how a trusted proxy says it did.
func Scheme() string {
	importScheme(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/request@0.2.1 authority
func importAuthority(p0 unsafe.Pointer) 

// Host and port as the client wrote them (`Host` or `:authority`); the port is absent if the client left it out.
// Empty only for an HTTP/1.0 request without `Host`.
func Authority() string {
	importAuthority(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/request@0.2.1 set-authority
func importSetAuthority(p0 string, p1 unsafe.Pointer) 

// Sets the authority that is forwarded if the upstream's `host` setting is `preserve`. It does not change the
// route. Refuses anything but a host and a port.
func SetAuthority(authority string) error {
	importSetAuthority(authority, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/request@0.2.1 path
func importPath(p0 unsafe.Pointer) 

// The path without its query: normalised, percent-encoding kept, beginning with `/` (`*` for `OPTIONS *`).
func Path() string {
	importPath(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/request@0.2.1 query
func importQuery(p0 unsafe.Pointer) 

// The query without its `?`, as the client wrote it. None if there is no `?`; empty if nothing follows it.
func Query() (string, bool) {
	importQuery(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/request@0.2.1 set-path-and-query
func importSetPathAndQuery(p0 string, p1 unsafe.Pointer) 

// Sets path and query (`/path?query`). It is normalised as a client's is, and does not change the route. Refuses
// anything but an absolute path.
func SetPathAndQuery(value string) error {
	importSetPathAndQuery(value, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/request@0.2.1 set-upstream
func importSetUpstream(p0 string, p1 unsafe.Pointer) 

// Chooses one of the upstreams that the route lists in `to`. Refuses any other (`invalid-value`).
func SetUpstream(name string) error {
	importSetUpstream(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/request@0.2.1 set-endpoint-key
func importSetEndpointKey(p0 string, p1 unsafe.Pointer) 

// Requests of the same key go to the same endpoint of the upstream for as long as it is there and in health,
// whatever the upstream's `balance` says. If it is not, its keys are spread over the others, and come back with
// it. A retry goes to another endpoint. At most 1 KiB; more is refused as `too-large`.
func SetEndpointKey(key string) error {
	importSetEndpointKey(key, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/request@0.2.1 set-endpoint-key-bytes
func importSetEndpointKeyBytes(p0 unsafe.Pointer, p1 uint32, p2 unsafe.Pointer) 

// The same as bytes.
func SetEndpointKeyBytes(key []byte) error {
	importSetEndpointKeyBytes(abi.Data(key), uint32(len(key)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/request@0.2.1 header
func importHeader(p0 string, p1 unsafe.Pointer) 

// All values of a field joined by `", "` (RFC 9110, 5.3), those of `Cookie` by `"; "`. The name is compared
// without case. None if there is no such field. Bytes that are not UTF-8 become U+FFFD. Costs one copy of the
// value. A policy that admits or refuses by the value of one line must use `header-values`: a client may send
// several lines, and each is only a part of the joined text.
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

//go:wasmimport portcullis:policy/request@0.2.1 header-bytes
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

//go:wasmimport portcullis:policy/request@0.2.1 header-values
func importHeaderValues(p0 string, p1 unsafe.Pointer) 

// The value of each line of a field, in order. Empty if there is no such field. Bytes that are not UTF-8 become
// U+FFFD: what is compared with a secret is read by `header-values-bytes`.
func HeaderValues(name string) []string {
	importHeaderValues(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 8, func(p unsafe.Pointer) string { return abi.String(p) })
}

//go:wasmimport portcullis:policy/request@0.2.1 header-values-bytes
func importHeaderValuesBytes(p0 string, p1 unsafe.Pointer) 

// The same as bytes.
func HeaderValuesBytes(name string) [][]byte {
	importHeaderValuesBytes(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 8, func(p unsafe.Pointer) []byte { return abi.Bytes(p) })
}

//go:wasmimport portcullis:policy/request@0.2.1 headers
func importHeaders(p0 unsafe.Pointer) 

// All fields in order, except `Host` and the hop-by-hop fields. Costs a copy of the whole head: prefer `header`.
func Headers() []types.Field {
	importHeaders(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
}

//go:wasmimport portcullis:policy/request@0.2.1 headers-bytes
func importHeadersBytes(p0 unsafe.Pointer) 

// The same as bytes.
func HeadersBytes() []types.FieldBytes {
	importHeadersBytes(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 16, func(p unsafe.Pointer) types.FieldBytes { return types.FieldBytes{Name: abi.String(p), Value: abi.Bytes(abi.Add(p, 8))} })
}

//go:wasmimport portcullis:policy/request@0.2.1 set-header
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

//go:wasmimport portcullis:policy/request@0.2.1 set-header-bytes
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

//go:wasmimport portcullis:policy/request@0.2.1 append-header
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

//go:wasmimport portcullis:policy/request@0.2.1 append-header-bytes
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

//go:wasmimport portcullis:policy/request@0.2.1 remove-header
func importRemoveHeader(p0 string, p1 unsafe.Pointer) 

// Removes all lines of a field. An absent field is no error; in a hook that cannot edit the request it is
// `read-only`.
func RemoveHeader(name string) error {
	importRemoveHeader(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

