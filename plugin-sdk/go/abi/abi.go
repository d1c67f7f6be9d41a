//go:build wasip1

// Package abi passes values between a policy and the gateway, as the canonical ABI of components has it. It is for the
// bindings.
package abi

import "unsafe"

// What the gateway writes comes into chunks of this size, or larger ones.
const chunkSize = 64 << 10

var (
	// The chunk that is in use, and how much of it.
	chunk []byte
	used  uint32
	// Those that were filled while the gateway answered the call at hand: nothing else leads to them yet.
	filled [][]byte
	// Where results are written that are more than a number. Calls do not nest.
	ret [32]uint64
)

// The gateway asks for memory here, for what it gives to the policy. What it wrote is found by the garbage collector as
// any other text or list is.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if size == 0 {
		return unsafe.Pointer(uintptr(align))
	}
	start := (used + align - 1) &^ (align - 1)
	if uint64(start)+uint64(size) > uint64(len(chunk)) {
		filled = append(filled, chunk)
		chunk = make([]byte, max(chunkSize, size))
		start = 0
	}
	used = start + size
	memory := unsafe.Pointer(&chunk[start])
	if oldSize != 0 {
		copy(unsafe.Slice((*byte)(memory), size), unsafe.Slice((*byte)(old), min(oldSize, size)))
	}
	return memory
}

// Ret is where the gateway writes the result of a call.
func Ret() unsafe.Pointer { return unsafe.Pointer(&ret) }

// Done ends a call: what the gateway wrote is held by the results.
func Done() { filled = nil }

// Add is the address some bytes further on.
func Add(p unsafe.Pointer, offset uintptr) unsafe.Pointer { return unsafe.Add(p, offset) }

func U8(p unsafe.Pointer) uint8   { return *(*uint8)(p) }
func U16(p unsafe.Pointer) uint16 { return *(*uint16)(p) }
func U32(p unsafe.Pointer) uint32 { return *(*uint32)(p) }
func U64(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

func PutU32(p unsafe.Pointer, value uint32) { *(*uint32)(p) = value }

func address(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }

func pointer(p unsafe.Pointer) unsafe.Pointer { return unsafe.Pointer(uintptr(U32(p))) }

// Bool is a bool as a number.
func Bool(value bool) uint32 {
	if value {
		return 1
	}
	return 0
}

// String is the text whose address and size lie at p.
func String(p unsafe.Pointer) string {
	size := U32(Add(p, 4))
	if size == 0 {
		return ""
	}
	return unsafe.String((*byte)(pointer(p)), size)
}

// Bytes are those whose address and size lie at p.
func Bytes(p unsafe.Pointer) []byte {
	size := U32(Add(p, 4))
	if size == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(pointer(p)), size)
}

// Load is the list whose address and length lie at p.
func Load[T any](p unsafe.Pointer, size uintptr, load func(unsafe.Pointer) T) []T {
	start, length := pointer(p), uintptr(U32(Add(p, 4)))
	list := make([]T, length)
	for at := range list {
		list[at] = load(Add(start, uintptr(at)*size))
	}
	return list
}

// Option is a value at p that may be absent.
func Option[T any](p unsafe.Pointer, offset uintptr, load func(unsafe.Pointer) T) *T {
	if U8(p) == 0 {
		return nil
	}
	value := load(Add(p, offset))
	return &value
}

// Data is the address of bytes.
func Data(bytes []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(bytes)) }

// Store writes a list, and returns the memory that it is in. That one does not lead to what the values lead to: the
// caller keeps the values alive.
func Store[T any](list []T, size uintptr, store func(unsafe.Pointer, T)) []uint64 {
	memory := make([]uint64, (uintptr(len(list))*size+7)/8)
	for at, value := range list {
		store(Add(Start(memory), uintptr(at)*size), value)
	}
	return memory
}

// Start is the address of a list that was written.
func Start(memory []uint64) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(memory)) }

// Lists in lists, until the next call.
var inner [][]uint64

// PutList writes a list, and at p its address and length.
func PutList[T any](p unsafe.Pointer, list []T, size uintptr, store func(unsafe.Pointer, T)) {
	memory := Store(list, size, store)
	if len(inner) > 1<<10 {
		inner = nil
	}
	inner = append(inner, memory)
	PutU32(p, address(Start(memory)))
	PutU32(Add(p, 4), uint32(len(list)))
}

// PutString writes the address and the size of a text.
func PutString(p unsafe.Pointer, text string) {
	PutU32(p, address(unsafe.Pointer(unsafe.StringData(text))))
	PutU32(Add(p, 4), uint32(len(text)))
}

// PutBytes writes the address and the size of bytes.
func PutBytes(p unsafe.Pointer, bytes []byte) {
	PutU32(p, address(Data(bytes)))
	PutU32(Add(p, 4), uint32(len(bytes)))
}
