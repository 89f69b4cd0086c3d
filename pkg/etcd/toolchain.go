package etcd

import (
	"context"
	"errors"
	"fmt"
	goversion "go/version"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// minimumGo is the oldest go command that can fetch another toolchain.
const minimumGo = "go1.21"

// ErrNoGo says that the machine has no go command, or none that can be used.
var ErrNoGo = errors.New("no usable go command")

var toolchainForm = regexp.MustCompile(`^go1\.[1-9][0-9]?(\.(0|[1-9][0-9]?)|rc[1-9]|beta[1-9])$`)

// checkToolchain tells whether name is a Go release that can be fetched as a
// toolchain module: go1.27.4, go1.28rc1.
func checkToolchain(name string) error {
	switch {
	case !toolchainForm.MatchString(name):
		hint := DefaultToolchain
		if goversion.IsValid(name) && !strings.ContainsAny(name, "-+ ") {
			hint = name + ".0"
		} else if goversion.IsValid("go" + name) {
			hint = "go" + name
		}
		return fmt.Errorf("%q is not a Go release; write it as %s", name, hint)
	case goversion.Compare(name, minimumGo) < 0:
		return fmt.Errorf("%s is too old; the oldest toolchain that is published as a module is %s.0", name, minimumGo)
	}
	return nil
}

// Go is the machine's go command. It is looked for, and asked for its
// settings, when it is first needed and once; so whatever needs no compiling
// needs no Go.
type Go struct {
	environ environ
	runner  Runner

	mu   sync.Mutex
	host *host
}

// NewGo returns the go command that is found through the PATH of environ,
// which is a complete environment (os.Environ). Processes are started by
// runner. Nothing is started yet.
func NewGo(environ []string, runner Runner) *Go {
	return &Go{environ: environ, runner: runner}
}

// find returns the host's go command and its download settings.
func (g *Go) find(ctx context.Context) (*host, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.host != nil {
		return g.host, nil
	}
	path, err := lookPath(g.environ.get("PATH"), "go")
	if err != nil {
		return nil, fmt.Errorf("%w: there is no go on the PATH; install Go %s or newer, any release will do: it fetches the toolchain that compiles by itself", ErrNoGo, strings.TrimPrefix(minimumGo, "go"))
	}
	h, err := readSettings(ctx, g.runner, path, g.environ)
	if err != nil {
		return nil, err
	}
	// A version like "devel go1.28-abcdef" is newer than any release.
	if v := strings.Fields(h.version); len(v) == 0 || v[0] != "devel" && goversion.Compare(v[0], minimumGo) < 0 {
		return nil, fmt.Errorf("%w: %s is %s, which can not fetch toolchains; install Go %s or newer", ErrNoGo, path, orUnknown(h.version), strings.TrimPrefix(minimumGo, "go"))
	}
	g.host = h
	return h, nil
}

func orUnknown(v string) string {
	if v == "" {
		return "of an unknown version"
	}
	return v
}

// lookPath finds a program in the absolute directories of a PATH. Relative
// ones are left out, as a program of the working directory must not run.
func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, name)
		if isProgram(file) {
			return file, nil
		}
	}
	return "", fs.ErrNotExist
}

// withoutProgram returns a PATH without the directories that have a program
// of the given name. The go command prefers a program named like the toolchain
// over the verified module; this keeps it from finding one.
func withoutProgram(path, name string) string {
	var dirs []string
	for _, dir := range filepath.SplitList(path) {
		if filepath.IsAbs(dir) && !isProgram(filepath.Join(dir, name)) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(filepath.ListSeparator))
}

func isProgram(file string) bool {
	st, err := os.Stat(file)
	return err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0
}
