package etcd

import (
	"maps"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

func TestKeyOfABinaryChangesWithEverythingThatDeterminesIt(t *testing.T) {
	const pkg = "go.etcd.io/etcd/server/v3"
	pin := func(change func(*lock.Etcd)) recipe {
		p := lock.Etcd{Version: "3.6.16", Toolchain: "go1.27.4", GoMod: "module x\n", GoSum: "y\n",
			Variables: map[string]string{"a.b": "c"}, Settings: map[string]string{"GOAMD64": "v2"}}
		change(&p)
		return etcdRecipe(p)
	}
	with := func(sources map[string][]byte) recipe {
		r := pin(func(*lock.Etcd) {})
		r.sources = sources
		return r
	}
	same := func(*lock.Etcd) {}
	keys := map[string]string{"": key(pin(same), "amd64", pkg)}
	for name, k := range map[string]string{
		"toolchain":    key(pin(func(p *lock.Etcd) { p.Toolchain = "go1.27.3" }), "amd64", pkg),
		"go.mod":       key(pin(func(p *lock.Etcd) { p.GoMod += "\n" }), "amd64", pkg),
		"go.sum":       key(pin(func(p *lock.Etcd) { p.GoSum += "\n" }), "amd64", pkg),
		"variable":     key(pin(func(p *lock.Etcd) { p.Variables["a.b"] = "d" }), "amd64", pkg),
		"level":        key(pin(func(p *lock.Etcd) { p.Settings["GOAMD64"] = "v3" }), "amd64", pkg),
		"fips":         key(pin(func(p *lock.Etcd) { p.Settings["GOFIPS140"] = "v1.0.0" }), "amd64", pkg),
		"edit":         key(pin(func(p *lock.Etcd) { p.Edits = []lock.Edit{{Module: "a.b/c"}} }), "amd64", pkg),
		"other edit":   key(pin(func(p *lock.Etcd) { p.Edits = []lock.Edit{{Module: "a.b/c", Files: []lock.FileEdit{{After: "d"}}}} }), "amd64", pkg),
		"architecture": key(pin(same), "arm64", pkg),
		"package":      key(pin(same), "amd64", "go.etcd.io/etcd/etcdctl/v3"),
		"none":         key(pin(same), "amd64", ""),
		"sources":      key(with(map[string][]byte{"main.go": []byte("a")}), "amd64", pkg),
		"other source": key(with(map[string][]byte{"main.go": []byte("b")}), "amd64", pkg),
		"other name":   key(with(map[string][]byte{"b.go": []byte("a")}), "amd64", pkg),
	} {
		for other, o := range keys {
			if o == k {
				t.Errorf("changing the %q changes the key no more than %q", name, other)
			}
		}
		keys[name] = k
	}
	if key(pin(func(p *lock.Etcd) { p.Settings["GOARM64"] = "v9.0" }), "amd64", pkg) != keys[""] {
		t.Error("a level of arm64 changes the key of amd64")
	}
	if key(pin(func(p *lock.Etcd) { maps.DeleteFunc(p.Settings, func(k, _ string) bool { return k == "GOAMD64" }) }), "amd64", pkg) !=
		key(pin(func(p *lock.Etcd) { p.Settings["GOAMD64"] = "v1" }), "amd64", pkg) {
		t.Error("the default level written out changes the key")
	}
}

func TestKeyOfAnUnpackedBinaryIsTheArchivesAndItsOwn(t *testing.T) {
	pin := etcdRecipe(lock.Etcd{Version: "3.6.16", Release: &lock.Release{Archives: map[string]lock.Archive{
		"amd64": {File: lock.File{Path: "a", SHA256: "1"}, Binaries: map[string]string{"etcd": "x/etcd", "etcdctl": "x/etcdctl"}},
		"arm64": {File: lock.File{Path: "b", SHA256: "2"}, Binaries: map[string]string{"etcd": "x/etcd"}},
	}}})
	seen := map[string]string{}
	for what, k := range map[string]string{
		"etcd": binaryKey(pin, "amd64", "etcd"), "etcdctl": binaryKey(pin, "amd64", "etcdctl"),
		"arm64": binaryKey(pin, "arm64", "etcd"), "compiled": binaryKey(pin, "s390x", "etcd"),
	} {
		if other, ok := seen[k]; ok {
			t.Errorf("%s and %s have one key", what, other)
		}
		seen[k] = what
	}
	k := binaryKey(pin, "amd64", "etcd")
	pin.Version, pin.Toolchain, pin.GoMod = "3.6.17", "go1.99.9", "module x\n"
	pin.Release.Archives["amd64"] = lock.Archive{File: lock.File{Path: "elsewhere", SHA256: "1"}, Binaries: map[string]string{"etcd": "x/etcd"}}
	if binaryKey(pin, "amd64", "etcd") != k {
		t.Error("what does not determine the binary changes its key")
	}
}

func TestOutputNamesAreTheGoCommands(t *testing.T) {
	for pkg, want := range map[string]string{
		"go.etcd.io/etcd/server/v3":   "server",
		"go.etcd.io/etcd/etcdctl/v3":  "etcdctl",
		"github.com/coreos/etcd":      "etcd",
		"go.etcd.io/etcd/etcdctl":     "etcdctl",
		"mirror.example/v/cmd/server": "server",
	} {
		if got := outputName(pkg); got != want {
			t.Errorf("%s is %s, not %s", pkg, got, want)
		}
	}
}

func TestEveryLineHasItsNewestVersionEmbedded(t *testing.T) {
	for _, l := range catalogue() {
		v, err := parseVersion(l.Newest)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := embedded(v); !ok || err != nil {
			t.Errorf("%s: embedded: %v, %v", l.Newest, ok, err)
		}
		if v.line() != l.Name {
			t.Errorf("%s is not of the line %s", l.Newest, l.Name)
		}
	}
}
