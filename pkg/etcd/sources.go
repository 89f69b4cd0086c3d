package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// sourcesKind is the kind of the store's records of sources: for each wrapper
// module and each kind of machine that compiles, the files of a module proxy
// from which it can be compiled without any network.
const sourcesKind = "sources"

// sources are the files of a module proxy, by path.
type sources struct {
	Files []sourceFile `json:"files"`
}

type sourceFile struct {
	Path   string `json:"path"` // golang.org/x/mod/@v/v0.39.0.zip
	Digest string `json:"digest"`
	Size   int64  `json:"size"`

	Module  string `json:"module,omitempty"` // of an archive
	Version string `json:"version,omitempty"`
}

// fetchedKey is the key of the record of a recipe's sources. The toolchain is
// one for the machine that compiles.
func fetchedKey(pin recipe) string {
	return hexSHA256(fmt.Appendf(nil, "sources 1\n%s\n%s\n%s/%s\n%q\n%q\n", pin.Toolchain, pin.GoSum, runtime.GOOS, runtime.GOARCH, pin.GoMod, pin.Packages))
}

// moduleKind is the kind of the store's records of module archives, by path
// and version: a sourceFile each.
const moduleKind = "module"

func moduleKey(path, version string) string { return hexSHA256([]byte(path + "@" + version)) }

// Sources tells what the store has that a pin can be compiled from on a
// machine like this one. It is false where FetchSources has not put everything
// there.
func (c *Compiler) Sources(pin lock.Etcd) ([]Record, bool) { return c.fetched(etcdRecipe(pin)) }

// ProgramSources is Sources for a program.
func (c *Compiler) ProgramSources(p Program) ([]Record, bool) { return c.fetched(p.recipe()) }

func (c *Compiler) fetched(pin recipe) ([]Record, bool) {
	found, ok := c.sources(pin)
	all := []Record{{Kind: sourcesKind, Key: fetchedKey(pin)}}
	for _, f := range found.Files {
		r := Record{Digest: f.Digest}
		if f.Module != "" {
			r.Kind, r.Key = moduleKind, moduleKey(f.Module, f.Version)
		}
		all = append(all, r)
	}
	return all, ok
}

func (c *Compiler) sources(pin recipe) (sources, bool) {
	var found sources
	if err := c.Store.ReadRecord(sourcesKind, fetchedKey(pin), &found); err != nil {
		return sources{}, false
	}
	for _, f := range found.Files {
		if !c.Store.Has(f.Digest) {
			return sources{}, false
		}
	}
	return found, true
}

// FetchSources puts into the store what a pin is compiled from, for some
// architectures, with all that is verified about it: module archives by the
// wrapper's go.sum, the toolchain by the checksum database. Compilers that are
// Offline need nothing else.
func (c *Compiler) FetchSources(ctx context.Context, pin lock.Etcd, archs []string) error {
	return c.fetchSources(ctx, etcdRecipe(pin), archs)
}

// FetchProgramSources is FetchSources for a program.
func (c *Compiler) FetchProgramSources(ctx context.Context, p Program, archs []string) error {
	return c.fetchSources(ctx, p.recipe(), archs)
}

func (c *Compiler) fetchSources(ctx context.Context, pin recipe, archs []string) error {
	if _, ok := c.sources(pin); ok || len(archs) == 0 {
		return nil
	}
	doing := "downloading the modules of " + pin.name
	binaries := slices.Sorted(maps.Keys(pin.Packages))
	if err := checkPin(pin, archs[0], binaries); err != nil {
		return err
	}
	h, err := c.Go.find(ctx)
	if err != nil {
		return err
	}
	w, err := c.workspace(ctx, h, pin, archs[0], doing)
	if err != nil {
		return err
	}
	defer w.remove()
	args := append(append([]string{"list"}, flags()...), "-deps", "-f", "")
	for _, name := range binaries {
		args = append(args, pin.Packages[name])
	}
	for _, arch := range archs {
		if err := c.run(ctx, h, w, pin, arch, doing, args); err != nil {
			return err
		}
	}
	s := &sourceReader{store: c.Store, dir: w.temp, cache: filepath.Join(h.settings["GOMODCACHE"], "cache", "download")}
	if err := s.modules(ctx, pin.GoSum); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := c.fetchToolchain(ctx, h, w, pin.Toolchain, s); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	slices.SortFunc(s.found, func(a, b sourceFile) int { return strings.Compare(a.Path, b.Path) })
	return c.Store.WriteRecord(sourcesKind, fetchedKey(pin), sources{Files: s.found})
}

const toolchainModule = "golang.org/toolchain"

// fetchToolchain adds the toolchain, which the go command verifies against the
// checksum database. Where the host's Go is that very release, and the proxy
// has it not, the machine that compiles has to have it, too.
func (c *Compiler) fetchToolchain(ctx context.Context, h *host, w workspace, toolchain string, s *sourceReader) error {
	version := "v0.0.1-" + toolchain + "." + runtime.GOOS + "-" + runtime.GOARCH
	scratch := filepath.Join(w.temp, "toolchain")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scratch, "go.mod"), []byte("module etcdimg.build/toolchain\n"), 0o600); err != nil {
		return err
	}
	var stdout bytes.Buffer
	stderr := new(output)
	failed := c.Go.runner.Run(ctx, Command{Path: h.path, Args: []string{"mod", "download", "-json", toolchainModule + "@" + version},
		Env: h.base(toolchain), Dir: scratch, Stdout: &stdout, Stderr: stderr})
	var answer struct{ Zip, Error string }
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil || answer.Zip == "" || failed != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if h.version == toolchain {
			return nil
		}
		return fmt.Errorf("the toolchain %s is not to be had: %s%s", toolchain, answer.Error, stderr.indented(3))
	}
	return s.file(ctx, toolchainModule, version, ".zip", "")
}

// sourceReader takes files out of the go command's module cache.
type sourceReader struct {
	store Store
	dir   string // for temporary files
	cache string // where the go command has them
	found []sourceFile
}

// modules adds what a go.sum has checksums of, as far as the go command needed
// it.
func (s *sourceReader) modules(ctx context.Context, goSum string) error {
	for entry := range strings.Lines(goSum) {
		f := strings.Fields(entry)
		if len(f) != 3 {
			continue
		}
		version, isMod := strings.CutSuffix(f[1], "/go.mod")
		ext := ".zip"
		if isMod {
			ext = ".mod"
		}
		if err := s.file(ctx, f[0], version, ext, f[2]); err != nil {
			return err
		}
	}
	return nil
}

// file adds a file of a module, verified, if the module cache has it. An
// archive comes with what a proxy says of its version: nothing but its name,
// so that all machines say the same.
func (s *sourceReader) file(ctx context.Context, path, version, ext, want string) error {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return err
	}
	v, err := module.EscapeVersion(version)
	if err != nil {
		return err
	}
	name := escaped + "/@v/" + v + ext
	from := filepath.Join(s.cache, filepath.FromSlash(name))
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if want != "" {
		got, err := moduleSum(from, ext)
		if err != nil {
			return err
		}
		if got != want {
			return &ChecksumError{Module: path + "@" + version, Got: got, Want: want, By: "the lock's go.sum"}
		}
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	put, err := s.put(ctx, name, src)
	if err != nil {
		return err
	}
	if ext != ".zip" {
		s.found = append(s.found, put)
		return nil
	}
	put.Module, put.Version = path, version
	if err := s.store.WriteRecord(moduleKind, moduleKey(path, version), put); err != nil {
		return err
	}
	info, err := s.put(ctx, escaped+"/@v/"+v+".info", strings.NewReader(fmt.Sprintf("{\"Version\":%q}\n", version)))
	s.found = append(s.found, put, info)
	return err
}

func moduleSum(file, ext string) (string, error) {
	if ext == ".zip" {
		return dirhash.HashZip(file, dirhash.Hash1)
	}
	return dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return os.Open(file) })
}

// put copies into the store: what lies in the go command's cache is its own.
func (s *sourceReader) put(ctx context.Context, name string, r io.Reader) (sourceFile, error) {
	f, err := os.CreateTemp(s.dir, "source-")
	if err != nil {
		return sourceFile{}, err
	}
	_, err = io.Copy(f, contextReader{ctx, r})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return sourceFile{}, err
	}
	digest, size, err := s.store.PutFile(ctx, f.Name())
	return sourceFile{Path: name, Digest: digest, Size: size}, err
}

// proxied is a go command that knows no module proxy but a folder with the
// sources of a pin, all of them verified on their way there, and on their way
// into the store. done removes the folder. Where the store has no sources, the
// go command is left with what its own cache has.
func (c *Compiler) proxied(h *host, pin recipe) (offline *host, done func(), err error) {
	found, ok := c.sources(pin)
	if !c.Offline || !ok {
		return h, func() {}, nil
	}
	dir, remove, err := c.Store.TempDir()
	if err != nil {
		return nil, nil, err
	}
	for _, f := range found.Files {
		if !fs.ValidPath(f.Path) {
			err = fmt.Errorf("the record of the sources of %s names %q", pin.name, f.Path)
			break
		}
		to := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err = os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			break
		}
		if err = c.Store.Link(f.Digest, to); err != nil {
			break
		}
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	other := *h
	other.settings = maps.Clone(h.settings)
	for _, name := range []string{"GONOPROXY", "GOPRIVATE", "GOINSECURE", "GONOSUMDB"} {
		delete(other.settings, name)
	}
	// One proxy that is a folder: the only one whose toolchains the go command
	// takes without asking the checksum database again.
	other.settings["GOPROXY"] = (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}).String()
	other.settings["GOSUMDB"] = "off"
	return &other, remove, nil
}

// FetchReleases puts into the store the archives of official releases that a
// pin has for architectures.
func (c *Compiler) FetchReleases(ctx context.Context, pin lock.Etcd, archs, binaries []string) error {
	for _, arch := range archs {
		if err := checkPin(etcdRecipe(pin), arch, binaries); err != nil {
			return err
		}
		if err := c.prefetchArchive(ctx, etcdRecipe(pin), arch); err != nil {
			return err
		}
	}
	return nil
}

// Record is a record of the store, a blob that it speaks of, or both.
type Record struct {
	Kind, Key string // of the record; "" for none
	Digest    string // of the blob; "" for none
}

// Made are the records of binaries of a pin that the store has.
func (c *Compiler) Made(pin lock.Etcd, arch string, binaries []string) []Record {
	return c.made(etcdRecipe(pin), arch, binaries)
}

// MadeProgram is Made for a program.
func (c *Compiler) MadeProgram(p Program, arch string) []Record {
	return c.made(p.recipe(), arch, []string{p.Name})
}

func (c *Compiler) made(pin recipe, arch string, binaries []string) []Record {
	found, _ := c.lookup(pin, arch, binaries)
	var all []Record
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, Record{recordKind, binaryKey(pin, arch, name), found[name].Digest})
	}
	return all
}

// storedRootFiles is rootFiles for a module archive that the store has; false
// where it has none, or another.
func (c *Compiler) storedRootFiles(m PublishedModule, wanted func(string) bool) (map[string]string, bool) {
	var f sourceFile
	if c.Store.ReadRecord(moduleKind, moduleKey(m.Path, m.Version), &f) != nil {
		return nil, false
	}
	zip, err := c.Store.Open(f.Digest)
	if err != nil {
		return nil, false
	}
	defer zip.Close()
	if sum, err := moduleSum(zip.Name(), ".zip"); err != nil || sum != m.Sum {
		return nil, false
	}
	found, err := rootFiles(zip.Name(), m.Path+"@"+m.Version+"/", wanted)
	return found, err == nil
}
