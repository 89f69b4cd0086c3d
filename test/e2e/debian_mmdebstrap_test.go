//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// difference is a way in which an image may differ from what mmdebstrap makes
// of the same packages by running their scripts.
type difference struct {
	paths  []string // patterns of path.Match; those that end in /** take all that is beneath
	only   string   // "ours", "theirs", or "" for a file that both have
	same   func(theirs, ours []byte) bool
	reason string
}

var acceptedDifferences = []difference{
	{paths: []string{"/dev/**"}, only: "theirs", reason: "a runtime mounts its own, and unpacking devices takes root"},
	{paths: []string{"/etc/hostname", "/etc/resolv.conf"}, only: "theirs", reason: "of the machine that built it; a runtime mounts its own"},
	{paths: []string{"/etc/apt/sources.list"}, only: "theirs", reason: "debian.sources is in its place"},
	{paths: []string{"/etc/apt/sources.list.d/debian.sources"}, only: "ours", reason: "the pinned snapshot"},
	{paths: []string{"/etc/apt/apt.conf.d/docker-*", "/etc/dpkg/dpkg.cfg.d/docker-*", "/usr/sbin/policy-rc.d"}, only: "ours", reason: "settings for containers"},
	{paths: []string{"/var/lib/db/**"}, only: "ours", reason: "the image's SBOM"},
	{paths: []string{"/etc/passwd-", "/etc/group-", "/var/lib/dpkg/*-old"}, only: "theirs", reason: "copies of earlier states, which there were none of"},
	{paths: []string{"/etc/ld.so.cache"}, only: "theirs", reason: "the loader searches the standard directories without it; ldconfig makes it when a package is installed"},
	{paths: []string{"/etc/systemd/system/timers.target.wants/**", "/var/lib/systemd/deb-systemd-helper-enabled/**"}, only: "theirs", reason: "there is no systemd to start timers"},
	{paths: []string{"/var/cache/debconf/*"}, only: "theirs", reason: "all answers are the defaults; debconf makes its database when it is first asked"},
	{paths: []string{"/var/lib/apt/extended_states"}, only: "theirs", reason: "nothing is marked as a mere dependency, so that autoremove takes nothing from the image"},
	{paths: []string{"/var/cache/apt/archives/lock", "/var/lib/apt/lists/lock"}, only: "theirs", reason: "apt makes them when it runs"},
	{paths: []string{"/etc/ca-certificates.conf"}, same: sameLines, reason: "another comment at the top"},
	{paths: []string{"/var/lib/dpkg/diversions"}, same: sameDiversions, reason: "dpkg writes them in the order of a hash table"},
}

// sameLines compares what is no comment.
func sameLines(a, b []byte) bool {
	lines := func(data []byte) (out []string) {
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "#") {
				out = append(out, line)
			}
		}
		return out
	}
	return slices.Equal(lines(a), lines(b))
}

// sameDiversions compares entries of three lines, in any order.
func sameDiversions(a, b []byte) bool {
	entries := func(data []byte) []string {
		return slices.Sorted(slices.Values(slices.Collect(func(yield func(string) bool) {
			for chunk := range slices.Chunk(strings.Split(strings.TrimSpace(string(data)), "\n"), 3) {
				if !yield(strings.Join(chunk, " ")) {
					return
				}
			}
		})))
	}
	return slices.Equal(entries(a), entries(b))
}

func (d difference) covers(p string) bool {
	return slices.ContainsFunc(d.paths, func(pattern string) bool {
		if dir, ok := strings.CutSuffix(pattern, "/**"); ok {
			return p == dir || strings.HasPrefix(p, dir+"/")
		}
		ok, err := path.Match(pattern, p)
		return ok && err == nil
	})
}

// What the rules make of a base system is what its maintainer scripts make of
// it, path by path: kind, mode, owner, link target, content.
func TestDebianBaseAgainstMmdebstrap(t *testing.T) {
	mmdebstrap := shared.tool(t, "mmdebstrap")
	if os.Geteuid() != 0 {
		shared.cannotRun(t, "mmdebstrap is to run as root, to give files their owners")
	}
	keys := archiveKeys(t)
	archs := []string{"amd64"}
	if os.Getenv("ETCDIMG_ALL") == "1" {
		archs = append(archs, "arm64", "ppc64le")
	} else {
		t.Log("NOT RUN: arm64 and ppc64le, which take minutes under emulation; make test-all runs them")
	}
	for _, arch := range archs {
		t.Run(arch, func(t *testing.T) {
			if len(shared.served(t, arch)) == 0 {
				return
			}
			if arch != runtime.GOARCH {
				shared.tool(t, "arch-test")
				shared.emulate(t, arch)
			}
			// A mirror may lack the smaller suites for the smaller architectures.
			suites := []string{"debian trixie"}
			if arch != "ppc64le" {
				suites = append(suites, "debian trixie-updates", "debian-security trixie-security")
			}
			var repositories, lines []string
			for _, s := range suites {
				archive, suite, _ := strings.Cut(s, " ")
				repositories = append(repositories, s+" main")
				lines = append(lines, fmt.Sprintf("deb [signed-by=%s] %s %s main", keys, shared.mirror(t, archive), suite))
			}
			const epoch = "1790000000"
			dir := shared.scratch(t)
			profile := writeProfile(t, include(shared, "base.yaml"), "name: base", "tag: base", "migrate: false", "contents:",
				"  repositories: ["+strings.Join(repositories, ", ")+"]", `  packages: ["@required", apt, ca-certificates]`, "  slim: false")
			layout := filepath.Join(dir, "layout")
			shared.command("build", profile, "--arch", arch, "-o", layout, "--output", "json").with("SOURCE_DATE_EPOCH", epoch).mustBuild(t)
			theirs := filepath.Join(dir, "theirs.tar")
			patiently(t, 20*time.Minute, []string{"SOURCE_DATE_EPOCH=" + epoch}, mmdebstrap, append([]string{
				"--mode=root", "--variant=minbase", "--include=ca-certificates", "--architectures=" + debianName(arch), "trixie", theirs,
			}, lines...)...)
			compareTrees(t, tarball(t, theirs), tree(t, imagesOf(t, layout)[arch]))
		})
	}
}

// archiveKeys writes the keys that etcdimg trusts into one file, for apt.
func archiveKeys(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shared.repo, "pkg", "debian", "keys", "*.pgp"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no keys: %v", err)
	}
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	dir := shared.scratch(t)
	name := filepath.Join(dir, "keys.gpg")
	// apt reads them as a user of its own.
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(name, all, 0o644)); err != nil {
		t.Fatal(err)
	}
	return name
}

// tarball reads a tar archive as tree reads an image.
func tarball(t *testing.T, name string) map[string]file {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string]file{}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Join("/", h.Name)] = file{Header: *h, content: content}
	}
}

func compareTrees(t *testing.T, theirs, ours map[string]file) {
	t.Helper()
	delete(theirs, "/") // a layer without it has a root of mode 0755
	delete(ours, "/")
	all := map[string]bool{}
	for p := range theirs {
		all[p] = true
	}
	for p := range ours {
		all[p] = true
	}
	used, same := map[int]bool{}, 0
	for p := range all {
		a, inTheirs := theirs[p]
		b, inOurs := ours[p]
		what, only := "", ""
		switch {
		case !inOurs:
			what, only = "only mmdebstrap has it: "+attributes(a), "theirs"
		case !inTheirs:
			what, only = "only the image has it: "+attributes(b), "ours"
		case attributes(a) != attributes(b):
			what = fmt.Sprintf("mmdebstrap: %s; the image: %s", attributes(a), attributes(b))
		case !bytes.Equal(a.content, b.content):
			what = fmt.Sprintf("other content, %d and %d bytes", len(a.content), len(b.content))
		default:
			same++
			continue
		}
		accepted := slices.IndexFunc(acceptedDifferences, func(d difference) bool {
			return d.covers(p) && d.only == only && (only != "" || attributes(a) == attributes(b) && d.same(a.content, b.content))
		})
		if accepted < 0 {
			t.Errorf("%s: %s", p, what)
			continue
		}
		used[accepted] = true
	}
	for i, d := range acceptedDifferences {
		if !used[i] {
			t.Logf("no such difference here: %v (%s)", d.paths, d.reason)
		}
	}
	t.Logf("%d of %d paths are the same", same, len(all))
	if same < 5000 {
		t.Errorf("only %d paths are the same", same)
	}
}

// attributes are what has to be the same of a file beside its content.
func attributes(f file) string {
	link := f.Linkname
	if f.Typeflag == tar.TypeLink {
		link = filepath.Join("/", link)
	}
	return fmt.Sprintf("type %c mode %04o owner %d:%d link %q", f.Typeflag, f.Mode, f.Uid, f.Gid, link)
}
