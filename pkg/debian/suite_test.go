package debian_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
)

const inRelease = "debian/dists/trixie/InRelease"

// simple is an archive with one package, which is asked for.
func simple(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.Suite("debian", "trixie").Add(deb{Name: "some", Files: []debiantest.File{{Name: "/usr/"}, {Name: "/usr/some", Body: "some"}}})
	f.req.Packages = []string{"some"}
	return f
}

func TestAnIndexThatMustNotBeBelievedIsRefused(t *testing.T) {
	stranger := debiantest.NewKey(now.Add(-time.Hour))
	for _, c := range []struct {
		title string
		make  func(*fixture)
		want  []string
	}{
		{"signed by an unknown key", func(f *fixture) { f.Suite("debian", "trixie").Keys = []*debiantest.Key{stranger} },
			[]string{"not trusted", stranger.Fingerprint()[24:], "contents.keyring"}},
		{"a changed index", func(f *fixture) {
			f.Patch(func(files map[string][]byte) {
				files[inRelease] = bytes.Replace(files[inRelease], []byte("Origin: Test"), []byte("Origin: Evil"), 1)
			})
		}, []string{"the signature is wrong"}},
		{"an index that is not signed", func(f *fixture) {
			f.Patch(func(files map[string][]byte) { files[inRelease] = []byte("Suite: trixie\n") })
		}, []string{"does not begin with a signed message"}},
		{"text after the signature", func(f *fixture) {
			f.Patch(func(files map[string][]byte) {
				files[inRelease] = append(slices.Clone(files[inRelease]), "Suite: trixie\n"...)
			})
		}, []string{"after the signature"}},
		{"text before the signed message", func(f *fixture) {
			f.Patch(func(files map[string][]byte) {
				files[inRelease] = append([]byte("Suite: trixie\n"), files[inRelease]...)
			})
		}, []string{"does not begin with"}},
		{"two signed messages", func(f *fixture) {
			f.Patch(func(files map[string][]byte) {
				files[inRelease] = append(slices.Clone(files[inRelease]), files[inRelease]...)
			})
		}, []string{"more than one signed message"}},
		{"a truncated index", func(f *fixture) {
			f.Patch(func(files map[string][]byte) { files[inRelease] = files[inRelease][:len(files[inRelease])/2] })
		}, []string{"damaged"}},
		{"a mutilated signature", func(f *fixture) {
			f.Patch(func(files map[string][]byte) {
				i := bytes.Index(files[inRelease], []byte("BEGIN PGP SIGNATURE")) + 30
				files[inRelease] = slices.Concat(files[inRelease][:i], files[inRelease][i+8:])
			})
		}, []string{"InRelease: "}},
		{"an expired index", func(f *fixture) { f.Suite("debian", "trixie").ValidUntil = now.Add(-time.Minute) },
			[]string{"suite trixie expired on 2026-03-04T05:05:07Z", "use a mirror that is up to date"}},
		{"an index from the future", func(f *fixture) { f.Suite("debian", "trixie").Date = now.Add(48 * time.Hour) },
			[]string{"trixie"}},
		{"another suite's index", func(f *fixture) {
			f.Suite("debian", "sid").Add(deb{Name: "some"})
			f.Patch(func(files map[string][]byte) { files[inRelease] = files["debian/dists/sid/InRelease"] })
		}, []string{`suite "sid"`}},
		{"a suite that there is not", func(f *fixture) { f.req.Repositories = []string{"debian bookworm main"} },
			[]string{"index of debian bookworm", "404", "ETCDIMG_DEBIAN_MIRROR"}},
		{"a component that there is not", func(f *fixture) { f.req.Repositories = []string{"debian trixie contrib"} },
			[]string{"no component contrib", "components: main"}},
		{"an index of packages that was changed", func(f *fixture) {
			f.Patch(func(files map[string][]byte) {
				for name := range files {
					if strings.Contains(name, "/binary-") {
						files[name] = bytes.Repeat([]byte("x"), len(files[name]))
					}
				}
			})
		}, []string{"suite trixie can not be verified", "SHA-256", "not what was expected"}},
		{"an index of packages that is cut short", func(f *fixture) {
			f.Patch(func(files map[string][]byte) {
				for name := range files {
					if strings.Contains(name, "/binary-") {
						files[name] = files[name][:len(files[name])-1]
					}
				}
			})
		}, []string{"not what was expected", "bytes, not"}},
	} {
		t.Run(c.title, func(t *testing.T) {
			f := simple(t)
			c.make(f)
			_, _, err := f.resolve()
			wantError(t, err, c.want...)
		})
	}
}

func TestOneGoodSignatureIsEnoughAndAllGoodOnesAreRecorded(t *testing.T) {
	f := simple(t)
	stranger, friend := debiantest.NewKey(now.Add(-time.Hour)), debiantest.NewKey(now.Add(-time.Hour))
	f.Suite("debian", "trixie").Keys = []*debiantest.Key{stranger, f.Key, friend}
	f.req.Keyring = append(f.req.Keyring, friend.PublicBinary())
	suites, _ := f.mustResolve()
	want := []string{f.Key.Fingerprint(), friend.Fingerprint()}
	slices.Sort(want)
	if !reflect.DeepEqual(suites[0].SignedBy, want) {
		t.Errorf("signed by %v, want %v", suites[0].SignedBy, want)
	}
}

func TestReleaseWithADetachedSignatureServesWhereThereIsNoInRelease(t *testing.T) {
	f := simple(t)
	f.Suite("debian", "trixie").Detached = true
	f.mustResolve()

	f.Patch(func(files map[string][]byte) {
		name := "debian/dists/trixie/Release"
		files[name] = append(slices.Clone(files[name]), "X: y\n"...)
	})
	f.opts.Store = newStore(t)
	_, _, err := f.resolve()
	wantError(t, err, "the signature is wrong")
}

func TestSuiteNamesMayBeUsedInThePlaceOfCodenames(t *testing.T) {
	f := newFixture(t)
	s := f.Suite("debian", "trixie").Add(deb{Name: "some"})
	s.Suite = "stable"
	f.Patch(func(files map[string][]byte) {
		for name, data := range files {
			files[strings.Replace(name, "/trixie/", "/stable/", 1)] = data
		}
	})
	f.req.Repositories = []string{"debian stable main"}
	f.mustResolve("some")
}

func TestAWarmResolveAsksNobodyWithinMaxAge(t *testing.T) {
	f := simple(t)
	suites, sets := f.mustResolve()
	before := len(f.Requests())
	f.opts.Now = now.Add(59 * time.Minute)
	suites2, sets2, err := f.again().Resolve(context.Background(), f.req)
	if err != nil || !reflect.DeepEqual(suites, suites2) || !reflect.DeepEqual(sets, sets2) {
		t.Fatalf("%v\n%v\n%v", err, suites2, sets2)
	}
	if n := len(f.Requests()); n != before {
		t.Errorf("asked for %v", f.Requests()[before:])
	}
	for title, change := range map[string]func(){
		"after MaxAge":        func() { f.opts.Now = now.Add(61 * time.Minute) },
		"with MaxAge < 0":     func() { f.opts.MaxAge = -1 },
		"with another source": func() { f.opts.Mirror = f.Serve(t) },
		"with a clock behind": func() { f.opts.Now = now.Add(-2 * time.Minute) },
	} {
		saved, before := f.opts, len(f.Requests())
		change()
		if _, _, err := f.again().Resolve(context.Background(), f.req); err != nil {
			t.Errorf("%s: %v", title, err)
		}
		if n := f.Requests()[before:]; !reflect.DeepEqual(n, []string{inRelease}) {
			t.Errorf("%s: asked for %v, want InRelease alone", title, n)
		}
		f.opts = saved
	}
}

func TestANewIndexIsSeenOnceItIsAskedFor(t *testing.T) {
	f := simple(t)
	f.mustResolve()
	s := f.Suite("debian", "trixie").Add(deb{Name: "some", Version: "2.0"})
	s.Date = now.Add(-time.Minute)
	f.opts.MaxAge = -1
	if _, sets := f.mustResolve(); names(sets[0]) != "some=2.0" {
		t.Error(names(sets[0]))
	}
}

func TestWithoutTheNetworkTheCacheServes(t *testing.T) {
	f := simple(t)
	_, sets := f.mustResolve()
	f.opts.Now = now.Add(48 * time.Hour)
	f.opts.Transport = noNetwork{}
	_, again, err := f.again().Resolve(context.Background(), f.req)
	if err != nil || !reflect.DeepEqual(sets, again) {
		t.Errorf("%v\n%v", err, again)
	}
	f.opts.Offline = true
	if _, again, err = f.again().Resolve(context.Background(), f.req); err != nil || !reflect.DeepEqual(sets, again) {
		t.Errorf("offline: %v\n%v", err, again)
	}
	f.req.Packages = []string{"some", "!other"} // a resolution that is not remembered, from indexes that are
	if _, _, err = f.again().Resolve(context.Background(), f.req); err != nil {
		t.Errorf("offline, another request: %v", err)
	}
	f.opts.Store = newStore(t)
	_, _, err = f.again().Resolve(context.Background(), f.req)
	wantError(t, err, "index of debian trixie", "the network was ruled out", "not in the cache")
	f.opts.Offline = false
	_, _, err = f.again().Resolve(context.Background(), f.req)
	wantError(t, err, "index of debian trixie", "no network in this test")
}

func TestTheCacheDoesNotServeWhatHasExpired(t *testing.T) {
	f := simple(t)
	f.Suite("debian", "trixie").ValidUntil = now.Add(24 * time.Hour)
	f.mustResolve()
	f.opts.Now = now.Add(25 * time.Hour)
	f.opts.Offline = true
	_, _, err := f.again().Resolve(context.Background(), f.req)
	wantError(t, err, "expired on")
}

func TestTheCacheDoesNotHideAnIndexThatWasTamperedWith(t *testing.T) {
	f := simple(t)
	f.mustResolve()
	f.Patch(func(files map[string][]byte) { files[inRelease] = append(slices.Clone(files[inRelease]), 'x') })
	f.opts.MaxAge = -1
	_, _, err := f.resolve()
	wantError(t, err, "after the signature")
}

func TestAKeyThatIsTakenAwayEndsTrustInTheCache(t *testing.T) {
	f := simple(t)
	f.mustResolve()
	f.req.Keyring = nil
	f.opts.Offline = true
	_, _, err := f.again().Resolve(context.Background(), f.req)
	wantError(t, err, "not trusted")
}

type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network in this test")
}

func TestSourcesAreAskedInOrderAndAllAreNamed(t *testing.T) {
	empty := debiantest.NewMirror(now)
	f := simple(t)
	good := f.Serve(t)
	apt := t.TempDir()
	writeFile(t, filepath.Join(apt, "sources.list"), "deb [arch=amd64] "+empty.Serve(t)+"/a/debian trixie main\ndeb "+empty.Serve(t)+"/other trixie main\n")
	f.opts.Mirror = empty.Serve(t)
	f.opts.AptDir = apt
	f.opts.Snapshot = good + "/nothing"
	_, _, err := f.again().Resolve(context.Background(), f.req)
	wantError(t, err, f.opts.Mirror+"/debian/dists/trixie/InRelease: ", "/a/debian/dists/trixie/InRelease: ", good+"/nothing/archive/debian/20260304T050000Z/dists/trixie/InRelease: ")
	if strings.Contains(err.Error(), "/other/") {
		t.Errorf("asked a source of another name: %v", err)
	}

	f.opts.Mirror = good + "/debian-security/" // archives lie beside one another
	if _, _, err := f.again().Resolve(context.Background(), f.req); err != nil {
		t.Error(err)
	}
}

func TestTheSnapshotArchiveServesLast(t *testing.T) {
	f := simple(t)
	files := f.Files()
	var asked []string
	f.opts.Snapshot = serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked = append(asked, req.URL.Path)
		rest, ok := strings.CutPrefix(req.URL.Path, "/archive/debian/20260304T050000Z/")
		if !ok {
			rest, ok = strings.CutPrefix(req.URL.Path, "/archive/debian/20260305T040607Z/")
		}
		data, found := files["debian/"+rest]
		if !ok || !found {
			http.NotFound(w, req)
			return
		}
		w.Write(data)
	}))
	r := f.again()
	_, sets, err := r.Resolve(context.Background(), f.req)
	if err != nil {
		t.Fatal(err)
	}
	mustUnpack(t, r, sets[0].Packages[0])
	if last := asked[len(asked)-1]; last != "/archive/debian/20260305T040607Z/pool/main/s/some/some_1.0_all.deb" {
		t.Errorf("the package was fetched from %s", last)
	}
}

func TestBuiltInKeysAreTheDocumentedOnes(t *testing.T) {
	want := debian.BuiltinFingerprints()
	readme, err := filepath.Glob("keys/README.md")
	if err != nil || len(readme) != 1 {
		t.Fatal("no README")
	}
	text := readFile(t, readme[0])
	for name, fingerprint := range want {
		if !strings.Contains(text, "| "+name+" |") || !strings.Contains(text, fingerprint) {
			t.Errorf("%s with %s is not in the table", name, fingerprint)
		}
	}
	if len(want) != 3 {
		t.Errorf("%d keys", len(want))
	}
}
