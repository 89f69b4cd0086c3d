package profile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
)

// SplitCommand splits a command line into words as sh(1) does: at blanks and
// line ends, with '…', "…" and backslashes. Nothing is expanded, and |, > and
// their like are plain characters: no shell sees the words. An empty line has
// no words.
func SplitCommand(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case ' ', '\t', '\n', '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		case '\\':
			if i++; i == len(runes) {
				return nil, errors.New("ends in a backslash")
			}
			inWord = true
			if runes[i] != '\n' {
				word.WriteRune(runes[i])
			}
		case '\'', '"':
			end, err := quoted(runes, i, &word)
			if err != nil {
				return nil, err
			}
			i, inWord = end, true
		case 0:
			return nil, errors.New("has a NUL character")
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// quoted appends what stands in the quotes that open at start, and gives the
// index of the closing one. Within double quotes a backslash quotes only
// \ " $ ` and the end of a line.
func quoted(runes []rune, start int, word *strings.Builder) (end int, err error) {
	quote := runes[start]
	for i := start + 1; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == quote:
			return i, nil
		case r == 0:
			return 0, errors.New("has a NUL character")
		case r == '\\' && quote == '"' && i+1 < len(runes) && strings.ContainsRune("\\\"$`\n", runes[i+1]):
			if i++; runes[i] != '\n' {
				word.WriteRune(runes[i])
			}
		default:
			word.WriteRune(r)
		}
	}
	return 0, fmt.Errorf("the quote %c is not closed", quote)
}

// EntrypointArgs are the words of the entrypoint; nil where there is none.
func (p *Profile) EntrypointArgs() ([]string, error) { return SplitCommand(p.Entrypoint.Command) }

// CmdArgs are the words of the default arguments; nil where there are none.
func (p *Profile) CmdArgs() ([]string, error) { return SplitCommand(p.Cmd) }

// Argv is what a container runs whose user adds nothing: the entrypoint's words
// and then those of cmd.
func (p *Profile) Argv() ([]string, error) {
	entrypoint, err := p.EntrypointArgs()
	if err != nil {
		return nil, fmt.Errorf("entrypoint: %w", err)
	}
	cmd, err := p.CmdArgs()
	if err != nil {
		return nil, fmt.Errorf("cmd: %w", err)
	}
	return append(entrypoint, cmd...), nil
}

// ociTag is a tag as the OCI distribution specification has it ("Pulling
// manifests").
var ociTag = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ValidTag tells whether a registry takes the tag.
func ValidTag(tag string) bool { return ociTag.MatchString(tag) }

// ImageTag is the tag that the template gives, a valid tag of the OCI
// distribution specification. EtcdVersion is the first version's number, or ""
// where there is no etcd.
func (p *Profile) ImageTag() (string, error) {
	t, err := template.New("tag").Parse(p.Tag)
	if err != nil {
		return "", fmt.Errorf("%q is not a template: %s", p.Tag, strings.TrimPrefix(err.Error(), "template: tag:1: "))
	}
	if t.Tree == nil || t.Root == nil {
		return "", errors.New("is empty")
	}
	for _, n := range t.Root.Nodes {
		switch n.Type() {
		case parse.NodeText, parse.NodeAction:
		default:
			return "", fmt.Errorf("%q does more than put fields in place", p.Tag)
		}
	}
	fields := map[string]any{"Name": p.Name, "EtcdVersion": "", "Revision": p.Revision}
	if len(p.Etcd.Versions) > 0 {
		fields["EtcdVersion"] = p.Etcd.Versions[0]
	}
	var out bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&out, fields); err != nil {
		_, what, _ := strings.Cut(err.Error(), `executing "tag" at `)
		return "", fmt.Errorf("%q can not be filled in: %s", p.Tag, what)
	}
	if !ValidTag(out.String()) {
		return "", fmt.Errorf("%q gives %q, which is not a tag", p.Tag, out.String())
	}
	return out.String(), nil
}
