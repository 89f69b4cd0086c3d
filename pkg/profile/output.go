package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MarshalJSON writes permissions even where they are 0, since absent ones mean
// a default; a hard link has none.
func (p Path) MarshalJSON() ([]byte, error) {
	type plain Path
	out := struct {
		plain
		Permissions *Mode `json:"permissions,omitempty"`
	}{plain: plain(p)}
	if p.Type != "hardlink" {
		out.Permissions = &p.Permissions
	}
	return json.Marshal(out)
}

// JSON is the profile, indented, with keys in the order of the types. Read
// takes it, and gives an equal profile.
func (p *Profile) JSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(p); err != nil {
		return nil, fmt.Errorf("writing profile: %w", err)
	}
	return foreignToYAML.ReplaceAllFunc(out.Bytes(), func(char []byte) []byte {
		r, _ := utf8.DecodeRune(char)
		return fmt.Appendf(nil, `\u%04x`, r)
	}), nil
}

// foreignToYAML are the characters that JSON has in strings as they are, and
// YAML only by escapes.
var foreignToYAML = regexp.MustCompile(`[\x{7f}-\x{9f}\x{feff}\x{fffe}\x{ffff}]`)

// YAML is the same as JSON in the form of a profile that a person writes: modes
// are plain octal numbers.
func (p *Profile) YAML() ([]byte, error) {
	data, err := p.JSON()
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("writing profile: %w", err)
	}
	restyle(&document, regexp.MustCompile(plainText))
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, fmt.Errorf("writing profile: %w", err)
	}
	return out.Bytes(), nil
}

// plainText is what every style of YAML keeps as it is: lines without control
// characters and line ends of other kinds, none of which a blank indents. It is
// compiled where it is needed: that takes milliseconds.
const plainText = `^([^\pC\pZ][^\pC\p{Zl}\p{Zp}]*\n?)*$`

// restyle turns JSON's braces and quotes into YAML's lines.
func restyle(n *yaml.Node, plain *regexp.Regexp) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && !plain.MatchString(n.Value) {
		n.Style = yaml.DoubleQuotedStyle
	}
	if n.Kind == yaml.SequenceNode {
		if shortWords(n) {
			n.Style = yaml.FlowStyle
		}
		for _, item := range n.Content {
			plainModes(item)
		}
	}
	for _, c := range n.Content {
		restyle(c, plain)
	}
}

// plainModes takes the quotes off the permissions of one item of a list; only
// items of lists have modes.
func plainModes(item *yaml.Node) {
	if item.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i < len(item.Content); i += 2 {
		if item.Content[i].Value == "permissions" {
			item.Content[i+1].Tag = "!!int"
		}
	}
}

// shortWords tells whether a list reads well on one line.
func shortWords(n *yaml.Node) bool {
	width := 0
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			return false
		}
		width += len(item.Value) + 2
	}
	return width <= 60
}

// Digest is "sha256:" and the digest of the profile as resolved, in hex: over
// its JSON without blanks and with sorted keys. Two profiles that mean the same
// have the same digest wherever they stand. Local files count by the name that
// the profile gives them, not by their content.
func (p *Profile) Digest() string {
	data, err := json.Marshal(p)
	if err == nil {
		var sorted any
		if err = json.Unmarshal(data, &sorted); err == nil {
			data, err = json.Marshal(sorted)
		}
	}
	if err != nil {
		panic("profile: plain data that is no JSON: " + err.Error()) // strings, numbers and booleans only
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
