// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Random bytes. Grant: `random = true`.
package random

// Why there are no bytes.
type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// More than 4,096 were asked for.
	ErrorTooMany ErrorKind = iota
	// The operating system returned none, and why.
	ErrorUnavailable
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"too many", "unavailable", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "random: " + name
}

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Bytes func(count uint32) ([]byte, error)
}

// `count` bytes from the operating system's generator, at most 4,096 a call.
func Bytes(count uint32) ([]byte, error) {
	if Mock.Bytes == nil {
		panic("random.Bytes is called and random.Mock.Bytes is not set")
	}
	return Mock.Bytes(count)
}

