package policy

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// linesOf are the lines of a YAML document's keys: "exceptions[0].rule" → 7.
func linesOf(b []byte) map[string]int {
	lines := map[string]int{}
	var document yaml.Node
	if yaml.Unmarshal(b, &document) != nil || len(document.Content) == 0 {
		return lines
	}
	var walk func(n *yaml.Node, at string, depth int)
	walk = func(n *yaml.Node, at string, depth int) {
		const deep = 20
		if depth > deep {
			return
		}
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := strings.TrimPrefix(at+"."+n.Content[i].Value, ".")
				lines[key] = n.Content[i].Line
				walk(n.Content[i+1], key, depth+1)
			}
		case yaml.SequenceNode:
			for i, c := range n.Content {
				key := fmt.Sprintf("%s[%d]", at, i)
				lines[key] = c.Line
				walk(c, key, depth+1)
			}
		}
	}
	walk(document.Content[0], "", 0)
	return lines
}

// Line is the line of a key in the policy's file; 0 where it is not there.
func (p *Policy) Line(key string) int { return p.lines[key] }

// at says where in the file something is wrong.
func (p *Policy) at(key string, err error) error {
	for k := key; k != ""; {
		if line := p.Line(k); line > 0 {
			return fmt.Errorf("line %d: %s: %w", line, key, err)
		}
		i := strings.LastIndexAny(k, ".[")
		if i < 0 {
			break
		}
		k = k[:i]
	}
	return fmt.Errorf("%s: %w", key, err)
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// located adds the line to the error about a key that nobody knows.
func located(err error, b []byte) error {
	f := unknownField.FindStringSubmatch(err.Error())
	if f == nil {
		return err
	}
	first := 0
	for key, line := range linesOf(b) {
		if last := key[strings.LastIndexByte(key, '.')+1:]; last == f[1] && (first == 0 || line < first) {
			first = line
		}
	}
	if first == 0 {
		return err
	}
	return fmt.Errorf("line %d: %w", first, err)
}
