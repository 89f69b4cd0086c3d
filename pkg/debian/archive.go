package debian

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// repository is one line of a profile's repositories: ARCHIVE SUITE COMPONENT…
type repository struct {
	Archive    string   `json:"archive"` // debian, debian-security, or a URL
	Suite      string   `json:"suite"`
	Components []string `json:"components"`
}

// namedArchives are those that mirrors and the snapshot archive know by name.
var namedArchives = []string{"debian", "debian-security"}

var (
	suiteName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_-]*(/[A-Za-z0-9][A-Za-z0-9.+_-]*)*$`)
	componentName = suiteName
)

func parseRepository(line string) (repository, error) {
	fail := func(what string) (repository, error) {
		return repository{}, fmt.Errorf("repository %q: %s: write ARCHIVE SUITE COMPONENT…, as in \"debian trixie main\"", line, what)
	}
	f := strings.Fields(line)
	if len(f) < 3 {
		return fail("wants an archive, a suite and at least one component")
	}
	r := repository{Archive: f[0], Suite: f[1], Components: f[2:]}
	if !isNamed(r.Archive) {
		if !strings.Contains(r.Archive, ":") {
			return fail(fmt.Sprintf("archive %q is neither %s nor a URL", r.Archive, strings.Join(namedArchives, " nor ")))
		}
		if _, err := parseBase(r.Archive); err != nil {
			return fail(err.Error())
		}
		r.Archive = strings.TrimRight(r.Archive, "/")
	}
	if !suiteName.MatchString(r.Suite) {
		return fail(fmt.Sprintf("suite %q is not a suite name", r.Suite))
	}
	seen := map[string]bool{}
	for _, c := range r.Components {
		if !componentName.MatchString(c) {
			return fail(fmt.Sprintf("component %q is not a component name", c))
		}
		if seen[c] {
			return fail(fmt.Sprintf("component %q is named twice", c))
		}
		seen[c] = true
	}
	return r, nil
}

// CheckRepository says what is wrong with one line of a profile's
// repositories, nil if nothing is. It does not ask any archive.
func CheckRepository(line string) error {
	_, err := parseRepository(line)
	return err
}

func isNamed(archive string) bool {
	for _, n := range namedArchives {
		if archive == n {
			return true
		}
	}
	return false
}

// parseBase parses a base URL that files are fetched beneath.
func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL", s)
	}
	switch {
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && strings.HasPrefix(u.Path, "/"):
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
	default:
		return nil, fmt.Errorf("%q: want an http, https or file URL, as in https://mirror.example/debian", s)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q: a base URL has neither query nor fragment", s)
	}
	return u, nil
}

const snapshotTime = "20060102T150405Z"

// snapshotDelay is how long after a Release file's Date the snapshot archive
// is sure to have taken it in with every file that it names. Files stay in the
// pool longer than that after a suite has let go of them.
const snapshotDelay = 24 * time.Hour

// SnapshotOf is the timestamp (YYYYMMDDTHHMMSSZ) under which the snapshot
// archive has a suite whose Release file has that date.
func SnapshotOf(date time.Time) string {
	return date.UTC().Add(snapshotDelay).Format(snapshotTime)
}

// sources returns the base URLs that have an archive's files, in the order in
// which they are to be asked. timestamp chooses the snapshot; with an empty
// one the snapshot archive is left out.
func (r *Resolver) sources(archive, timestamp string) []string {
	if !isNamed(archive) {
		return []string{archive}
	}
	var out []string
	add := func(base string) {
		base = strings.TrimRight(base, "/")
		for _, o := range out {
			if o == base {
				return
			}
		}
		out = append(out, base)
	}
	if r.opts.Mirror != "" {
		add(mirrorOf(r.opts.Mirror, archive))
	}
	for _, uri := range r.apt {
		if path.Base(strings.TrimRight(uri, "/")) == archive {
			add(uri)
		}
	}
	if timestamp != "" && r.opts.Snapshot != None {
		add(snapshotURL(r.opts.Snapshot, archive, timestamp))
	}
	return out
}

// mirrorOf is where a mirror has a named archive: archives lie beside one
// another.
func mirrorOf(base, archive string) string {
	base = strings.TrimRight(base, "/")
	if isNamed(path.Base(base)) {
		base = strings.TrimSuffix(base, "/"+path.Base(base))
	}
	return base + "/" + archive
}

// resolveSources are the sources to resolve from.
func (r *Resolver) resolveSources(archive string) []string {
	timestamp := ""
	if !r.opts.Now.IsZero() {
		timestamp = r.opts.Now.UTC().Truncate(time.Hour).Format(snapshotTime)
	}
	return r.sources(archive, timestamp)
}

// skip tells whether the caller allows a suite to be left out for an
// architecture.
func (r *Resolver) skip(suite, debArch string) bool {
	for _, s := range r.opts.SkipSuites {
		name, arch, _ := strings.Cut(s, ":")
		if d, ok := DebianArch(arch); ok {
			arch = d
		}
		if name == suite && arch == debArch {
			return true
		}
	}
	return false
}

func checkSkips(skips []string) error {
	for _, s := range skips {
		suite, arch, ok := strings.Cut(s, ":")
		if !ok || !suiteName.MatchString(suite) || arch == "" {
			return fmt.Errorf("suite to skip %q: write SUITE:ARCH, as in trixie-updates:s390x", s)
		}
		if !knownArch(arch) {
			return fmt.Errorf("suite to skip %q: architecture %q is not one of %s", s, arch, goArchNames())
		}
	}
	return nil
}

func knownArch(arch string) bool {
	for _, a := range debianArchs {
		if arch == a.goarch || arch == a.debian {
			return true
		}
	}
	return false
}
