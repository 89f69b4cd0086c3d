package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind is what a JSON value is.
type kind string

const (
	object  kind = "an object"
	array   kind = "an array"
	text    kind = "a string"
	number  kind = "a number"
	boolean kind = "true or false"
	null    kind = "null"
)

// node is a JSON value and where it is.
type node struct {
	kind  kind
	line  int
	keys  []string // of an object
	items []*node
}

func (n *node) field(key string) *node {
	for i, k := range n.keys {
		if k == key {
			return n.items[i]
		}
	}
	return nil
}

// at finds the value that a key such as etcd[0].goSum names, or the nearest
// one around it.
func (n *node) at(key string) *node {
	for key != "" {
		if rest, ok := strings.CutPrefix(key, "["); ok {
			index, after, _ := strings.Cut(rest, "]")
			i, err := strconv.Atoi(index)
			if err != nil || i < 0 || i >= len(n.items) {
				return n
			}
			n, key = n.items[i], strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(key, ".[")
		if end < 0 {
			end = len(key)
		}
		next := n.field(key[:end])
		if next == nil {
			return n
		}
		n, key = next, strings.TrimPrefix(key[end:], ".")
	}
	return n
}

// syntaxError is what makes a file no JSON, or ambiguous.
type syntaxError struct {
	line int
	key  string
	err  error
}

func (e *syntaxError) Error() string { return e.err.Error() }
func (e *syntaxError) Unwrap() error { return e.err }

// maxDepth is more than any lock has.
const maxDepth = 64

type parser struct {
	data    []byte
	dec     *json.Decoder
	counted int // bytes of data in which lines were counted
	lines   int // line ends in them
}

// parse reads one JSON value that refuses to have a key twice, which
// encoding/json alone would pass over.
func parse(data []byte) (*node, error) {
	p := &parser{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	n, err := p.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, p.fail("", errors.New("something follows the end of the lock"))
	}
	return n, nil
}

func (p *parser) line() int {
	at := int(p.dec.InputOffset())
	p.lines += bytes.Count(p.data[p.counted:at], []byte("\n"))
	p.counted = at
	return p.lines + 1
}

func (p *parser) fail(key string, err error) error {
	var bad *json.SyntaxError
	if errors.As(err, &bad) {
		at := min(max(int(bad.Offset), 0), len(p.data))
		return &syntaxError{bytes.Count(p.data[:at], []byte("\n")) + 1, key, fmt.Errorf("this is no JSON: %w", err)}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &syntaxError{bytes.Count(bytes.TrimRight(p.data, "\n"), []byte("\n")) + 1, key, errors.New("the file ends too early: lock again")}
	}
	return &syntaxError{p.line(), key, err}
}

func (p *parser) value(key string, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, p.fail("", fmt.Errorf("values are nested deeper than %d", maxDepth))
	}
	t, err := p.dec.Token()
	if err != nil {
		return nil, p.fail(key, err)
	}
	n := &node{line: p.line()}
	switch t := t.(type) {
	case string:
		n.kind = text
	case json.Number:
		n.kind = number
	case bool:
		n.kind = boolean
	case nil:
		n.kind = null
	case json.Delim:
		n.kind = array
		if t == '{' {
			n.kind = object
		}
		return n, p.inside(n, key, depth)
	}
	return n, nil
}

// inside reads what an object or array has, and its end.
func (p *parser) inside(n *node, key string, depth int) error {
	seen := map[string]bool{}
	for p.dec.More() {
		inner := key + "[" + strconv.Itoa(len(n.items)) + "]"
		if n.kind == object {
			t, err := p.dec.Token()
			if err != nil {
				return p.fail(key, err)
			}
			name, _ := t.(string)
			inner = join(key, name)
			if seen[name] {
				return &syntaxError{p.line(), inner, errors.New("the key is there twice: remove one, or lock again")}
			}
			seen[name] = true
			n.keys = append(n.keys, name)
		}
		item, err := p.value(inner, depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	if _, err := p.dec.Token(); err != nil {
		return p.fail(key, err)
	}
	return nil
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

var (
	lockType  = reflect.TypeFor[Lock]()
	linesType = reflect.TypeFor[lines]()
	timeType  = reflect.TypeFor[time.Time]()
	rawType   = reflect.TypeFor[json.RawMessage]()

	// wireTypes are the forms in JSON of types that have another one in Go.
	wireTypes = map[reflect.Type]reflect.Type{
		reflect.TypeFor[Etcd]():    reflect.TypeFor[wireEtcd](),
		reflect.TypeFor[Migrate](): reflect.TypeFor[wireMigrate](),
	}
)

// form tells where a value has not the form of a type: unknown keys, missing
// ones, values of another kind.
func (r *reader) form(n *node, t reflect.Type, key string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if wire, ok := wireTypes[t]; ok {
		t = wire
	}
	want := func(k kind) bool {
		if n.kind != k {
			r.add(n.line, key, "want %s, not %s", k, n.kind)
		}
		return n.kind == k
	}
	switch {
	case t == linesType:
		if n.kind == array {
			r.form(n, reflect.TypeFor[[]string](), key)
			return
		}
		want(text)
	case t == timeType:
		want(text)
	case t == rawType:
		want(object)
	case t.Kind() == reflect.Struct:
		if want(object) {
			r.fields(n, t, key)
		}
	case n.kind == null && (t.Kind() == reflect.Map || t.Kind() == reflect.Slice):
	case t.Kind() == reflect.Map:
		if want(object) {
			for i, name := range n.keys {
				r.form(n.items[i], t.Elem(), join(key, name))
			}
		}
	case t.Kind() == reflect.Slice:
		if want(array) {
			for i, item := range n.items {
				r.form(item, t.Elem(), key+"["+strconv.Itoa(i)+"]")
			}
		}
	case t.Kind() == reflect.String:
		want(text)
	case t.Kind() == reflect.Bool:
		want(boolean)
	default:
		want(number)
	}
}

func (r *reader) fields(n *node, t reflect.Type, key string) {
	known := r.members(t)
	for i, name := range n.keys {
		at := slices.IndexFunc(known, func(m member) bool { return m.name == name })
		if at < 0 {
			r.add(n.items[i].line, join(key, name), "the key is not known: a newer etcdimg may have written it; use that one, or lock again")
			continue
		}
		r.form(n.items[i], known[at].typ, join(key, name))
	}
	for _, m := range known {
		if !m.optional && n.field(m.name) == nil {
			r.add(n.line, join(key, m.name), "it is missing: lock again")
		}
	}
}

// member is a key of an object that is read into a struct.
type member struct {
	name     string
	typ      reflect.Type
	optional bool
	depth    int // of the structs that it is embedded in
}

// members are the keys of a struct. Its own fields go before those of structs
// that it embeds.
func (r *reader) members(t reflect.Type) []member {
	if found, ok := r.types[t]; ok {
		return found
	}
	var all []member
	for _, f := range reflect.VisibleFields(t) {
		name, optional := memberName(f)
		if name == "" {
			continue
		}
		m := member{name, f.Type, optional, len(f.Index)}
		if i := slices.IndexFunc(all, func(o member) bool { return o.name == name }); i < 0 {
			all = append(all, m)
		} else if m.depth < all[i].depth {
			all[i] = m
		}
	}
	r.types[t] = all
	return all
}

func memberName(f reflect.StructField) (name string, optional bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if f.Anonymous || name == "-" {
		return "", true
	}
	return name, strings.Contains(options, "omit")
}
