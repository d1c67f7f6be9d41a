// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Writes to the gateway's log. Grant: `log = true`.
package log

import (
	"runtime"
	"unsafe"
	"portcullis/policy/abi"
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

//go:wasmimport portcullis:policy/log@0.2.1 log
func importLog(p0 uint32, p1 string, p2 unsafe.Pointer, p3 uint32) 

// Writes one line, marked with the policy, the route and the trace id. Control characters in it are escaped; a
// message over 8 KiB is cut, fields after the 16th are dropped, and past 100 lines a second for each policy and
// worker lines are dropped and counted.
func Log(level Level, message string, fields []types.Field)  {
	list0 := abi.Store(fields, 16, func(p unsafe.Pointer, value types.Field) {
		abi.PutString(abi.Add(p, 0), value.Name)
		abi.PutString(abi.Add(p, 8), value.Value)
	})
	importLog(uint32(level), message, abi.Start(list0), uint32(len(fields)))
	runtime.KeepAlive(list0)
	runtime.KeepAlive(fields)
}

//go:wasmimport portcullis:policy/log@0.2.1 enabled
func importEnabled(p0 uint32) uint32

// Whether a line of that level would be written, so that one which is dear to make need not be made.
func Enabled(level Level) bool {
	result := importEnabled(uint32(level)) != 0
	return result
}

