// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// What the gateway knows about the exchange, how a policy answers it, and what policies pass to each other. Needs no
// grant.
package exchange

import (
	"portcullis/policy/types"
)

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	ClientAddress func() string
	ClientAddressBytes func() []byte
	Route func() string
	TraceId func() string
	Reply func(status uint16, headers []types.Field, body []byte) error
	ReplyBytes func(status uint16, headers []types.FieldBytes, body []byte) error
	Attribute func(name string) (string, bool)
	SetAttribute func(name string, value string) error
	State func() []byte
	SetState func(value []byte) error
}

// The client: the peer of the connection, or what the nearest trusted proxy reports, such as `203.0.113.7` or
// `2001:db8::1` (RFC 5952). IPv4 addresses that arrive mapped into IPv6 are given as IPv4.
func ClientAddress() string {
	if Mock.ClientAddress == nil {
		panic("exchange.ClientAddress is called and exchange.Mock.ClientAddress is not set")
	}
	return Mock.ClientAddress()
}

// The same as the 4 or 16 bytes of the address, in network byte order.
func ClientAddressBytes() []byte {
	if Mock.ClientAddressBytes == nil {
		panic("exchange.ClientAddressBytes is called and exchange.Mock.ClientAddressBytes is not set")
	}
	return Mock.ClientAddressBytes()
}

// The name of the route that the request took.
func Route() string {
	if Mock.Route == nil {
		panic("exchange.Route is called and exchange.Mock.Route is not set")
	}
	return Mock.Route()
}

// 32 hexadecimal digits that name the exchange in every log: those of the client's `traceparent`, else new ones.
func TraceId() string {
	if Mock.TraceId == nil {
		panic("exchange.TraceId is called and exchange.Mock.TraceId is not set")
	}
	return Mock.TraceId()
}

// Answers the client with this in place of going on. In the hooks of the request the upstream is not asked; in
// those of the response it takes the place of its answer. Possible until the response has begun; the gateway sends
// its head on only when the first bytes of its body are let go, so a policy that holds everything can still
// decide. Later the message is cut off so that it cannot be taken for complete. A second reply takes the place of
// the first; a hook that fails has not replied. In `on-completed` it is `read-only`.
//
// The gateway frames it: Content-Length, Transfer-Encoding, Connection and the like are `forbidden`. Refuses a
// status outside 200 to 599 and invalid fields, and a body over the policy's body limit as `too-large`.
func Reply(status uint16, headers []types.Field, body []byte) error {
	if Mock.Reply == nil {
		panic("exchange.Reply is called and exchange.Mock.Reply is not set")
	}
	return Mock.Reply(status, headers, body)
}

// The same with the values of its fields as bytes.
func ReplyBytes(status uint16, headers []types.FieldBytes, body []byte) error {
	if Mock.ReplyBytes == nil {
		panic("exchange.ReplyBytes is called and exchange.Mock.ReplyBytes is not set")
	}
	return Mock.ReplyBytes(status, headers, body)
}

// What a policy of this exchange has set under that name. None if none has.
func Attribute(name string) (string, bool) {
	if Mock.Attribute == nil {
		panic("exchange.Attribute is called and exchange.Mock.Attribute is not set")
	}
	return Mock.Attribute(name)
}

// Sets named text for later policies and the access log. All attributes of an exchange together may take 16 KiB;
// more is refused as `too-large`. Allowed in every hook.
func SetAttribute(name string, value string) error {
	if Mock.SetAttribute == nil {
		panic("exchange.SetAttribute is called and exchange.Mock.SetAttribute is not set")
	}
	return Mock.SetAttribute(name, value)
}

// The bytes that this policy last kept with `set-state` in this exchange; empty at first. No other policy sees
// them.
func State() []byte {
	if Mock.State == nil {
		panic("exchange.State is called and exchange.Mock.State is not set")
	}
	return Mock.State()
}

// Keeps bytes from one hook of the exchange to the next: with `isolation = "worker"` the globals of an instance
// belong to many exchanges. At most 64 KiB; more is refused as `too-large`.
func SetState(value []byte) error {
	if Mock.SetState == nil {
		panic("exchange.SetState is called and exchange.Mock.SetState is not set")
	}
	return Mock.SetState(value)
}

