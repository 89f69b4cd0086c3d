package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	b := AppendNumber(nil, 1, 1<<40)
	b = AppendBytes(b, 2, []byte("key"))
	b = AppendBytes(b, 1300, nil)
	var got []Field
	if err := Each(b, func(f Field) error { got = append(got, f); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Number != 1<<40 || !bytes.Equal(got[1].Bytes, []byte("key")) || got[2].ID != 1300 || got[2].Bytes == nil {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsCutShortIsAnError(t *testing.T) {
	b := AppendBytes(AppendNumber(nil, 1, 300), 2, []byte("value"))
	for n := 1; n < len(b); n++ {
		if n == 3 {
			continue // between two fields: a message too
		}
		if err := Each(b[:n], func(Field) error { return nil }); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzEach(f *testing.F) {
	f.Add(AppendBytes(AppendNumber(nil, 1, 300), 2, []byte("value")))
	f.Add([]byte{0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_ = Each(b, func(f Field) error {
			n += len(f.Bytes)
			if f.ID <= 0 {
				t.Errorf("field %d", f.ID)
			}
			return nil
		})
		if n > len(b) {
			t.Errorf("%d bytes of fields in %d bytes", n, len(b))
		}
	})
}
