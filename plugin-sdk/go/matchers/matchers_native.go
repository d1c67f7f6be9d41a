// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Sets of patterns and of networks that are compiled once, and a reader of JSON, as native code. Grant:
// `matchers = true`.
//
// A set is a plain number, valid in every instance of the policy for as long as its configuration runs. Sets are made
// in `configure` and `on-tick`, when no exchange waits for it. Making the same set again gives the same number, also
// if something else was put in its place since: an instance that is configured later finds what `on-tick` has renewed.
// So two sets that are to be replaced apart must be made from different text. A policy has at most 64 sets of each
// kind, and they may take 32 MiB of each kind.
package matchers

type RegexSet = uint32

type NetworkSet = uint32

// Why a set was not made.
type MakeError struct {
	Kind MakeErrorKind
	Text string
}

// MakeErrorKind is which case of a MakeError it is.
type MakeErrorKind uint8

const (
	// This is a hook of an exchange.
	MakeErrorNotNow MakeErrorKind = iota
	// A pattern or a network cannot be read: which, and why.
	MakeErrorMalformed
	// The patterns are over 1 MiB, written or compiled.
	MakeErrorTooLarge
	// The policy has reached its limit of sets or of their memory.
	MakeErrorTooMany
	// There is no set of that number to replace.
	MakeErrorNoSet
	// Anything else, and what.
	MakeErrorOther
)

func (e MakeError) Error() string {
	name := "unknown"
	if names := [...]string{"not now", "malformed", "too large", "too many", "no set", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "matchers: " + name
}

// Why nothing was looked up.
type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// There is no set of that number.
	ErrorNoSet ErrorKind = iota
	// The text is over 1 MiB.
	ErrorTooLarge
	// Matching took 5 ms, which only patterns with large counted repetitions take. Write them more simply.
	ErrorTooCostly
	// This is no address.
	ErrorInvalidAddress
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"no set", "too large", "too costly", "invalid address", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "matchers: " + name
}

// A value of a JSON document.
type JSONValue struct {
	Kind JSONValueKind
	Text string
	Bool bool
}

// JSONValueKind is which case of a JSONValue it is.
type JSONValueKind uint8

const (
	JSONValueNull JSONValueKind = iota
	JSONValueBoolean
	// A number as it is written.
	JSONValueNumber
	// A string.
	JSONValueText
	// An array, as it is written.
	JSONValueItems
	// An object, as it is written.
	JSONValueMembers
)

// Why a document was not read.
type JSONError struct {
	Kind JSONErrorKind
	Text string
}

// JSONErrorKind is which case of a JSONError it is.
type JSONErrorKind uint8

const (
	// It is not JSON, or a member on the path of a pointer is in it twice, so that other software could read
	// another value.
	JSONErrorMalformed JSONErrorKind = iota
	// This is not a JSON pointer.
	JSONErrorInvalidPointer
	// The document is over 1 MiB, there are more than 64 pointers, one is over 4 KiB or leads more than 32 levels
	// down, or the values are over 1 MiB together.
	JSONErrorTooLarge
	// Anything else, and what.
	JSONErrorOther
)

func (e JSONError) Error() string {
	name := "unknown"
	if names := [...]string{"malformed", "invalid pointer", "too large", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "matchers: " + name
}

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	MakeRegexSet func(patterns []string) (uint32, error)
	ReplaceRegexSet func(set uint32, patterns []string) error
	ForgetRegexSet func(set uint32) 
	IsMatch func(set uint32, text []byte) (bool, error)
	Matches func(set uint32, text []byte) ([]uint32, error)
	MakeNetworkSet func(networks string) (uint32, error)
	ReplaceNetworkSet func(set uint32, networks string) error
	ForgetNetworkSet func(set uint32) 
	FindNetwork func(set uint32, address string) (uint32, bool, error)
	FindClient func(set uint32) (uint32, bool, error)
	ReadJSON func(document []byte, pointers []string) ([]*JSONValue, error)
}

// Compiles patterns, so that a text is compared with all of them at once in a time that grows with the text alone.
// The syntax is that of the crate `regex` for Rust, without look-around and back-references. They match bytes:
// `.` is one byte, and `\w`, `\b` and `(?i)` know ASCII. A pattern matches anywhere unless it is anchored.
func MakeRegexSet(patterns []string) (uint32, error) {
	if Mock.MakeRegexSet == nil {
		panic("matchers.MakeRegexSet is called and matchers.Mock.MakeRegexSet is not set")
	}
	return Mock.MakeRegexSet(patterns)
}

// Puts other patterns in the place of a set's: the number stays, and every instance on every worker matches with
// the new ones from then on. This is how `on-tick` renews what `configure` made.
func ReplaceRegexSet(set uint32, patterns []string) error {
	if Mock.ReplaceRegexSet == nil {
		panic("matchers.ReplaceRegexSet is called and matchers.Mock.ReplaceRegexSet is not set")
	}
	return Mock.ReplaceRegexSet(set, patterns)
}

// Forgets a set, whose number no other gets, and gives its memory back. One that is absent is no error. An
// instance that still uses the number gets `no-set`: pass the new number on through `store` before.
func ForgetRegexSet(set uint32)  {
	if Mock.ForgetRegexSet == nil {
		panic("matchers.ForgetRegexSet is called and matchers.Mock.ForgetRegexSet is not set")
	}
	Mock.ForgetRegexSet(set)
}

// Whether any of the patterns matches.
func IsMatch(set uint32, text []byte) (bool, error) {
	if Mock.IsMatch == nil {
		panic("matchers.IsMatch is called and matchers.Mock.IsMatch is not set")
	}
	return Mock.IsMatch(set, text)
}

// Which patterns match, by their places in the list that the set was made of, in order.
func Matches(set uint32, text []byte) ([]uint32, error) {
	if Mock.Matches == nil {
		panic("matchers.Matches is called and matchers.Mock.Matches is not set")
	}
	return Mock.Matches(set, text)
}

// Makes a set of networks: one on each line, such as `10.0.0.0/8` or `2001:db8::1`. Blank lines, and what follows
// a `#`, do not count. Fit for hundreds of thousands.
func MakeNetworkSet(networks string) (uint32, error) {
	if Mock.MakeNetworkSet == nil {
		panic("matchers.MakeNetworkSet is called and matchers.Mock.MakeNetworkSet is not set")
	}
	return Mock.MakeNetworkSet(networks)
}

// Puts other networks in the place of a set's; see `replace-regex-set`.
func ReplaceNetworkSet(set uint32, networks string) error {
	if Mock.ReplaceNetworkSet == nil {
		panic("matchers.ReplaceNetworkSet is called and matchers.Mock.ReplaceNetworkSet is not set")
	}
	return Mock.ReplaceNetworkSet(set, networks)
}

// Forgets a set; see `forget-regex-set`.
func ForgetNetworkSet(set uint32)  {
	if Mock.ForgetNetworkSet == nil {
		panic("matchers.ForgetNetworkSet is called and matchers.Mock.ForgetNetworkSet is not set")
	}
	Mock.ForgetNetworkSet(set)
}

// The smallest network that contains the address, by its place among the networks of the text, from 0. None if no
// network does. IPv4 addresses that are mapped into IPv6 are looked up as IPv4.
func FindNetwork(set uint32, address string) (uint32, bool, error) {
	if Mock.FindNetwork == nil {
		panic("matchers.FindNetwork is called and matchers.Mock.FindNetwork is not set")
	}
	return Mock.FindNetwork(set, address)
}

// The same for the client of the exchange at hand, without which the call traps.
func FindClient(set uint32) (uint32, bool, error) {
	if Mock.FindClient == nil {
		panic("matchers.FindClient is called and matchers.Mock.FindClient is not set")
	}
	return Mock.FindClient(set)
}

// Reads values of a JSON document by JSON pointers (RFC 6901), in their order. None if there is no such value.
func ReadJSON(document []byte, pointers []string) ([]*JSONValue, error) {
	if Mock.ReadJSON == nil {
		panic("matchers.ReadJSON is called and matchers.Mock.ReadJSON is not set")
	}
	return Mock.ReadJSON(document, pointers)
}

