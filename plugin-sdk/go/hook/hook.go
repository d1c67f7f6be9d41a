//go:build wasip1

// Package hook runs the hooks of a policy. It is for the code that `portcullis plugin build` generates.
package hook

import (
	"fmt"
	"runtime/debug"
	"strings"
	"unsafe"

	"portcullis/policy/abi"
)

// The result of the last hook, and the text in it.
var (
	result [3]uint32
	text   string
)

// Run calls a hook and returns where its result lies.
func Run(hook func() error) unsafe.Pointer { return give(guard(hook)) }

// Configure calls the hook of that name with its settings.
func Configure(hook func([]byte) error, settings unsafe.Pointer, size uint32) unsafe.Pointer {
	// What was allocated for them is the policy's from here on.
	given := append([]byte(nil), unsafe.Slice((*byte)(settings), size)...)
	abi.Done()
	return give(guard(func() error { return hook(given) }))
}

// guard makes an error of a panic, with the place where it happened.
func guard(hook func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, trace())
		}
	}()
	return hook()
}

// trace is the stack from the panic on, without what ran the hook.
func trace() string {
	lines := strings.Split(string(debug.Stack()), "\n")
	for at, line := range lines {
		if strings.HasPrefix(line, "panic(") {
			lines = lines[min(at+2, len(lines)):]
			break
		}
	}
	for at, line := range lines {
		if strings.HasPrefix(line, "portcullis/policy/hook.") {
			lines = lines[:at]
			break
		}
	}
	return strings.Join(lines, "\n")
}

func give(err error) unsafe.Pointer {
	result, text = [3]uint32{}, ""
	if err != nil {
		text = err.Error()
		result[0] = 1
		abi.PutString(unsafe.Pointer(&result[1]), text)
	}
	return unsafe.Pointer(&result)
}
