package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	goversion "go/version"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Resolver pins etcd versions.
type Resolver struct {
	Go       *Go
	Store    Store       // remembers wrappers that the go command completed, and keeps archives of releases; nil for none
	Releases *Releases   // nil for etcd's own release page
	Events   func(Event) // may be nil
}

// Resolve pins what r asks for, its binaries or more of them. A version that
// this release of etcdimg carries, without bumps, is pinned at once and without
// any process; any other is completed by the go command, with every checksum
// verified as the host's settings say. Archives of an official release are
// downloaded, and pinned as the release's checksums say.
//
// Errors about the request are *KeyError.
func (s *Resolver) Resolve(ctx context.Context, r Request) (lock.Etcd, error) {
	if err := r.Check(); err != nil {
		return lock.Etcd{}, err
	}
	v, err := parseVersion(r.Version)
	if err != nil {
		return lock.Etcd{}, err
	}
	l, err := line(v)
	if err != nil {
		return lock.Etcd{}, err
	}
	pin := lock.Etcd{Version: v.String(), Line: l.Name}
	sources, releases := r.origins()
	if len(sources) > 0 {
		if pin, err = s.pinSource(ctx, l, v, r); err != nil {
			return lock.Etcd{}, err
		}
	}
	if len(releases) > 0 {
		var date time.Time
		if pin.Release, date, err = s.pinRelease(ctx, l, v, releases, r); err != nil {
			return lock.Etcd{}, err
		}
		if w, ok, err := embedded(v); err == nil && ok {
			date = w.Date
		}
		if pin.Date.IsZero() {
			pin.Date = date
		}
	}
	return pin, nil
}

// pinSource pins what compiles a version.
func (s *Resolver) pinSource(ctx context.Context, l Line, v version, r Request) (lock.Etcd, error) {
	w, ok, err := embedded(v)
	if err != nil {
		return lock.Etcd{}, err
	}
	// What is embedded has all of the line's programs, so that profiles that
	// want different ones share what they compile. Of other versions some
	// proxies have but a part, so only what is asked for is required.
	if !ok {
		l = l.only(r.Binaries)
	}
	// A wrapper with an older go line serves the lines without one of their own.
	if ok && (l.Incompatible || l.Tags != nil) && olderGo(r.toolchain(), "go"+l.Go) {
		ok = false
	}
	if !ok || len(r.Bump) > 0 {
		if w, err = s.remembered(ctx, l, v, r); err != nil {
			return lock.Etcd{}, err
		}
	}
	mod, err := modfile.Parse("go.mod", []byte(w.GoMod), nil)
	if err != nil {
		return lock.Etcd{}, fmt.Errorf("reading the wrapper module of etcd %s: %w", v, err)
	}
	if mod.Go != nil && olderGo(r.toolchain(), "go"+mod.Go.Version) {
		return lock.Etcd{}, &KeyError{Key: "etcd.toolchain", Value: r.toolchain(), Err: fmt.Errorf(
			"%s can not compile etcd %s, which needs go%s or newer; use %s", r.toolchain(), v, mod.Go.Version, DefaultToolchain)}
	}
	id, err := identity(l, v, w.GoSum)
	if err != nil {
		return lock.Etcd{}, err
	}
	return lock.Etcd{
		Version:       v.String(),
		ModuleVersion: l.moduleVersion(v),
		Line:          l.Name,
		Date:          w.Date,
		Toolchain:     r.toolchain(),
		Packages:      maps.Clone(l.Programs),
		Variables:     map[string]string{l.GitSHA: id},
		GoMod:         w.GoMod,
		GoSum:         w.GoSum,
		Settings:      r.Settings(),
		Edits:         l.Edits,
	}, nil
}

// olderGo compares toolchains: whether a is older than b.
func olderGo(a, b string) bool { return goversion.Compare(a, b) < 0 }

// identity is what etcd prints as its Git SHA. A module proxy does not tell
// the commit of a tagged version, so it is the checksum of the identity
// module, which anyone can compare with the checksum database; of a
// pseudo-version it is the commit that the version names.
func identity(l Line, v version, goSum string) (string, error) {
	mv := l.moduleVersion(v)
	if module.IsPseudoVersion(mv) {
		return module.PseudoVersionRev(mv)
	}
	for entry := range strings.Lines(goSum) {
		if f := strings.Fields(entry); len(f) == 3 && f[0] == l.Identity && f[1] == mv {
			return f[2], nil
		}
	}
	return "", fmt.Errorf("the go.sum of etcd %s has no line for %s %s", v, l.Identity, mv)
}

// wrapperKind is the kind of the store's records of completed wrappers.
const wrapperKind = "wrapper"

// remembered is complete, once: exact versions never select anything else.
func (s *Resolver) remembered(ctx context.Context, l Line, v version, r Request) (wrapper, error) {
	if s.Store == nil {
		return s.complete(ctx, l, v, r)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n%q\n", recipeVersion, l.skeleton(v, r), l.demands(v, r))
	if len(l.Edits) > 0 {
		if err := json.NewEncoder(h).Encode(l.Edits); err != nil {
			return wrapper{}, err
		}
	}
	key := hex.EncodeToString(h.Sum(nil))
	var w wrapper
	if err := s.Store.ReadRecord(wrapperKind, key, &w); err == nil && w.GoMod != "" && w.GoSum != "" {
		return w, nil
	}
	w, err := s.complete(ctx, l, v, r)
	if err != nil {
		return wrapper{}, err
	}
	return w, s.Store.WriteRecord(wrapperKind, key, w)
}

// complete makes a wrapper module and lets the go command complete it. What
// comes out depends on nothing but the version, the bumps and the modules
// themselves, which the checksum database vouches for.
func (s *Resolver) complete(ctx context.Context, l Line, v version, r Request) (wrapper, error) {
	h, err := s.Go.find(ctx)
	if err != nil {
		return wrapper{}, err
	}
	s.emit(v, Resolving, "")
	dir, err := os.MkdirTemp("", "etcdimg-resolve-")
	if err != nil {
		return wrapper{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	// A version that is named must be what is selected, so the modules and
	// the bumps go into one call. go get completes go.sum for every
	// architecture and leaves tests out, which go mod tidy would not.
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), l.skeleton(v, r), 0o600); err != nil {
		return wrapper{}, err
	}
	edited := l.editedSums()
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), []byte(edited), 0o600); err != nil {
		return wrapper{}, err
	}
	edit := editor{runner: s.Go.runner, host: h, toolchain: r.toolchain(), onLine: s.listen(v)}
	if err := edit.write(ctx, dir, l.Edits, edited, "pinning etcd "+v.String()); err != nil {
		return wrapper{}, err
	}
	args := append([]string{"get"}, l.demands(v, r)...)
	stderr, err := s.call(ctx, h, dir, v, r, nil, args...)
	if err != nil {
		return wrapper{}, s.explain(ctx, h, dir, l, v, r, stderr, err)
	}
	if m := guessed.FindStringSubmatch(stderr.text()); m != nil && l.Incompatible && len(r.Bump) == 0 {
		return wrapper{}, &KeyError{Key: "etcd.versions", Value: v.String(), Err: fmt.Errorf(
			"etcd %s can not be compiled: nobody says which version of %s it takes, as %s, which can, does not need it; choose %s", v, m[1], l.Newest, l.Newest)}
	}
	if err := s.checkBumps(ctx, h, dir, l, v, r); err != nil {
		return wrapper{}, err
	}
	date, err := s.date(ctx, h, dir, l, v, r)
	if err != nil {
		return wrapper{}, err
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return wrapper{}, err
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return wrapper{}, err
	}
	return wrapper{GoMod: string(mod), GoSum: string(sum), Date: date}, nil
}

// guessed is what the go command says when it has taken the newest version of
// a module that nothing requires.
var guessed = regexp.MustCompile(`(?m)^go: added (\S+) v\S+$`)

// call runs the go command in a wrapper's directory.
func (s *Resolver) call(ctx context.Context, h *host, dir string, v version, r Request, stdout *bytes.Buffer, args ...string) (*output, error) {
	stderr := &output{onLine: s.listen(v)}
	c := Command{Path: h.path, Args: args, Dir: dir, Stderr: stderr,
		Env: append(h.base(r.toolchain()), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")}
	if stdout != nil {
		c.Stdout = stdout
	}
	return stderr, s.Go.runner.Run(ctx, c)
}

// listen returns what turns the go command's words into events.
func (s *Resolver) listen(v version) func(string) {
	return func(line string) {
		if what, ok := strings.CutPrefix(line, downloading); ok {
			s.emit(v, Downloading, what)
		}
	}
}

// explain turns a failed go get into an error about the request, if it is one.
func (s *Resolver) explain(ctx context.Context, h *host, dir string, l Line, v version, r Request, stderr *output, err error) error {
	if ctx.Err() != nil {
		return err
	}
	text := stderr.text()
	for _, path := range slices.Sorted(maps.Keys(r.Bump)) {
		if strings.Contains(text, ", not "+path+"@") {
			return &KeyError{Key: "etcd.bump", Value: path, Err: fmt.Errorf(
				"%s %s is below what etcd %s needs; remove it, or raise it%s", path, r.Bump[path], v, stderr.indented(3))}
		}
		if strings.Contains(text, path+"@"+r.Bump[path]+": ") && notServed.MatchString(text) && !unreachable.MatchString(text) {
			return &KeyError{Key: "etcd.bump", Value: path, Err: fmt.Errorf("there is no %s %s (GOPROXY is %s)%s", path, r.Bump[path], h.proxy(), stderr.indented(3))}
		}
	}
	err = diagnose("pinning etcd "+v.String(), err, stderr, h, r.toolchain())
	for target, version := range l.standIns() {
		if to := r.Bump[target]; to != "" && strings.Contains(text, "cannot find module providing package") {
			return &KeyError{Key: "etcd.bump", Value: target, Err: fmt.Errorf(
				"etcd %s imports %s under its former name, which %s can not be had by; choose a version closer to %s: %w", v, target, to, version, err)}
		}
	}
	var sum *ChecksumError
	if errors.As(err, &sum) || unreachable.MatchString(text) || noToolchain.MatchString(text) || !notServed.MatchString(text) {
		return err
	}
	for _, m := range l.Modules {
		if strings.Contains(text, m+"@"+l.moduleVersion(v)+": ") {
			return &KeyError{Key: "etcd.versions", Value: v.String(), Err: fmt.Errorf(
				"there is no %s %s as a Go module: %s %s is not to be had (GOPROXY is %s); of this line there are %s",
				l.program(m), v, m, l.moduleVersion(v), h.proxy(), strings.Join(s.available(ctx, h, dir, l, v, r), ", "))}
		}
	}
	return err
}

// available lists the versions of a line, oldest first: those of which the
// module proxy lists every module, and the one that is embedded. It is for a
// message, so whatever fails leaves the list short.
func (s *Resolver) available(ctx context.Context, h *host, dir string, l Line, v version, r Request) []string {
	if l.Tags != nil {
		return l.tagged()
	}
	newest := []string{l.Newest}
	// Requiring what does not exist, the wrapper can not even be asked.
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module etcdimg.build/versions\n"), 0o600); err != nil {
		return newest
	}
	var stdout bytes.Buffer
	args := []string{"list", "-m", "-versions", "-f", `{{join .Versions " "}}`}
	if _, err := s.call(ctx, h, dir, v, r, &stdout, append(args, l.Modules...)...); err != nil {
		return newest
	}
	listed := map[string]int{}
	for _, tag := range strings.Fields(stdout.String()) {
		if one, ok := l.versionOf(tag); ok {
			listed["v"+one.String()]++
		}
	}
	listed["v"+l.Newest] = len(l.Modules)
	var names []string
	for _, tag := range slices.SortedFunc(maps.Keys(listed), semver.Compare) {
		if listed[tag] == len(l.Modules) {
			names = append(names, strings.TrimPrefix(tag, "v"))
		}
	}
	return names
}

// checkBumps tells of bumps that lead nowhere: those that something needs a
// newer version than, and those of modules that no binary contains.
func (s *Resolver) checkBumps(ctx context.Context, h *host, dir string, l Line, v version, r Request) error {
	if len(r.Bump) == 0 {
		return nil
	}
	args := []string{"list", "-mod=readonly", "-deps", "-f", "{{with .Module}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}{{end}}"}
	var stdout bytes.Buffer
	stderr, err := s.call(ctx, h, dir, v, r, &stdout, append(args, l.packages()...)...)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return diagnose("listing the modules of etcd "+v.String(), err, stderr, h, r.toolchain())
	}
	selected := map[string]string{}
	for entry := range strings.Lines(stdout.String()) {
		if f := strings.Fields(entry); len(f) == 2 {
			selected[f[0]] = f[1]
		}
	}
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(r.Bump)) {
		switch have := selected[path]; {
		case have == "":
			errs = append(errs, &KeyError{Key: "etcd.bump", Value: path, Err: fmt.Errorf("nothing in etcd %s comes from %s; remove it, or look for its other major versions", v, path)})
		case have != r.Bump[path]:
			errs = append(errs, &KeyError{Key: "etcd.bump", Value: path, Err: fmt.Errorf("etcd %s takes %s %s, not %s; remove it, or raise it", v, path, have, r.Bump[path])})
		}
	}
	return errors.Join(errs...)
}

// packages are the import paths of the line's programs, sorted.
func (l Line) packages() []string { return slices.Sorted(maps.Values(l.Programs)) }

// date asks for the date of the identity module's version.
func (s *Resolver) date(ctx context.Context, h *host, dir string, l Line, v version, r Request) (time.Time, error) {
	doing := "asking for the date of etcd " + v.String()
	// In a module of its own: in the wrapper, it may be replaced.
	dir = filepath.Join(dir, editedDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return time.Time{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module etcdimg.build/date\n"), 0o600); err != nil {
		return time.Time{}, err
	}
	var stdout bytes.Buffer
	stderr, err := s.call(ctx, h, dir, v, r, &stdout, "list", "-m", "-json=Time", l.Identity+"@"+l.moduleVersion(v))
	if err != nil {
		if ctx.Err() != nil {
			return time.Time{}, err
		}
		return time.Time{}, diagnose(doing, err, stderr, h, r.toolchain())
	}
	var answer struct{ Time time.Time }
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", doing, err)
	}
	if answer.Time.IsZero() {
		return time.Time{}, fmt.Errorf("%s: %s has none; the module proxy (GOPROXY is %s) must serve .info files", doing, l.Identity, h.proxy())
	}
	return answer.Time.UTC(), nil
}

func (s *Resolver) emit(v version, stage Stage, detail string) {
	if s.Events != nil {
		s.Events(Event{Version: v.String(), Stage: stage, Detail: detail})
	}
}
