// A plugin in Go. What C calls is exported; the tables that it wants static are in plugin.c.
// Build it with
//
//	CGO_CFLAGS="-I$(npx busbar include)" go build -buildmode=c-shared -o libgeometry.so .
//
// A process can have one runtime of Go, and it never leaves: see README.md for how to load this.
package main

/*
#include "types.h"
*/
import "C"

import (
	"fmt"
	"math"
	"unsafe"
)

const (
	methodLength = iota
	methodMix
	methodChecksum
)

// What fails is told by a status and a text.
type failure struct {
	status C.busbar_status
	text   string
}

func (f failure) Error() string { return f.text }

func length(point *C.geometry_Point) C.geometry_LengthResult {
	return C.geometry_LengthResult{value0: C.double(math.Hypot(float64(point.x), float64(point.y)))}
}

func mix(of *C.geometry_MixArguments) (C.geometry_Point, error) {
	if !(of.share >= 0 && of.share <= 1) {
		return C.geometry_Point{}, failure{C.BUSBAR_E_INVALID, "share is 0 to 1"}
	}
	return C.geometry_Point{
		x: of.a.x + (of.b.x-of.a.x)*of.share,
		y: of.a.y + (of.b.y-of.a.y)*of.share,
	}, nil
}

func checksum(bytes []byte) uint32 {
	sum := uint32(0x811c9dc5)
	for _, one := range bytes {
		sum = (sum ^ uint32(one)) * 0x01000193
	}
	return sum
}

// take copies an argument: archives are as long as their type, and may lie at any address.
func take[T any](in []byte) (*T, error) {
	var value T
	if len(in) != int(unsafe.Sizeof(value)) {
		return nil, failure{C.BUSBAR_E_SCHEMA_MISMATCH, "this is no argument of mine"}
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&value)), unsafe.Sizeof(value)), in)
	return &value, nil
}

func give[T any](out *C.busbar_buf, value T) C.busbar_status {
	size := unsafe.Sizeof(value)
	out.len = C.size_t(size)
	if uintptr(out.cap) < size {
		return C.BUSBAR_E_BUFFER_TOO_SMALL
	}
	room := unsafe.Slice((*byte)(unsafe.Pointer(out.ptr)), size)
	copy(room, unsafe.Slice((*byte)(unsafe.Pointer(&value)), size))
	return C.BUSBAR_OK
}

func run(method uint32, in []byte, out *C.busbar_buf) (C.busbar_status, error) {
	switch method {
	case methodLength:
		point, err := take[C.geometry_Point](in)
		if err != nil {
			return 0, err
		}
		return give(out, length(point)), nil
	case methodMix:
		of, err := take[C.geometry_MixArguments](in)
		if err != nil {
			return 0, err
		}
		mixed, err := mix(of)
		if err != nil {
			return 0, err
		}
		return give(out, mixed), nil
	case methodChecksum:
		return give(out, checksum(in)), nil
	default:
		return C.BUSBAR_E_UNSUPPORTED, nil
	}
}

// The text for C stays the caller's: it is as long as says what is returned, 256 bytes at most.
//
//export geometryCall
func geometryCall(
	method C.uint32_t, ptr *C.uint8_t, size C.size_t, out *C.busbar_buf, why *C.busbar_buf,
) (status C.busbar_status) {
	// A panic would end the process.
	defer func() {
		if reason := recover(); reason != nil {
			status = tell(why, failure{C.BUSBAR_E_PANIC, fmt.Sprint(reason)})
		}
	}()
	in := unsafe.Slice((*byte)(unsafe.Pointer(ptr)), size)
	status, err := run(uint32(method), in, out)
	if err != nil {
		return tell(why, err)
	}
	return status
}

func tell(why *C.busbar_buf, err error) C.busbar_status {
	room := unsafe.Slice((*byte)(unsafe.Pointer(why.ptr)), why.cap)
	why.len = C.size_t(copy(room, err.Error()))
	if known, ok := err.(failure); ok {
		return known.status
	}
	return C.BUSBAR_E_INTERNAL
}

func main() {}
