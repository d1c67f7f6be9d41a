// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Requests of the policy's own to HTTP servers. Grant: `http = ["https://auth.internal/check"]`, which names the
// servers, and perhaps a part of their paths, that it may ask.
//
// A call waits for its response without delaying other exchanges. A policy that imports this runs on fibers, so that
// each of its hooks costs a little more. It may be called in the hooks of an exchange and in `on-tick`, not in
// `configure`. If the client of the exchange goes away, the call is cancelled, except in `on-completed`, whose calls
// are not made for the client.
package httpclient

import (
	"runtime"
	"unsafe"
	"portcullis/policy/abi"
	"portcullis/policy/types"
)

// A request.
type Outbound struct {
	// Any but `CONNECT` and `TRACE`.
	Method string
	// Absolute, with the scheme `http` or `https`, without user name and fragment. Its path is sent in the form
	// that `request.path` has.
	URL string
	// Framing, hop-by-hop fields and Host are the gateway's; it adds no other field.
	Headers []types.Field
	Body []byte
	// What else is wished, by name. One that is not known, is given twice, or has a value that it cannot have is
	// an `invalid-request`. `timeout-ms`: the time for all of it, from the look-up of the name to the last byte of
	// the answer: 1 to 30,000, and 5,000 unless given. More may come.
	Options []types.Field
}

// The same with the values of its fields as bytes.
type OutboundBytes struct {
	Method string
	URL string
	Headers []types.FieldBytes
	Body []byte
	Options []types.Field
}

// The answer, whatever its status. Redirects are not followed.
type Inbound struct {
	Status uint16
	// Without hop-by-hop fields and framing.
	Headers []types.Field
	Body []byte
	// What else is known of it, by name. Nothing yet; more may come.
	Details []types.Field
}

// The same with the values of its fields as bytes.
type InboundBytes struct {
	Status uint16
	Headers []types.FieldBytes
	Body []byte
	Details []types.Field
}

// Why there is no answer.
type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// The method, the URL or a field is not valid, and which.
	ErrorInvalidRequest ErrorKind = iota
	// The call is not permitted, and why: not granted, a private address that was not granted, or not in this
	// hook.
	ErrorNotAllowed
	// The limit of concurrent calls is reached.
	ErrorBusy
	// The timeout has passed.
	ErrorTimeout
	// The connection failed, and why; also if the server's certificate is not trusted.
	ErrorConnect
	// The server broke the protocol or closed the connection before the end, and how.
	ErrorProtocol
	// The answer is larger than the policy's body limit (`limits.body`), or its head is larger than 64 KiB.
	ErrorTooLarge
	// The client of the exchange has gone away, so the response is not needed.
	ErrorClientGone
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"invalid request", "not allowed", "busy", "timeout", "connect", "protocol", "too large", "client gone", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "http-client: " + name
}

// LoadOutbound reads what the gateway wrote. It is for the bindings.
func LoadOutbound(p unsafe.Pointer) Outbound {
	var value Outbound
	value.Method = abi.String(abi.Add(p, 0))
	value.URL = abi.String(abi.Add(p, 8))
	value.Headers = abi.Load(abi.Add(p, 16), 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
	value.Body = abi.Bytes(abi.Add(p, 24))
	value.Options = abi.Load(abi.Add(p, 32), 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
	return value
}

// LoadOutboundBytes reads what the gateway wrote. It is for the bindings.
func LoadOutboundBytes(p unsafe.Pointer) OutboundBytes {
	var value OutboundBytes
	value.Method = abi.String(abi.Add(p, 0))
	value.URL = abi.String(abi.Add(p, 8))
	value.Headers = abi.Load(abi.Add(p, 16), 16, func(p unsafe.Pointer) types.FieldBytes { return types.FieldBytes{Name: abi.String(p), Value: abi.Bytes(abi.Add(p, 8))} })
	value.Body = abi.Bytes(abi.Add(p, 24))
	value.Options = abi.Load(abi.Add(p, 32), 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
	return value
}

// LoadInbound reads what the gateway wrote. It is for the bindings.
func LoadInbound(p unsafe.Pointer) Inbound {
	var value Inbound
	value.Status = abi.U16(abi.Add(p, 0))
	value.Headers = abi.Load(abi.Add(p, 4), 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
	value.Body = abi.Bytes(abi.Add(p, 12))
	value.Details = abi.Load(abi.Add(p, 20), 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
	return value
}

// LoadInboundBytes reads what the gateway wrote. It is for the bindings.
func LoadInboundBytes(p unsafe.Pointer) InboundBytes {
	var value InboundBytes
	value.Status = abi.U16(abi.Add(p, 0))
	value.Headers = abi.Load(abi.Add(p, 4), 16, func(p unsafe.Pointer) types.FieldBytes { return types.FieldBytes{Name: abi.String(p), Value: abi.Bytes(abi.Add(p, 8))} })
	value.Body = abi.Bytes(abi.Add(p, 12))
	value.Details = abi.Load(abi.Add(p, 20), 16, func(p unsafe.Pointer) types.Field { return types.Field{Name: abi.String(p), Value: abi.String(abi.Add(p, 8))} })
	return value
}

// LoadError reads what the gateway wrote. It is for the bindings.
func LoadError(p unsafe.Pointer) Error {
	var value Error
	value.Kind = ErrorKind(abi.U8(p))
	switch value.Kind {
	case ErrorInvalidRequest:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorNotAllowed:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorConnect:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorProtocol:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

//go:wasmimport portcullis:policy/http-client@0.2.1 send
func importSend(p0 string, p1 string, p2 unsafe.Pointer, p3 uint32, p4 unsafe.Pointer, p5 uint32, p6 unsafe.Pointer, p7 uint32, p8 unsafe.Pointer) 

// Sends a request and waits for the answer.
func Send(request Outbound) (Inbound, error) {
	list0 := abi.Store(request.Headers, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	list1 := abi.Store(request.Options, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	importSend(request.Method, request.URL, abi.Start(list0), uint32(len(request.Headers)), abi.Data(request.Body), uint32(len(request.Body)), abi.Start(list1), uint32(len(request.Options)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(request.Headers)
	runtime.KeepAlive(list1)
	runtime.KeepAlive(request.Options)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none Inbound
		return none, LoadError(abi.Add(p, 4))
	}
	return LoadInbound(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/http-client@0.2.1 send-bytes
func importSendBytes(p0 string, p1 string, p2 unsafe.Pointer, p3 uint32, p4 unsafe.Pointer, p5 uint32, p6 unsafe.Pointer, p7 uint32, p8 unsafe.Pointer) 

// The same with the values of all fields as bytes: to pass on what a client or a server has sent.
func SendBytes(request OutboundBytes) (InboundBytes, error) {
	list0 := abi.Store(request.Headers, 16, func(p unsafe.Pointer, value types.FieldBytes) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutBytes(abi.Add(p, 8), value.Value)
	})
	list1 := abi.Store(request.Options, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	importSendBytes(request.Method, request.URL, abi.Start(list0), uint32(len(request.Headers)), abi.Data(request.Body), uint32(len(request.Body)), abi.Start(list1), uint32(len(request.Options)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(request.Headers)
	runtime.KeepAlive(list1)
	runtime.KeepAlive(request.Options)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none InboundBytes
		return none, LoadError(abi.Add(p, 4))
	}
	return LoadInboundBytes(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/http-client@0.2.1 send-all
func importSendAll(p0 unsafe.Pointer, p1 uint32, p2 unsafe.Pointer) 

// Sends several at once, at most 32, and waits for all answers, which come in the order of the requests. Each
// counts as a call of its own: those beyond the limit of concurrent calls are `busy`. If there are more than 32,
// all are refused as an `invalid-request` and none is sent.
func SendAll(requests []Outbound) []types.Result[Inbound] {
	list0 := abi.Store(requests, 40, func(p unsafe.Pointer, value Outbound) {
		abi.PutString(abi.Add(p, 0), value.Method)
		abi.PutString(abi.Add(p, 8), value.URL)
		abi.PutList(abi.Add(p, 16), value.Headers, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
		})
		abi.PutBytes(abi.Add(p, 24), value.Body)
		abi.PutList(abi.Add(p, 32), value.Options, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
		})
	})
	importSendAll(abi.Start(list0), uint32(len(requests)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(requests)
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 32, func(p unsafe.Pointer) types.Result[Inbound] { return func(p unsafe.Pointer) types.Result[Inbound] {
		if abi.U8(p) != 0 {
			return types.Result[Inbound]{Err: LoadError(abi.Add(p, 4))}
		}
		return types.Result[Inbound]{Value: LoadInbound(abi.Add(p, 4))}
	}(p) })
}

//go:wasmimport portcullis:policy/http-client@0.2.1 send-all-bytes
func importSendAllBytes(p0 unsafe.Pointer, p1 uint32, p2 unsafe.Pointer) 

// The same with the values of all fields as bytes.
func SendAllBytes(requests []OutboundBytes) []types.Result[InboundBytes] {
	list0 := abi.Store(requests, 40, func(p unsafe.Pointer, value OutboundBytes) {
		abi.PutString(abi.Add(p, 0), value.Method)
		abi.PutString(abi.Add(p, 8), value.URL)
		abi.PutList(abi.Add(p, 16), value.Headers, 16, func(p unsafe.Pointer, value types.FieldBytes) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutBytes(abi.Add(p, 8), value.Value)
		})
		abi.PutBytes(abi.Add(p, 24), value.Body)
		abi.PutList(abi.Add(p, 32), value.Options, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
		})
	})
	importSendAllBytes(abi.Start(list0), uint32(len(requests)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(requests)
	defer abi.Done()
	p := abi.Ret()
	return abi.Load(p, 32, func(p unsafe.Pointer) types.Result[InboundBytes] { return func(p unsafe.Pointer) types.Result[InboundBytes] {
		if abi.U8(p) != 0 {
			return types.Result[InboundBytes]{Err: LoadError(abi.Add(p, 4))}
		}
		return types.Result[InboundBytes]{Value: LoadInboundBytes(abi.Add(p, 4))}
	}(p) })
}

