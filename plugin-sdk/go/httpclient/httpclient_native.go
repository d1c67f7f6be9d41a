// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Requests of the policy's own to HTTP servers. Grant: `http = ["https://auth.internal/check"]`, which names the
// servers, and perhaps a part of their paths, that it may ask.
//
// A call waits for its response without delaying other exchanges. A policy that imports this runs on fibers, so that
// each of its hooks costs a little more. It may be called in the hooks of an exchange and in `on-tick`, not in
// `configure`. If the client of the exchange goes away, the call is cancelled, except in `on-completed`, whose calls
// are not made for the client.
package httpclient

import (
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

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Send func(request Outbound) (Inbound, error)
	SendBytes func(request OutboundBytes) (InboundBytes, error)
	SendAll func(requests []Outbound) []types.Result[Inbound]
	SendAllBytes func(requests []OutboundBytes) []types.Result[InboundBytes]
}

// Sends a request and waits for the answer.
func Send(request Outbound) (Inbound, error) {
	if Mock.Send == nil {
		panic("httpclient.Send is called and httpclient.Mock.Send is not set")
	}
	return Mock.Send(request)
}

// The same with the values of all fields as bytes: to pass on what a client or a server has sent.
func SendBytes(request OutboundBytes) (InboundBytes, error) {
	if Mock.SendBytes == nil {
		panic("httpclient.SendBytes is called and httpclient.Mock.SendBytes is not set")
	}
	return Mock.SendBytes(request)
}

// Sends several at once, at most 32, and waits for all answers, which come in the order of the requests. Each
// counts as a call of its own: those beyond the limit of concurrent calls are `busy`. If there are more than 32,
// all are refused as an `invalid-request` and none is sent.
func SendAll(requests []Outbound) []types.Result[Inbound] {
	if Mock.SendAll == nil {
		panic("httpclient.SendAll is called and httpclient.Mock.SendAll is not set")
	}
	return Mock.SendAll(requests)
}

// The same with the values of all fields as bytes.
func SendAllBytes(requests []OutboundBytes) []types.Result[InboundBytes] {
	if Mock.SendAllBytes == nil {
		panic("httpclient.SendAllBytes is called and httpclient.Mock.SendAllBytes is not set")
	}
	return Mock.SendAllBytes(requests)
}

