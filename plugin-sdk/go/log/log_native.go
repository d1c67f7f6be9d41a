// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Writes to the gateway's log. Grant: `log = true`.
package log

import (
	"portcullis/policy/types"
)

type Level uint8

const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Log func(level Level, message string, fields []types.Field) 
	Enabled func(level Level) bool
}

// Writes one line, marked with the policy, the route and the trace id. Control characters in it are escaped; a
// message over 8 KiB is cut, fields after the 16th are dropped, and past 100 lines a second for each policy and
// worker lines are dropped and counted.
func Log(level Level, message string, fields []types.Field)  {
	if Mock.Log == nil {
		panic("log.Log is called and log.Mock.Log is not set")
	}
	Mock.Log(level, message, fields)
}

// Whether a line of that level would be written, so that one which is dear to make need not be made.
func Enabled(level Level) bool {
	if Mock.Enabled == nil {
		panic("log.Enabled is called and log.Mock.Enabled is not set")
	}
	return Mock.Enabled(level)
}

