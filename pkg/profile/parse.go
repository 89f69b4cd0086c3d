package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of one file. They are far above any profile that people write, and
// keep a hostile one from taking the machine's memory.
const (
	maxBytes = 1 << 20
	maxNodes = 20_000 // values after aliases are expanded
	maxDepth = 64     // lists and mappings within each other; also stops an alias that contains itself
)

// source is a file that a profile was read from.
type source struct {
	name string // as Opener gets it
	dir  string // the file's directory, relative to that of the profile that includes it
}

// position is a place in a source; its zero value is no place.
type position struct {
	src          *source
	line, column int
}

func (p position) file() string {
	if p.src == nil {
		return ""
	}
	return p.src.name
}

type kind int

const (
	scalar kind = iota
	list
	mapping
)

// node is a YAML value: aliases are resolved, keys are unique, and it knows
// the file that it stands in.
type node struct {
	kind   kind
	tag    string  // of a scalar: !!str, !!int, !!float, !!bool, !!null or !!timestamp
	text   string  // of a scalar: as it is written
	items  []*node // of a list; nil for one that can not be used, whose problem is recorded
	fields []field // of a mapping, in the file's order
	pos    position
}

// field is one key of a mapping with its value, nil as in a list.
type field struct {
	name  string
	pos   position
	value *node
}

func (n *node) field(name string) *field {
	for i := range n.fields {
		if n.fields[i].name == name {
			return &n.fields[i]
		}
	}
	return nil
}

// parseFile reads the one document of a profile, or gives nil with at least one
// problem. With a problem that leaves the rest readable, it gives both.
func parseFile(src *source, data []byte, ps *problems) *node {
	refuse := func(line int, message, remedy string) *node {
		ps.at(position{src, line, 1}, "", message, remedy)
		return nil
	}
	if len(data) > maxBytes {
		return refuse(1, fmt.Sprintf("has %d bytes, and a profile may have %d", len(data), maxBytes), "is this the file that was meant?")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		good := len(data)
		for i := 0; i < len(data); {
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				good = i
				break
			}
			i += size
		}
		return refuse(1+bytes.Count(data[:good], []byte("\n")), "is not UTF-8", "save the file in UTF-8")
	}

	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, next yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return refuse(1, "the file is empty", "write at least etcd.versions")
	} else if err != nil {
		return refuse(syntaxError(data, err))
	}
	switch err := decoder.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return refuse(syntaxError(data, err))
	default:
		return refuse(next.Line, "a second YAML document begins here", "keep one document in a file, and use include for what profiles share")
	}
	root := document.Content[0]
	if root.ShortTag() == "!!null" {
		return refuse(1, "the file is empty", "write at least etcd.versions")
	}
	if root.Kind != yaml.MappingNode {
		return refuse(root.Line, "is not a mapping", "write KEY: VALUE lines")
	}
	c := converter{src: src, problems: ps}
	return c.convert(root, "", 0)
}

// bareTag is a value that begins with ! and is not in quotes.
var bareTag = regexp.MustCompile(`[\[\s,]!`)

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxError gives line, message and remedy. The library's line is that where
// the surrounding value begins, so the line is looked for: it is the first after
// the longest beginning of the file that can be read.
func syntaxError(data []byte, err error) (line int, message, remedy string) {
	match := yamlError.FindStringSubmatch(err.Error())
	message = "is not YAML: " + yamlError.ReplaceAllString(err.Error(), "")
	line = 1
	if match != nil && match[1] != "" {
		line, _ = strconv.Atoi(match[1])
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	// The search may read the file once for each of its lines.
	if len(lines) <= 500 && len(data) <= 64<<10 {
		for line = len(lines); line > 1; line-- {
			var ignored yaml.Node
			if yaml.Unmarshal(bytes.Join(lines[:line-1], nil), &ignored) == nil {
				break
			}
		}
	}
	if line > len(lines) {
		line = len(lines)
	}
	text := string(lines[line-1])
	indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return line, "is indented by a tab", "indent with spaces"
	case strings.Contains(message, "cannot start any token"):
		return line, message, "put a value that begins with @, ` or % in quotes"
	case bareTag.MatchString(text):
		return line, message, "put a value that begins with ! in quotes"
	case strings.Contains(message, "mapping values are not allowed"):
		return line, message, "indent it like its neighbours, and put a value that contains \": \" in quotes"
	default:
		return line, message, "check indentation, brackets and quotes from here on"
	}
}

// converter turns the library's nodes of one file into ours.
type converter struct {
	src      *source
	problems *problems
	count    int
}

// convert gives nil for what can not be used; the problem is then recorded.
func (c *converter) convert(n *yaml.Node, key string, depth int) *node {
	pos := position{c.src, n.Line, n.Column}
	for n.Kind == yaml.AliasNode && depth <= maxDepth {
		n, depth = n.Alias, depth+1
	}
	c.count++
	switch {
	case c.count > maxNodes+1:
		return nil // reported already
	case c.count > maxNodes:
		c.problems.at(pos, key, fmt.Sprintf("the file has more than %d values", maxNodes), "write less, or use fewer aliases")
		return nil
	case depth > maxDepth:
		c.problems.at(pos, key, fmt.Sprintf("is nested deeper than %d", maxDepth), "remove the alias that contains itself")
		return nil
	}
	if !c.knownTag(n, key, pos) {
		return nil
	}
	switch n.Kind {
	case yaml.SequenceNode:
		out := &node{kind: list, pos: pos}
		for i, item := range n.Content {
			out.items = append(out.items, c.convert(item, fmt.Sprintf("%s[%d]", key, i), depth+1))
		}
		return out
	case yaml.MappingNode:
		return c.mapping(n, key, pos, depth)
	default:
		return &node{kind: scalar, tag: n.ShortTag(), text: n.Value, pos: pos}
	}
}

func (c *converter) mapping(n *yaml.Node, key string, pos position, depth int) *node {
	out := &node{kind: mapping, pos: pos}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		at := position{c.src, k.Line, k.Column}
		for j := 0; k.Kind == yaml.AliasNode && j <= maxDepth; j++ {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			c.problems.at(at, key, "a key is not a single word", "write KEY: VALUE")
			continue
		}
		path := child(key, k.Value)
		if k.ShortTag() == "!!merge" {
			c.problems.at(at, path, "YAML merge keys are not supported", "use include, or write the keys out")
			continue
		}
		if first := out.field(k.Value); first != nil {
			c.problems.at(at, path, fmt.Sprintf("is given twice, first in line %d", first.pos.line), "keep one of them")
			continue
		}
		out.fields = append(out.fields, field{k.Value, at, c.convert(n.Content[i+1], path, depth+1)})
	}
	return out
}

// knownTag refuses explicit tags beyond YAML's own. The usual way to one is a
// value that begins with an exclamation mark and is not in quotes.
func (c *converter) knownTag(n *yaml.Node, key string, pos position) bool {
	tag := n.ShortTag()
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!seq", "!!map", "!!merge":
		return true
	}
	remedy := "remove the tag"
	if n.Kind == yaml.ScalarNode && n.Value == "" && strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") {
		remedy = fmt.Sprintf("put it in quotes: %q", tag)
	}
	c.problems.at(pos, key, fmt.Sprintf("%s is a YAML tag here", tag), remedy)
	return false
}

// child is the key path of a key within a mapping.
func child(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}
