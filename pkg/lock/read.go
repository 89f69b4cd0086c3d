package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
)

// Problem is something wrong in a lock.
type Problem struct {
	File    string
	Line    int    // from 1
	Key     string // debian[0].packages[3].sha256; "" for the file as a whole
	Message string // what is wrong and what to do
}

func (p *Problem) Error() string {
	at := fmt.Sprintf("%s:%d: ", p.File, p.Line)
	if p.Key != "" {
		at += p.Key + ": "
	}
	return at + p.Message
}

// ReadFile reads a lock from a file; see Read.
func ReadFile(path string) (*Lock, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	return Read(path, b)
}

// maxProblems bounds how much is said about one lock.
const maxProblems = 20

// Read reads a lock strictly: it takes what WriteFile writes and nothing else,
// white space aside. Each of the errors that it joins is a *Problem, which
// names the line.
func Read(name string, b []byte) (*Lock, error) {
	r := &reader{name: name, types: map[reflect.Type][]member{}}
	if r.text(b); len(r.errs) > 0 {
		return nil, r.err()
	}
	root, err := parse(b)
	if err != nil {
		var bad *syntaxError
		if errors.As(err, &bad) {
			r.add(bad.line, bad.key, "%v", bad.err)
		}
		return nil, r.err()
	}
	if r.schema(root, b); len(r.errs) > 0 {
		return nil, r.err()
	}
	if r.form(root, lockType, ""); len(r.errs) > 0 {
		return nil, r.err()
	}
	l := &Lock{}
	if err := json.Unmarshal(b, l); err != nil {
		r.add(root.line, "", "%v", err)
		return nil, r.err()
	}
	r.root = root
	r.check(l)
	if len(r.errs) > 0 {
		return nil, r.err()
	}
	return l, nil
}

// reader collects what is wrong with one lock.
type reader struct {
	name string
	root *node
	errs []error

	types map[reflect.Type][]member // that were looked into
}

func (r *reader) add(line int, key, format string, args ...any) {
	r.errs = append(r.errs, &Problem{File: r.name, Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) err() error {
	if n := len(r.errs); n > maxProblems {
		r.errs = append(r.errs[:maxProblems:maxProblems], fmt.Errorf("%s: and %d more", r.name, n-maxProblems))
	}
	return errors.Join(r.errs...)
}

// mergeMarkers are what git leaves at the beginning of a line.
var mergeMarkers = []string{"<<<<<<< ", "||||||| ", "=======", ">>>>>>> "}

// text tells what is wrong with the file before it is JSON.
func (r *reader) text(b []byte) {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		r.add(1, "", "the file begins with a byte order mark: save it without one")
		return
	}
	if len(bytes.TrimSpace(b)) == 0 {
		r.add(1, "", "the file is empty: lock again")
		return
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		for _, m := range mergeMarkers {
			if strings.HasPrefix(line, m) {
				r.add(n, "", "a merge conflict was left here (%s): take one of the sides whole, or lock again", strings.TrimSpace(m))
				return
			}
		}
		if strings.Contains(line, "\r") {
			r.add(n, "", "the line ends with CR LF: a lock has LF alone; have git keep it with \"*.lock.json text eol=lf\" in .gitattributes, and check it out again")
			return
		}
	}
}

// schema tells a lock of another schema from a broken one.
func (r *reader) schema(root *node, b []byte) {
	if root.kind != object {
		r.add(root.line, "", "this is no lock: want an object")
		return
	}
	n := root.field("schemaVersion")
	var version struct{ SchemaVersion int }
	switch {
	case n == nil:
		r.add(root.line, "schemaVersion", "it is missing: this is no lock of etcdimg")
	case n.kind != number || json.Unmarshal(b, &version) != nil || version.SchemaVersion < 1:
		r.add(n.line, "schemaVersion", "want a number from 1 on")
	case version.SchemaVersion > SchemaVersion:
		r.add(n.line, "schemaVersion", "the lock has schema %d, and this etcdimg knows schemas up to %d: use a newer etcdimg", version.SchemaVersion, SchemaVersion)
	}
}
