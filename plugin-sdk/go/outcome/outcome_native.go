// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// How the exchange ended. At hand in `on-completed`; before, numbers are 0 and texts none. Needs no grant.
package outcome

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Status func() uint16
	RequestBytes func() uint64
	ResponseBytes func() uint64
	DurationUs func() uint64
	Endpoint func() (string, bool)
	Error func() (string, bool)
}

// The status that the client got; 0 if it got none.
func Status() uint16 {
	if Mock.Status == nil {
		panic("outcome.Status is called and outcome.Mock.Status is not set")
	}
	return Mock.Status()
}

// Bytes of the request's body that were received.
func RequestBytes() uint64 {
	if Mock.RequestBytes == nil {
		panic("outcome.RequestBytes is called and outcome.Mock.RequestBytes is not set")
	}
	return Mock.RequestBytes()
}

// Bytes of the response's body that were sent.
func ResponseBytes() uint64 {
	if Mock.ResponseBytes == nil {
		panic("outcome.ResponseBytes is called and outcome.Mock.ResponseBytes is not set")
	}
	return Mock.ResponseBytes()
}

// From the request's head to the response's last byte.
func DurationUs() uint64 {
	if Mock.DurationUs == nil {
		panic("outcome.DurationUs is called and outcome.Mock.DurationUs is not set")
	}
	return Mock.DurationUs()
}

// The endpoint that answered, as `host:port`. None if there was none.
func Endpoint() (string, bool) {
	if Mock.Endpoint == nil {
		panic("outcome.Endpoint is called and outcome.Mock.Endpoint is not set")
	}
	return Mock.Endpoint()
}

// What went wrong, in words. None if nothing went wrong.
func Error() (string, bool) {
	if Mock.Error == nil {
		panic("outcome.Error is called and outcome.Mock.Error is not set")
	}
	return Mock.Error()
}

