// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Secrets that the operator named under `[secrets]`. Grant: `secrets = ["name"]`.
package secrets

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Get func(name string) ([]byte, bool)
}

// The secret's bytes. None for a name that was not granted, whether or not there is such a secret.
func Get(name string) ([]byte, bool) {
	if Mock.Get == nil {
		panic("secrets.Get is called and secrets.Mock.Get is not set")
	}
	return Mock.Get(name)
}

