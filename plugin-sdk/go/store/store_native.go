// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// A small key-value store that the policy's instances on all workers share. It survives reloads, not restarts. Grant:
// `store = true`.
package store

type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// The store cannot be reached, and why. A local store never returns this.
	ErrorUnavailable ErrorKind = iota
	// The key is over 1 KiB or the value over 64 KiB.
	ErrorTooLarge
	// The policy's quota of entries or bytes is used up.
	ErrorQuota
	// The value is not a number that `increment` wrote.
	ErrorNotANumber
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"unavailable", "too large", "quota", "not a number", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "store: " + name
}

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Get func(key string) ([]byte, bool, error)
	Set func(key string, value []byte, ttlMs *uint64) error
	CompareAndSet func(key string, expected []byte, value []byte, ttlMs *uint64) (bool, error)
	Increment func(key string, by int64, ttlMs *uint64) (int64, error)
	Delete func(key string) error
	List func(prefix string) ([]string, error)
}

// The value of a key. None if the key is absent or has expired.
func Get(key string) ([]byte, bool, error) {
	if Mock.Get == nil {
		panic("store.Get is called and store.Mock.Get is not set")
	}
	return Mock.Get(key)
}

// Sets a key. Without `ttl-ms` it does not expire.
func Set(key string, value []byte, ttlMs *uint64) error {
	if Mock.Set == nil {
		panic("store.Set is called and store.Mock.Set is not set")
	}
	return Mock.Set(key, value, ttlMs)
}

// Sets a key only if its value is the expected one (none: only if it is absent). Returns false if it was not.
func CompareAndSet(key string, expected []byte, value []byte, ttlMs *uint64) (bool, error) {
	if Mock.CompareAndSet == nil {
		panic("store.CompareAndSet is called and store.Mock.CompareAndSet is not set")
	}
	return Mock.CompareAndSet(key, expected, value, ttlMs)
}

// Adds to a number, from 0 if the key is absent, and returns the sum, which stops at the limits of s64. `ttl-ms`
// counts from the key's first increment. `get` returns the number in decimal digits.
func Increment(key string, by int64, ttlMs *uint64) (int64, error) {
	if Mock.Increment == nil {
		panic("store.Increment is called and store.Mock.Increment is not set")
	}
	return Mock.Increment(key, by, ttlMs)
}

// Removes a key. An absent key is no error.
func Delete(key string) error {
	if Mock.Delete == nil {
		panic("store.Delete is called and store.Mock.Delete is not set")
	}
	return Mock.Delete(key)
}

// The keys that begin with `prefix`, in the order of their bytes; at most the first 1,000.
func List(prefix string) ([]string, error) {
	if Mock.List == nil {
		panic("store.List is called and store.Mock.List is not set")
	}
	return Mock.List(prefix)
}

