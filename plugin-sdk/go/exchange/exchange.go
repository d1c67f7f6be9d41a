// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// What the gateway knows about the exchange, how a policy answers it, and what policies pass to each other. Needs no
// grant.
package exchange

import (
	"runtime"
	"unsafe"
	"portcullis/policy/abi"
	"portcullis/policy/types"
)

//go:wasmimport portcullis:policy/exchange@0.2.1 client-address
func importClientAddress(p0 unsafe.Pointer) 

// The client: the peer of the connection, or what the nearest trusted proxy reports, such as `203.0.113.7` or
// `2001:db8::1` (RFC 5952). IPv4 addresses that arrive mapped into IPv6 are given as IPv4.
func ClientAddress() string {
	importClientAddress(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/exchange@0.2.1 client-address-bytes
func importClientAddressBytes(p0 unsafe.Pointer) 

// The same as the 4 or 16 bytes of the address, in network byte order.
func ClientAddressBytes() []byte {
	importClientAddressBytes(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Bytes(p)
}

//go:wasmimport portcullis:policy/exchange@0.2.1 route
func importRoute(p0 unsafe.Pointer) 

// The name of the route that the request took.
func Route() string {
	importRoute(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/exchange@0.2.1 trace-id
func importTraceId(p0 unsafe.Pointer) 

// 32 hexadecimal digits that name the exchange in every log: those of the client's `traceparent`, else new ones.
func TraceId() string {
	importTraceId(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/exchange@0.2.1 reply
func importReply(p0 uint32, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer, p4 uint32, p5 unsafe.Pointer) 

// Answers the client with this in place of going on. In the hooks of the request the upstream is not asked; in
// those of the response it takes the place of its answer. Possible until the response has begun; the gateway sends
// its head on only when the first bytes of its body are let go, so a policy that holds everything can still
// decide. Later the message is cut off so that it cannot be taken for complete. A second reply takes the place of
// the first; a hook that fails has not replied. In `on-completed` it is `read-only`.
//
// The gateway frames it: Content-Length, Transfer-Encoding, Connection and the like are `forbidden`. Refuses a
// status outside 200 to 599 and invalid fields, and a body over the policy's body limit as `too-large`.
func Reply(status uint16, headers []types.Field, body []byte) error {
	list0 := abi.Store(headers, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	importReply(uint32(status), abi.Start(list0), uint32(len(headers)), abi.Data(body), uint32(len(body)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(headers)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/exchange@0.2.1 reply-bytes
func importReplyBytes(p0 uint32, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer, p4 uint32, p5 unsafe.Pointer) 

// The same with the values of its fields as bytes.
func ReplyBytes(status uint16, headers []types.FieldBytes, body []byte) error {
	list0 := abi.Store(headers, 16, func(p unsafe.Pointer, value types.FieldBytes) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutBytes(abi.Add(p, 8), value.Value)
	})
	importReplyBytes(uint32(status), abi.Start(list0), uint32(len(headers)), abi.Data(body), uint32(len(body)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(headers)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/exchange@0.2.1 attribute
func importAttribute(p0 string, p1 unsafe.Pointer) 

// What a policy of this exchange has set under that name. None if none has.
func Attribute(name string) (string, bool) {
	importAttribute(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/exchange@0.2.1 set-attribute
func importSetAttribute(p0 string, p1 string, p2 unsafe.Pointer) 

// Sets named text for later policies and the access log. All attributes of an exchange together may take 16 KiB;
// more is refused as `too-large`. Allowed in every hook.
func SetAttribute(name string, value string) error {
	importSetAttribute(name, value, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/exchange@0.2.1 state
func importState(p0 unsafe.Pointer) 

// The bytes that this policy last kept with `set-state` in this exchange; empty at first. No other policy sees
// them.
func State() []byte {
	importState(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Bytes(p)
}

//go:wasmimport portcullis:policy/exchange@0.2.1 set-state
func importSetState(p0 unsafe.Pointer, p1 uint32, p2 unsafe.Pointer) 

// Keeps bytes from one hook of the exchange to the next: with `isolation = "worker"` the globals of an instance
// belong to many exchanges. At most 64 KiB; more is refused as `too-large`.
func SetState(value []byte) error {
	importSetState(abi.Data(value), uint32(len(value)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return types.LoadRefused(abi.Add(p, 4))
	}
	return nil
}

