package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

const (
	debianColdShare = 2  // a cold assembly is to take this part of mmdebstrap's time at most
	debianWarmShare = 50 // and a warm one this part
)

// debian measures the assembly of debian-slim's packages, without etcd, against
// mmdebstrap's for the same packages. Both take their packages from a mirror
// in this process that has them already, so neither waits for the network.
// etcdimg compresses its layer meanwhile, mmdebstrap writes a plain archive.
func (b *workbench) debian(ctx context.Context, runs int) ([]row, error) {
	mmdebstrap, err := exec.LookPath("mmdebstrap")
	if err != nil || os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "NOT MEASURED: the assembly of debian-slim: it takes mmdebstrap, and root to run it")
		return nil, nil
	}
	mirror, err := newMirror(ctx)
	if err != nil {
		return nil, err
	}
	defer mirror.server.Close()
	keys, err := b.archiveKeys()
	if err != nil {
		return nil, err
	}
	profile := filepath.Join(b.root, "debian.yaml")
	text := fmt.Sprintf("include: %s\netcd: {versions: [], binaries: []}\nentrypoint: {command: \"\"}\ncmd: \"\"\ntag: base\narchs: [amd64]\n",
		filepath.Join(b.repo, "configs", "debian-slim.yaml"))
	if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
		return nil, err
	}
	build := func(cache string) (cost, error) {
		p := b.build(cache, profile)
		p.env["ETCDIMG_DEBIAN_MIRROR"] = mirror.server.URL
		_, c, err := p.run(ctx)
		return c, err
	}
	bootstrap := &process{argv: []string{mmdebstrap, "--mode=root", "--variant=minbase", "--include=ca-certificates,tzdata",
		"--architectures=amd64", "trixie", filepath.Join(b.root, "mmdebstrap.tar")}}
	for _, s := range []string{"debian trixie", "debian trixie-updates", "debian-security trixie-security"} {
		bootstrap.argv = append(bootstrap.argv, fmt.Sprintf("deb [signed-by=%s] %s/%s main", keys, mirror.server.URL, s))
	}

	fmt.Fprintln(os.Stderr, "measuring the assembly of debian-slim")
	var cold, warm, theirs []cost
	// The first round has the mirror fetch what it lacks.
	for i := range min(runs, 3) + 1 {
		cache := filepath.Join(b.root, fmt.Sprint("cache-debian-", i))
		first, err := build(cache)
		if err != nil {
			return nil, err
		}
		again, err := build(cache)
		if err != nil {
			return nil, err
		}
		_, their, err := bootstrap.run(ctx)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			cold, warm, theirs = append(cold, first), append(warm, again), append(theirs, their)
		}
		if err := os.RemoveAll(cache); err != nil {
			return nil, err
		}
	}
	c, w, m := median(cold), median(warm), median(theirs)
	return []row{
		{"debian-slim's packages, cold", c.String(), "", true},
		{"debian-slim's packages, warm", w.String(), "", true},
		{"mmdebstrap, the same packages", m.String(), "", true},
		{"cold assembly / mmdebstrap", fmt.Sprintf("1/%.1f", m.wall.Seconds()/c.wall.Seconds()), fmt.Sprintf("1/%d", debianColdShare), c.wall*debianColdShare <= m.wall},
		{"cold assembly / mmdebstrap, processor time", fmt.Sprintf("1/%.1f", m.cpu.Seconds()/c.cpu.Seconds()), "", true},
		{"warm assembly / mmdebstrap, processor time", fmt.Sprintf("1/%.0f", m.cpu.Seconds()/w.cpu.Seconds()), "", true},
		{"warm assembly / mmdebstrap", fmt.Sprintf("1/%.0f", m.wall.Seconds()/w.wall.Seconds()), fmt.Sprintf("1/%d", debianWarmShare), w.wall*debianWarmShare <= m.wall},
	}, nil
}

// archiveKeys writes the keys that etcdimg trusts into one file, where apt's
// own user can read it.
func (b *workbench) archiveKeys() (string, error) {
	files, err := filepath.Glob(filepath.Join(b.repo, "pkg", "debian", "keys", "*.pgp"))
	if err != nil {
		return "", err
	}
	var all []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		all = append(all, data...)
	}
	name := filepath.Join(b.root, "keys.gpg")
	return name, errors.Join(os.Chmod(b.root, 0o755), os.WriteFile(name, all, 0o644))
}

// mirror answers as the machine's own mirrors do, and asks them each thing only
// once.
type mirror struct {
	server   *httptest.Server
	archives map[string]string // debian → base URL
	mu       sync.Mutex
	answers  map[string]answer
}

type answer struct {
	status int
	body   []byte
}

// newMirror starts a mirror of the archives debian and debian-security, from
// where ETCDIMG_DEBIAN_MIRROR or the host's apt have them.
func newMirror(ctx context.Context) (*mirror, error) {
	m := &mirror{archives: map[string]string{}, answers: map[string]answer{}}
	uris, err := output(ctx, "", "apt-get", "update", "--print-uris")
	for uri := range strings.FieldsSeq(strings.ReplaceAll(uris, "'", " ")) {
		if base, _, ok := strings.Cut(uri, "/dists/"); ok {
			m.archives[path.Base(base)] = base
		}
	}
	if base := strings.TrimSuffix(strings.TrimRight(os.Getenv("ETCDIMG_DEBIAN_MIRROR"), "/"), "/debian"); base != "" {
		m.archives = map[string]string{"debian": base + "/debian", "debian-security": base + "/debian-security"}
	}
	if m.archives["debian"] == "" || m.archives["debian-security"] == "" {
		return nil, fmt.Errorf("no mirror of debian and debian-security is known: set ETCDIMG_DEBIAN_MIRROR (%v)", err)
	}
	m.server = httptest.NewServer(m)
	return m, nil
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	a, ok := m.answers[r.URL.Path]
	m.mu.Unlock()
	if !ok {
		archive, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		var err error
		if a, err = ask(r.Context(), m.archives[archive]+"/"+rest); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		m.mu.Lock()
		m.answers[r.URL.Path] = a
		m.mu.Unlock()
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
	w.WriteHeader(a.status)
	w.Write(a.body) // whoever went away does not matter
}

func ask(ctx context.Context, url string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, body}, err
}
