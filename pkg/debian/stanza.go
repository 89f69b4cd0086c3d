package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Field is one field of a control stanza. Lines of a folded or multi-line
// value are joined by newlines, with the white space that they began with.
type Field struct {
	Name, Value string
}

// Stanza is one paragraph of a Debian control file, deb822(5), in the order in
// which it was written.
type Stanza []Field

// Get returns the value of a field, whose name's case does not matter, or "".
func (s Stanza) Get(name string) string {
	for _, f := range s {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Limits on what one stanza may hold. The longest real field, a list of
// digests, has its own reader.
const (
	maxStanzaLine   = 1 << 20
	maxStanzaFields = 512
)

// stanzaReader reads stanzas one by one. Field names are kept only where keep
// says so, which is what makes reading an archive's index quick.
type stanzaReader struct {
	r        *bufio.Reader
	line     int
	left     int64
	comments bool                // lines that begin with # are skipped
	keep     func([]byte) string // interned name of a field to keep, or ""; nil keeps all
}

func newStanzaReader(r io.Reader, limit int64) *stanzaReader {
	return &stanzaReader{r: bufio.NewReaderSize(r, 64<<10), left: limit}
}

// next returns the next stanza, or nil at the end.
func (p *stanzaReader) next() (Stanza, error) {
	var s Stanza
	started, keeping := false, false
	for {
		line, err := p.readLine()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case len(bytes.TrimSpace(line)) == 0:
			if started {
				return s, nil
			}
			continue
		case p.comments && line[0] == '#':
			continue
		case line[0] == ' ' || line[0] == '\t':
			if !started {
				return nil, p.fail("a continuation line before the first field")
			}
			if keeping {
				last := &s[len(s)-1]
				if len(last.Value)+len(line) > maxStanzaLine {
					return nil, p.fail("field %s is too long", last.Name)
				}
				last.Value += "\n" + string(bytes.TrimRight(line, " \t\r"))
			}
			continue
		}
		started = true
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !fieldName(line[:colon]) {
			return nil, p.fail("%.40q is not a field", line)
		}
		var name string
		if p.keep == nil {
			name = string(line[:colon])
		} else {
			name = p.keep(line[:colon])
		}
		keeping = name != ""
		if !keeping {
			continue
		}
		if len(s) >= maxStanzaFields {
			return nil, p.fail("more than %d fields in one stanza", maxStanzaFields)
		}
		for _, f := range s {
			if strings.EqualFold(f.Name, name) {
				return nil, p.fail("field %s is there twice", name)
			}
		}
		s = append(s, Field{name, string(bytes.TrimSpace(line[colon+1:]))})
	}
}

// readLine returns one line without its newline, valid until the next call.
func (p *stanzaReader) readLine() ([]byte, error) {
	p.line++
	line, err := p.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > maxStanzaLine {
				return nil, p.fail("the line is too long")
			}
			line, err = p.r.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	p.left -= int64(len(line))
	if p.left < 0 {
		return nil, p.fail("%w", errTooLarge)
	}
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, p.fail("a NUL byte")
	}
	return line, nil
}

func (p *stanzaReader) fail(format string, args ...any) error {
	return fmt.Errorf("line %d: %w", p.line, fmt.Errorf(format, args...))
}

// fieldName follows Debian Policy 5.1: printable ASCII but space and colon,
// and neither # nor - at the start.
func fieldName(b []byte) bool {
	if b[0] == '#' || b[0] == '-' {
		return false
	}
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// parseStanza reads a file that is to hold exactly one stanza.
func parseStanza(data []byte) (Stanza, error) {
	p := newStanzaReader(bytes.NewReader(data), int64(len(data)))
	s, err := p.next()
	if err != nil {
		return nil, err
	}
	if len(s) == 0 {
		return nil, errors.New("it is empty")
	}
	if more, err := p.next(); err != nil || len(more) > 0 {
		return nil, errors.New("it has more than one paragraph")
	}
	return s, nil
}
