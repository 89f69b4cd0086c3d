package debian

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// debParts are the two archives in a .deb, deb(5).
type debParts struct {
	control, data                       *io.SectionReader
	controlCompression, dataCompression string
}

// splitDeb finds the parts of a .deb of format 2.x.
func splitDeb(r io.ReaderAt, size int64) (*debParts, error) {
	ar, err := newArReader(r, size)
	if err != nil {
		return nil, err
	}
	d := &debParts{}
	for n := 0; ; n++ {
		name, content, err := ar.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		control, isControl := strings.CutPrefix(name, "control.tar")
		data, isData := strings.CutPrefix(name, "data.tar")
		switch {
		case n == 0:
			if name != "debian-binary" || content.Size() > 64 {
				return nil, errors.New("not a .deb: the first member is not debian-binary")
			}
			version, err := io.ReadAll(content)
			if err != nil {
				return nil, err
			}
			if !strings.HasPrefix(string(version), "2.") {
				return nil, fmt.Errorf("format %.10q of .deb is not supported", version)
			}
		case d.data != nil:
			if isControl || isData {
				return nil, fmt.Errorf("member %s after data.tar", name)
			}
			return d, nil // deb(5): what follows is to be ignored
		case isControl && d.control == nil:
			d.control = content
			d.controlCompression = strings.TrimPrefix(control, ".")
		case isData && d.control != nil:
			d.data = content
			d.dataCompression = strings.TrimPrefix(data, ".")
		case strings.HasPrefix(name, "_"): // deb(5): local additions
		default:
			return nil, fmt.Errorf("member %s where deb(5) has none", name)
		}
	}
	if d.control == nil || d.data == nil {
		return nil, errors.New("control.tar or data.tar is missing")
	}
	return d, nil
}
