// Package wire reads and writes the few protobuf messages that etcd keeps on
// disk, field by field (protobuf.dev/programming-guides/encoding).
//
// It must not know any message: callers name the fields.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrDamaged is in every error about bytes that are no protobuf message.
var ErrDamaged = errors.New("not a protobuf message")

// Field is one field of a message: Bytes for a length-delimited one, Number
// for a varint or a fixed one.
type Field struct {
	ID     int
	Number uint64
	Bytes  []byte // shares the message's memory; nil for numbers, never for an empty length-delimited field
}

// Each calls f with each field of a message in turn, and stops at its error.
func Each(b []byte, f func(Field) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return fmt.Errorf("%w: bad tag", ErrDamaged)
		}
		b = b[n:]
		field := Field{ID: int(tag >> 3)}
		switch tag & 7 {
		case 0:
			field.Number, n = binary.Uvarint(b)
			if n <= 0 {
				return fmt.Errorf("%w: bad varint in field %d", ErrDamaged, field.ID)
			}
		case 1:
			if n = 8; len(b) < n {
				return fmt.Errorf("%w: field %d is cut short", ErrDamaged, field.ID)
			}
			field.Number = binary.LittleEndian.Uint64(b)
		case 2:
			size, m := binary.Uvarint(b)
			if m <= 0 || size > uint64(len(b)-m) {
				return fmt.Errorf("%w: field %d is cut short", ErrDamaged, field.ID)
			}
			n = m + int(size)
			field.Bytes = b[m:n:n]
		case 5:
			if n = 4; len(b) < n {
				return fmt.Errorf("%w: field %d is cut short", ErrDamaged, field.ID)
			}
			field.Number = uint64(binary.LittleEndian.Uint32(b))
		default:
			return fmt.Errorf("%w: field %d has wire type %d", ErrDamaged, field.ID, tag&7)
		}
		b = b[n:]
		if err := f(field); err != nil {
			return err
		}
	}
	return nil
}

// AppendNumber appends a varint field.
func AppendNumber(b []byte, id int, v uint64) []byte {
	b = binary.AppendUvarint(b, uint64(id)<<3)
	return binary.AppendUvarint(b, v)
}

// AppendBytes appends a length-delimited field.
func AppendBytes(b []byte, id int, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(id)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
