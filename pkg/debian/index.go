package debian

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/fetch"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// indexForms are the forms of a Packages file, the ones that are quickly read
// first: decompression takes longer than a download.
var indexForms = []struct{ suffix, compression string }{
	{".zst", "zst"},
	{".gz", "gz"},
	{".xz", "xz"},
	{"", ""},
}

func indexPath(component, arch string) string {
	// debian-security calls its components updates/main in Components and
	// main in paths.
	return strings.TrimPrefix(component, "updates/") + "/binary-" + arch + "/Packages"
}

// candidate is a package as an index offers it.
type candidate struct {
	Name, Version, Arch, Source                      string
	Filename, SHA256                                 string
	Size                                             int64
	Priority, MultiArch                              string
	Essential                                        bool
	PreDepends, Depends, Provides, Conflicts, Breaks string

	suite  *suite
	rank   int           // position of the suite among the repositories
	locked *lock.Package // of a package that is kept as a lock has it
}

func (c *candidate) String() string {
	return c.Name + " " + c.Version + " (" + c.suite.repository.Suite + ")"
}

// indexError says that a suite can not be had verifiably for an architecture.
type indexError struct {
	suite *suite
	arch  string
	err   error
}

func (e *indexError) Error() string {
	return fmt.Sprintf("suite %s can not be verified for architecture %s: %v\nUse a mirror that has it, or record the omission with --skip-suite %s:%s",
		e.suite.repository.Suite, e.arch, e.err, e.suite.repository.Suite, e.arch)
}

func (e *indexError) Unwrap() error { return e.err }

// packages returns what a suite offers for one architecture ("all" for
// binary-all), every component of the repository.
func (r *Resolver) packages(ctx context.Context, s *suite, arch string) ([]*candidate, error) {
	if err := s.loadFiles(r); err != nil {
		return nil, err
	}
	var out []*candidate
	for _, component := range s.repository.Components {
		if !s.has(component, arch) {
			what := fmt.Errorf("it has no component %s for it; components: %s; architectures of %s: %s", component, componentsOf(s.release), component, strings.Join(s.archsOf(component), ", "))
			return nil, &indexError{s, arch, what}
		}
		found, err := r.index(ctx, s, component, arch)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, &indexError{s, arch, err}
		}
		out = append(out, found...)
	}
	return out, nil
}

// index returns the contents of one Packages file.
func (r *Resolver) index(ctx context.Context, s *suite, component, arch string) ([]*candidate, error) {
	base := indexPath(component, arch)
	plain, plainKnown := s.files[base]
	limit := r.opts.Limits.Index
	if plainKnown {
		if plain.size > limit {
			return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", base, errTooLarge, plain.size, limit)
		}
		limit = plain.size
	}
	f, compression, err := r.openIndex(ctx, s, base)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, err := readIndex(ctx, f, compression, limit)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", base, map[bool]string{true: "." + compression}[compression != ""], err)
	}
	for _, c := range out {
		c.suite = s
	}
	return out, nil
}

// openIndex finds a Packages file in any signed form: in the Store, else at
// any source.
func (r *Resolver) openIndex(ctx context.Context, s *suite, base string) (*os.File, string, error) {
	for _, form := range indexForms {
		if file, ok := s.files[base+form.suffix]; ok && r.opts.Store.Has("sha256:"+file.sha256) {
			if f, err := r.opts.Store.Open("sha256:" + file.sha256); err == nil {
				return f, form.compression, nil
			}
		}
	}
	if r.opts.Offline {
		return nil, "", fmt.Errorf("%s: %w, and it is not in the cache", base, fetch.ErrOffline)
	}
	tried := &attempts{}
	for _, source := range r.resolveSources(s.Archive) {
		for _, form := range indexForms {
			file, ok := s.files[base+form.suffix]
			if !ok || file.size == 0 && form.suffix != "" {
				continue
			}
			f, err := r.fetchIndex(ctx, s, source, base+form.suffix, file, tried)
			if err != nil {
				return nil, "", err
			}
			if f != nil {
				return f, form.compression, nil
			}
		}
	}
	return nil, "", tried.error(base, "The digests in the suite's signed index decide; none of the sources has a file that matches")
}

// fetchIndex tries the places where one source may have a signed file. It
// returns nil where none of them has it.
func (r *Resolver) fetchIndex(ctx context.Context, s *suite, source, name string, file signedFile, tried *attempts) (*os.File, error) {
	dir, remove, err := r.opts.Store.TempDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	tmp := filepath.Join(dir, "index")
	for _, place := range s.places(name, file) {
		url := fetch.Join(source, "dists/"+s.repository.Suite+"/"+place)
		_, err := r.fetch.File(ctx, url, tmp, fetch.Expect{Size: file.size, Max: r.opts.Limits.Index, SHA256: file.sha256})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			tried.add(err)
			continue
		}
		digest, _, err := r.opts.Store.PutFile(ctx, tmp)
		if err != nil {
			return nil, err
		}
		return r.opts.Store.Open(digest)
	}
	return nil, nil
}

// places lists the paths that may have a signed file: by its hash first, as
// mirrors change plain names while they are read; then those of other files
// with the same digest, for mirrors that are incomplete.
func (s *suite) places(name string, file signedFile) []string {
	var names []string
	for other, f := range s.files {
		if f == file && other != name && path.Base(other) == path.Base(name) {
			names = append(names, other)
		}
	}
	slices.Sort(names)
	names = append([]string{name}, names[:min(len(names), 16)]...)
	var out []string
	for _, n := range names {
		if s.ByHash {
			out = append(out, path.Dir(n)+"/by-hash/SHA256/"+file.sha256)
		}
		out = append(out, n)
	}
	return out
}

// packageFields are the fields of a Packages file that matter here.
var packageFields = []string{"Package", "Version", "Architecture", "Source", "Filename", "SHA256", "Size", "Priority",
	"Multi-Arch", "Essential", "Pre-Depends", "Depends", "Provides", "Conflicts", "Breaks"}

func keepPackageField(name []byte) string {
	for _, f := range packageFields {
		if string(name) == f {
			return f
		}
	}
	return ""
}

// readIndex parses a Packages file of at most limit bytes.
func readIndex(ctx context.Context, r io.Reader, compression string, limit int64) ([]*candidate, error) {
	z, done, err := decompress(contextReader{ctx, r}, compression)
	if err != nil {
		return nil, err
	}
	defer done()
	p := newStanzaReader(z, limit)
	p.keep = keepPackageField
	intern := interner{}
	var out []*candidate
	for {
		s, err := p.next()
		if err != nil {
			return nil, err
		}
		if s == nil {
			return out, nil
		}
		c, err := newCandidate(s, intern)
		if err != nil {
			return nil, p.fail("%w", err)
		}
		out = append(out, c)
	}
}

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

func newCandidate(s Stanza, intern interner) (*candidate, error) {
	c := &candidate{}
	for _, f := range s {
		v := f.Value
		switch f.Name {
		case "Package":
			c.Name = v
		case "Version":
			c.Version = v
		case "Architecture":
			c.Arch = intern.get(v)
		case "Source":
			c.Source = v
		case "Filename":
			c.Filename = strings.TrimPrefix(v, "./")
		case "SHA256":
			c.SHA256 = strings.ToLower(v)
		case "Size":
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("Size %q is not a number of bytes", v)
			}
			c.Size = n
		case "Priority":
			c.Priority = intern.get(v)
		case "Multi-Arch":
			c.MultiArch = intern.get(v)
		case "Essential":
			c.Essential = v == "yes"
		case "Pre-Depends":
			c.PreDepends = v
		case "Depends":
			c.Depends = v
		case "Provides":
			c.Provides = v
		case "Conflicts":
			c.Conflicts = v
		case "Breaks":
			c.Breaks = v
		}
	}
	if c.Source == "" {
		c.Source = c.Name
	}
	switch {
	case !packageName.MatchString(c.Name):
		return nil, fmt.Errorf("Package %q is not a package name", c.Name)
	case !ValidVersion(c.Version):
		return nil, fmt.Errorf("package %s: Version %q is not a version", c.Name, c.Version)
	case c.Arch == "":
		return nil, fmt.Errorf("package %s has no Architecture", c.Name)
	case !isSHA256(c.SHA256):
		return nil, fmt.Errorf("package %s has no SHA256", c.Name)
	case !cleanRelative(c.Filename):
		return nil, fmt.Errorf("package %s: Filename %q does not lie below the archive", c.Name, c.Filename)
	}
	return c, nil
}

// interner lets the few values that thousands of packages share be one string.
type interner map[string]string

func (m interner) get(s string) string {
	if v, ok := m[s]; ok {
		return v
	}
	m[s] = s
	return s
}
