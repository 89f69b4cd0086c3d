package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// readAptDir returns the archive URIs that a host's apt uses, as
// sources.list(5) has them: sources.list, then sources.list.d/*.list and
// *.sources by name. Only URIs that can be fetched from directly count. What
// can not be read is told, and passed over: it is the host's affair.
func readAptDir(dir string) (uris, problems []string) {
	files := []string{filepath.Join(dir, "sources.list")}
	entries, err := os.ReadDir(filepath.Join(dir, "sources.list.d"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, err.Error())
	}
	for _, e := range entries { // ReadDir sorts by name
		if ext := filepath.Ext(e.Name()); ext == ".list" || ext == ".sources" {
			files = append(files, filepath.Join(dir, "sources.list.d", e.Name()))
		}
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		var found []string
		if filepath.Ext(name) == ".sources" {
			found, err = parseSources(data)
		} else {
			found, err = parseSourcesList(data)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", name, err))
		}
		for _, uri := range found {
			if _, err := parseBase(uri); err == nil && !slices.Contains(uris, uri) {
				uris = append(uris, uri)
			}
		}
	}
	return uris, problems
}

// parseSourcesList reads the one-line format: deb [options] URI suite component…
func parseSourcesList(data []byte) (uris []string, err error) {
	for i, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "deb" {
			continue
		}
		rest := f[1:]
		if len(rest) > 0 && strings.HasPrefix(rest[0], "[") {
			end := slices.IndexFunc(rest, func(s string) bool { return strings.HasSuffix(s, "]") })
			if end < 0 {
				err = fmt.Errorf("line %d: the options have no ]", i+1)
				continue
			}
			rest = rest[end+1:]
		}
		if len(rest) < 2 {
			err = fmt.Errorf("line %d: wants a URI and a suite", i+1)
			continue
		}
		uris = append(uris, rest[0])
	}
	return uris, err
}

// parseSources reads the deb822 format.
func parseSources(data []byte) (uris []string, err error) {
	p := newStanzaReader(bytes.NewReader(data), int64(len(data)))
	p.comments = true
	for {
		s, err := p.next()
		if err != nil {
			return uris, err
		}
		if s == nil {
			return uris, nil
		}
		if off := strings.ToLower(strings.TrimSpace(s.Get("Enabled"))); off == "no" || off == "false" || off == "0" {
			continue
		}
		if slices.Contains(strings.Fields(s.Get("Types")), "deb") {
			uris = append(uris, strings.Fields(s.Get("URIs"))...)
		}
	}
}
