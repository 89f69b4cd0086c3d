package etcd

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// PublishedModule is a module version with its checksum.
type PublishedModule struct {
	Path, Version string
	Sum           string // "h1:…", as go.sum has it
}

// maxRootFile bounds the files that RootFiles reads.
const maxRootFile = 4 << 20

const readingLicences = "downloading modules for their licences"

// RootFiles returns those files at the root of published modules whose names
// are wanted, by name. The modules come from the machine's module cache, or
// from where it gets its modules; each has been checked against its sum.
func (c *Compiler) RootFiles(ctx context.Context, modules []PublishedModule, wanted func(name string) bool) (map[PublishedModule]map[string]string, error) {
	if len(modules) == 0 {
		return nil, nil
	}
	found := map[PublishedModule]map[string]string{}
	var missing []PublishedModule
	for _, m := range modules {
		if files, ok := c.storedRootFiles(m, wanted); ok {
			found[m] = files
		} else {
			missing = append(missing, m)
		}
	}
	if modules = missing; len(modules) == 0 {
		return found, nil
	}
	h, err := c.Go.find(ctx)
	if err != nil {
		return nil, err
	}
	dir, remove, err := c.Store.TempDir()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", readingLicences, err)
	}
	defer remove()
	args := []string{"mod", "download", "-json"}
	var sum strings.Builder
	for _, m := range modules {
		fmt.Fprintf(&sum, "%s %s %s\n", m.Path, m.Version, m.Sum)
		args = append(args, m.Path+"@"+m.Version)
	}
	for name, content := range map[string]string{"go.mod": "module etcdimg.build/licences\n", "go.sum": sum.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("%s: %w", readingLicences, err)
		}
	}
	zips, err := c.downloads(ctx, h, h.version, dir, args)
	if needsNewerGo(err) {
		// The one that compiles where a profile names none reads the modules of
		// everything in the catalogue.
		zips, err = c.downloads(ctx, h, DefaultToolchain, dir, args)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		d := zips[m.Path+"@"+m.Version]
		if d.Sum != m.Sum {
			return nil, fmt.Errorf("%s: %s %s has the checksum %s, expected is %s: remove it from the module cache (go clean -modcache)", readingLicences, m.Path, m.Version, orNone(d.Sum), m.Sum)
		}
		if found[m], err = rootFiles(d.Zip, m.Path+"@"+m.Version+"/", wanted); err != nil {
			return nil, fmt.Errorf("%s: %s %s: %w", readingLicences, m.Path, m.Version, err)
		}
	}
	return found, nil
}

// downloads runs go mod download in dir, and gives its answer by path@version.
func (c *Compiler) downloads(ctx context.Context, h *host, toolchain, dir string, args []string) (map[string]download, error) {
	var stdout bytes.Buffer
	stderr := &output{}
	// Every sum is known here: the checksum database need not be asked.
	env := append(h.base(toolchain), "GOFLAGS=-mod=mod", "GONOSUMDB=*")
	// With -json the command tells of a failure in its output too, by module.
	failed := c.Go.runner.Run(ctx, Command{Path: h.path, Args: args, Env: env, Dir: dir, Stdout: &stdout, Stderr: stderr})
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", readingLicences, ctx.Err())
	}
	zips, err := parseDownloads(&stdout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", readingLicences, err)
	}
	if failed != nil {
		return nil, diagnose(readingLicences, failed, stderr, h, toolchain)
	}
	return zips, nil
}

// needsNewerGo says whether an older go command refused a module, whose go.mod
// asks for a newer one, although only its files are wanted.
func needsNewerGo(err error) bool {
	return err != nil && strings.Contains(err.Error(), "requires go >= ")
}

// download is what go mod download -json tells of a module (go help mod
// download).
type download struct {
	Path, Version, Error, Zip, Sum string
}

func parseDownloads(r io.Reader) (map[string]download, error) {
	all := map[string]download{}
	for d := json.NewDecoder(r); ; {
		var one download
		err := d.Decode(&one)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("the answer of go mod download is not understood: %w", err)
		case one.Error != "":
			return nil, fmt.Errorf("%s %s: %s", one.Path, one.Version, one.Error)
		}
		all[one.Path+"@"+one.Version] = one
	}
}

func rootFiles(file, prefix string, wanted func(string) bool) (map[string]string, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	found := map[string]string{}
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok || strings.Contains(name, "/") || !wanted(name) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r, maxRootFile+1))
		if cerr := r.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(b) > maxRootFile {
			return nil, fmt.Errorf("%s has more than %d bytes", name, maxRootFile)
		}
		found[name] = string(b)
	}
	return found, nil
}
