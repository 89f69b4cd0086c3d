package depcheck

import (
	"slices"
	"strings"
	"testing"
)

// rooms are the packages of the module in the order of the pipeline, each with
// what it may import of the module. A row names rows above it only, so that
// data flows one way. What lies inside a room (pkg/etcd/internal/…) may import
// what the room may, and the room.
var rooms = []struct {
	name string
	may  []string
}{
	{"pkg/profile", nil},
	{"pkg/lock", nil},
	{"pkg/cache", nil}, // a utility: it does not know what it stores
	{"pkg/fetch", nil}, // a utility: it does not know what it fetches
	{"pkg/etcd", []string{"pkg/lock", "pkg/fetch"}},
	{"pkg/operator", []string{"pkg/lock", "pkg/etcd"}},
	{"pkg/rootfs", []string{"pkg/profile"}},
	// Packages are unpacked into a tree, and a maintainer script's effect is
	// told as a change of it: hence rootfs, which knows nothing of packages.
	{"pkg/debian", []string{"pkg/lock", "pkg/fetch", "pkg/rootfs"}},
	{"pkg/layer", []string{"pkg/cache", "pkg/rootfs"}},
	{"pkg/image", []string{"pkg/layer"}},
	{"pkg/sbom", []string{"pkg/lock", "pkg/cache", "pkg/rootfs"}}, // statements about an image: it knows the inputs, not how they became one
	{"pkg/build", []string{"pkg/profile", "pkg/lock", "pkg/cache", "pkg/fetch", "pkg/etcd", "pkg/operator", "pkg/rootfs", "pkg/debian", "pkg/layer", "pkg/image", "pkg/sbom"}},
	{"pkg/provenance", []string{"pkg/profile", "pkg/lock", "pkg/etcd", "pkg/debian", "pkg/image", "pkg/build"}},
	{"pkg/registry", nil}, // a utility: it does not know what it carries
	{"pkg/cacherepo", []string{"pkg/cache", "pkg/registry"}}, // a registry behind the cache: it does not know what they store
	{"pkg/git", nil},                        // a utility: it does not know what is tracked
	{"pkg/matrix", []string{"pkg/profile"}}, // what CI builds where: it does not know how
	{"pkg/inspect", []string{"pkg/lock", "pkg/image", "pkg/registry", "pkg/provenance"}},
	{"pkg/join", []string{"pkg/profile", "pkg/image", "pkg/build", "pkg/provenance", "pkg/inspect"}},
	{"pkg/rebuild", []string{"pkg/lock", "pkg/etcd", "pkg/debian", "pkg/build", "pkg/provenance", "pkg/inspect"}},
	{"pkg/sign", []string{"pkg/image", "pkg/registry"}},
	{"pkg/publish", []string{"pkg/registry", "pkg/image", "pkg/sign"}},
	{"pkg/policy", []string{"pkg/sign"}},
	{"pkg/diff", []string{"pkg/lock"}},
	// What is wrong with an image: it reads what others say about it.
	{"pkg/audit", []string{"pkg/cache", "pkg/fetch", "pkg/rootfs", "pkg/debian", "pkg/image", "pkg/sbom", "pkg/registry", "pkg/inspect", "pkg/sign", "pkg/policy", "pkg/diff"}},
	{"pkg/audit/report", []string{"pkg/audit", "pkg/diff"}}, // a form of a result: it knows the values, and nothing of how they were found
	{".", nil}, // the files that travel in the command
	{"cmd/etcdimg", []string{".", "pkg/inspect", "pkg/rebuild", "pkg/diff", "pkg/provenance", "pkg/sbom", "pkg/profile", "pkg/lock", "pkg/cache", "pkg/image", "pkg/build", "pkg/registry", "pkg/sign", "pkg/publish", "pkg/policy", "pkg/git", "pkg/matrix", "pkg/join", "pkg/cacherepo", "pkg/audit"}},
	{"hack/release", []string{"pkg/cache", "pkg/rootfs", "pkg/sbom", "pkg/provenance", "pkg/sign"}}, // etcdimg's own releases, with its own statements and signatures
	{"migrate", nil}, // the program inside the image: it shares nothing with what builds the image
	{"internal/depcheck", nil},
	{"test", nil}, // sees the command from outside
}

// powers are standard packages that give a room more than computing, and who
// may have them. Tests may have all of them.
var powers = map[string][]string{
	"os/exec":   {"hack/release", "pkg/etcd", "pkg/git", "migrate"},
	"net":       {"pkg/fetch", "pkg/registry", "migrate"},
	"net/http":  {"pkg/fetch", "pkg/debian", "pkg/registry", "pkg/sign", "migrate"},
	"os/signal": {"cmd/etcdimg", "hack/release", "migrate"},
	"plugin":    nil,
	"unsafe":    nil,
	"math/rand": nil,
	"log":       nil,
}

func TestRoomsImportWhatTheyMay(t *testing.T) {
	for _, s := range sources(t) {
		may, ok := allowed(s.pkg)
		if !ok {
			t.Errorf("%s: the package %s is in no row of the table of rooms: give it one", s.name, s.pkg)
			continue
		}
		for _, path := range s.imports(t) {
			imported, ours := strings.CutPrefix(path, module+"/")
			if path == module {
				imported, ours = ".", true
			}
			if !ours {
				continue
			}
			if isTestHelper(imported) && !s.test {
				t.Errorf("%s imports %s, which is for tests only", s.name, imported)
			}
			// A test outside a package may reach for anything, except that
			// the rooms inside migrate stay apart even there.
			if s.test && within(s.pkg, "migrate") == within(imported, "migrate") {
				continue
			}
			if !slices.ContainsFunc(may, func(room string) bool { return within(imported, room) }) {
				t.Errorf("%s imports %s; it may import %v", s.name, imported, may)
			}
		}
	}
}

func TestRoomsHaveThePowersThatTheyMay(t *testing.T) {
	for _, s := range sources(t) {
		for _, path := range s.imports(t) {
			may, restricted := powers[path]
			if !restricted || s.test {
				continue
			}
			if !slices.ContainsFunc(may, func(room string) bool { return within(s.pkg, room) }) {
				t.Errorf("%s imports %s; only %v may", s.name, path, may)
			}
		}
	}
}

func TestRowsNameRowsAboveThem(t *testing.T) {
	above := map[string]bool{}
	for _, room := range rooms {
		for _, name := range room.may {
			if !above[name] {
				t.Errorf("%s may import %s, which does not come before it", room.name, name)
			}
		}
		above[room.name] = true
	}
}

// allowed is what a package may import: what its room may, and the room. A
// room within a room has a row of its own, and what is in it goes by that one.
func allowed(pkg string) ([]string, bool) {
	var may []string
	at := ""
	for _, room := range rooms {
		if within(pkg, room.name) && len(room.name) > len(at) {
			at, may = room.name, room.may
		}
	}
	return append(slices.Clone(may), at), at != ""
}
