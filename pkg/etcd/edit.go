package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// editedDir is where a wrapper module has the modules that are edited, below
// its own directory. It is named relative to that, so that no binary tells
// where it was compiled.
const editedDir = "edited"

// replacement is what the wrapper's go.mod replaces an edited module by.
func replacement(modulePath string) string { return "./" + path.Join(editedDir, modulePath) }

// EditError says that a file of a module is not what an edit was made for.
type EditError struct {
	Module string // path@version
	File   string // "" for the module as a whole
	Err    error
}

func (e *EditError) Error() string {
	at := e.Module
	if e.File != "" {
		at += ": " + e.File
	}
	return fmt.Sprintf("editing %s: %v", at, e.Err)
}

// Unwrap returns what is wrong.
func (e *EditError) Unwrap() error { return e.Err }

// editor makes edited modules.
type editor struct {
	runner    Runner
	host      *host
	toolchain string
	onLine    func(string) // gets what the go command says
}

// write writes the modules that edits make below dir, as writeAll does, and
// turns failures of the go command into words. doing is what it is for.
func (w editor) write(ctx context.Context, dir string, edits []lock.Edit, goSum, doing string) error {
	if len(edits) == 0 {
		return nil
	}
	stderr := &output{onLine: w.onLine}
	err := w.writeAll(ctx, stderr, dir, edits, goSum)
	var failed *downloadError
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil && errors.As(err, &failed):
		_, _ = stderr.Write([]byte(failed.said + "\n"))
		return diagnose(doing, failed.err, stderr, w.host, w.toolchain)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// writeAll writes the modules that edits make below dir, the wrapper's
// directory. What they are made from is fetched by the go command, which
// verifies it against goSum, and verified once more as it was copied: what lies
// in a module cache may have been changed since.
func (w editor) writeAll(ctx context.Context, stderr *output, dir string, edits []lock.Edit, goSum string) error {
	published, err := w.fetch(ctx, stderr, dir, edits, goSum)
	if err != nil {
		return err
	}
	for _, e := range edits {
		to := filepath.Join(dir, filepath.FromSlash(replacement(e.Module)))
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		if !e.Own {
			if err := copyModule(published[e.Module], to, e, goSum); err != nil {
				return err
			}
		}
		for _, f := range e.Files {
			if err := editFile(to, f); err != nil {
				return &EditError{Module: e.Module + "@" + e.Version, File: f.Path, Err: err}
			}
		}
	}
	return nil
}

// fetch downloads the modules that are edited, and returns their
// directories in the module cache by module path.
func (w editor) fetch(ctx context.Context, stderr *output, dir string, edits []lock.Edit, goSum string) (map[string]string, error) {
	wanted := []string{"mod", "download", "-json"}
	for _, e := range edits {
		if !e.Own {
			wanted = append(wanted, e.Module+"@"+e.Version)
		}
	}
	if len(wanted) == 3 {
		return nil, nil
	}
	// In a module of its own: in the wrapper, they are replaced.
	scratch := filepath.Join(dir, editedDir, ".published")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	for name, content := range map[string]string{"go.mod": "module etcdimg.build/published\n", "go.sum": goSum} {
		if err := os.WriteFile(filepath.Join(scratch, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	var stdout bytes.Buffer
	failed := w.runner.Run(ctx, Command{Path: w.host.path, Args: wanted, Env: w.host.base(w.toolchain), Dir: scratch, Stdout: &stdout, Stderr: stderr})
	dirs := map[string]string{}
	for dec := json.NewDecoder(&stdout); ; {
		var one struct{ Path, Version, Dir, Error string }
		if err := dec.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, errors.Join(failed, fmt.Errorf("the answer of go mod download is not understood: %w", err))
		}
		if one.Error != "" {
			return nil, &downloadError{err: failed, said: one.Error}
		}
		dirs[one.Path] = one.Dir
	}
	if failed != nil {
		return nil, &downloadError{err: failed}
	}
	for _, e := range edits {
		if !e.Own && dirs[e.Module] == "" {
			return nil, fmt.Errorf("go mod download says nothing of %s", e.Module)
		}
	}
	return dirs, nil
}

// downloadError is a failure of go mod download -json, with what it says in
// its answer that other calls of the go command say on stderr.
type downloadError struct {
	err  error
	said string
}

func (e *downloadError) Error() string { return e.err.Error() + ": " + e.said }
func (e *downloadError) Unwrap() error { return e.err }

// copyModule copies a module from the module cache, and verifies the copy.
func copyModule(from, to string, e lock.Edit, goSum string) error {
	at := e.Module + "@" + e.Version
	want := sumOf(goSum, e.Module, e.Version)
	if want == "" {
		return &EditError{Module: at, Err: errors.New("go.sum has no line for it; make the lock again")}
	}
	if err := copyDir(from, to); err != nil {
		return &EditError{Module: at, Err: err}
	}
	got, err := dirhash.HashDir(to, at, dirhash.Hash1)
	if err != nil {
		return &EditError{Module: at, Err: err}
	}
	if got != want {
		return &ChecksumError{Module: at, Got: got, Want: want, By: "the lock's go.sum"}
	}
	return nil
}

// sumOf is the checksum that a go.sum has of a module; "" for none.
func sumOf(goSum, modulePath, version string) string {
	for entry := range strings.Lines(goSum) {
		if f := strings.Fields(entry); len(f) == 3 && f[0] == modulePath && f[1] == version {
			return f[2]
		}
	}
	return ""
}

func copyDir(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(at, 0o700)
		case !d.Type().IsRegular():
			return fmt.Errorf("%s in the module cache is not a regular file", rel)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(at, b, 0o600)
	})
}

// editFile makes the changes to one file of a module.
func editFile(dir string, f lock.FileEdit) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	before, err := root.ReadFile(f.Path)
	switch {
	case f.Before == "" && err == nil:
		return errors.New("it is there, and should not be")
	case f.Before == "" && errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case hexSHA256(before) != f.Before:
		return fmt.Errorf("its SHA-256 is %s, and the edit is for %s", hexSHA256(before), f.Before)
	}
	after, err := change(before, f.Changes)
	if err != nil {
		return err
	}
	if sum := hexSHA256(after); sum != f.After {
		return fmt.Errorf("edited, its SHA-256 is %s, and not %s", sum, f.After)
	}
	if err := root.MkdirAll(path.Dir(f.Path), 0o700); err != nil {
		return err
	}
	return root.WriteFile(f.Path, after, 0o600)
}

// change makes changes to a text, one after the other.
func change(text []byte, changes []lock.Change) ([]byte, error) {
	for _, c := range changes {
		if c.Old == "" {
			if len(text) > 0 {
				return nil, errors.New("a change of nothing is for new files only")
			}
			text = []byte(c.New)
			continue
		}
		at := 0
		for n := 1; ; n++ {
			i := bytes.Index(text[at:], []byte(c.Old))
			if i < 0 {
				return nil, fmt.Errorf("it has not %q %d times", c.Old, c.Occurrence)
			}
			if at += i; n == c.Occurrence {
				break
			}
			at += len(c.Old)
		}
		text = slices.Concat(text[:at], []byte(c.New), text[at+len(c.Old):])
	}
	return text, nil
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// checkEdits refuses edits that would reach outside of the wrapper's directory,
// and a go.mod that replaces modules by any directories but theirs.
func checkEdits(edits []lock.Edit, mod *modfile.File) []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	declared := map[string]bool{}
	for _, e := range edits {
		if module.Check(e.Module, e.Version) != nil || declared[e.Module] {
			wrong("edits: %s %s is no module, or is there twice", e.Module, e.Version)
			continue
		}
		declared[e.Module] = true
		if !slices.ContainsFunc(mod.Require, func(r *modfile.Require) bool { return r.Mod.Path == e.Module && r.Mod.Version == e.Version }) {
			wrong("edits: go.mod does not require %s %s", e.Module, e.Version)
		}
		if !slices.ContainsFunc(mod.Replace, func(r *modfile.Replace) bool {
			return r.Old.Path == e.Module && r.Old.Version == "" && r.New.Path == replacement(e.Module)
		}) {
			wrong("edits: go.mod does not replace %s by %s", e.Module, replacement(e.Module))
		}
		for _, f := range e.Files {
			if err := checkFileEdit(f, e.Own); err != nil {
				wrong("edits: %s: %q: %w", e.Module, f.Path, err)
			}
		}
	}
	for a := range declared {
		for b := range declared {
			if strings.HasPrefix(b, a+"/") {
				wrong("edits: the directory of %s would be inside that of %s", b, a)
			}
		}
	}
	for _, r := range mod.Replace {
		if r.New.Version == "" && !(declared[r.Old.Path] && r.Old.Version == "" && r.New.Path == replacement(r.Old.Path)) {
			wrong("goMod: %s is replaced by a directory of the machine that made the lock", r.Old.Path)
		}
	}
	return errs
}

func checkFileEdit(f lock.FileEdit, own bool) error {
	switch {
	case f.Path == "." || !fs.ValidPath(f.Path) || strings.ContainsAny(f.Path, "\\\x00"):
		return errors.New("it is no path within a module")
	case f.Before != "" && (own || !hexDigest.MatchString(f.Before)), !hexDigest.MatchString(f.After):
		return errors.New("its digests are not SHA-256")
	}
	for _, c := range f.Changes {
		if (c.Old == "") != (f.Before == "") || (c.Old != "" && c.Occurrence < 1) {
			return errors.New("its changes do not fit its digests")
		}
	}
	if f.Before == "" && len(f.Changes) != 1 {
		return errors.New("its changes do not fit its digests")
	}
	return nil
}
