package cacherepo_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
)

func TestWhatOneMachineMadeAnotherFinds(t *testing.T) {
	r := registrytest.New(t)
	a := newMachine(t, r, nil)
	if !a.make(t, key, "content") {
		t.Fatal("found in an empty repository")
	}
	if got := a.Flush(); got.Written != 1 || got.Found != 0 {
		t.Errorf("the first machine: %+v", got)
	}

	b := newMachine(t, r, nil)
	r.Fail(nil)
	if b.make(t, key, "content") {
		t.Error("made what the repository has")
	}
	// A blob that nobody opens does not travel.
	if n := r.Requests("GET", "/blobs/"); len(n) != 1 {
		t.Errorf("asked for blobs: %q, want the record alone", n)
	}
	if b.read(t, key, "content") {
		t.Error("made again")
	}
	if got := b.Flush(); got.Found != 1 || got.Written != 0 || got.Received < int64(len("content")) {
		t.Errorf("the second machine: %+v", got)
	}
	if writes := append(r.Requests("PUT"), r.Requests("POST")...); len(writes) > 0 {
		t.Errorf("wrote what is there: %q", writes)
	}
	if b.said.Len() > 0 {
		t.Errorf("warned: %s", &b.said)
	}

	// Once the blob is on the disk, so is the record.
	c, err := cache.Open(b.disk.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var kept thing
	if err := c.ReadRecord("thing", key, &kept); err != nil || !c.Has(kept.Digest) {
		t.Errorf("the disk has %+v, %v", kept, err)
	}
}

func TestLinkFetches(t *testing.T) {
	r := registrytest.New(t)
	a := newMachine(t, r, nil)
	a.make(t, key, "content")
	a.Flush()
	b := newMachine(t, r, nil)
	var found thing
	if err := b.ReadRecord("thing", key, &found); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := b.Link(found.Digest, filepath.Join(dir, "a")); err != nil {
		t.Error(err)
	}
	if err := b.Link(found.Other, filepath.Join(dir, "b")); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("linked a blob that nobody has: %v", err)
	}
}

func TestOtherKindsStayHere(t *testing.T) {
	r := registrytest.New(t)
	m := newMachine(t, r, nil)
	if err := m.WriteRecord("private", key, "x"); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := m.ReadRecord("private", other, &got); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
	m.Flush()
	if all := r.Requests(); len(all) > 0 {
		t.Errorf("asked the registry: %q", all)
	}
}

func TestReadOnlyWritesNothing(t *testing.T) {
	r := registrytest.New(t)
	m := newMachine(t, r, readOnly)
	if !m.make(t, key, "content") || m.make(t, key, "content") {
		t.Error("the disk was not used")
	}
	m.Flush()
	if len(r.Requests()) == 0 {
		t.Error("it did not ask either")
	}
	for _, line := range r.Requests() {
		if !strings.HasPrefix(line, "GET ") && !strings.HasPrefix(line, "HEAD ") {
			t.Errorf("sent %s", line)
		}
	}
}

// A machine whose disk is warm gives the repository what it uses.
func TestAWarmDiskFillsTheRepository(t *testing.T) {
	r := registrytest.New(t)
	m := newMachine(t, r, readOnly)
	m.make(t, key, "content")
	m.Flush()
	warm := onDisk(t, r, m.disk, nil)
	if warm.make(t, key, "content") {
		t.Error("made what the disk has")
	}
	if got := warm.Flush(); got.Written != 1 {
		t.Errorf("%+v", got)
	}
	again := onDisk(t, r, m.disk, nil)
	again.make(t, key, "content")
	if got := again.Flush(); got.Written != 0 {
		t.Errorf("written again: %+v", got)
	}
	if newMachine(t, r, nil).read(t, key, "content") {
		t.Error("not found")
	}
}

func TestManyMachinesAtOnce(t *testing.T) {
	r := registrytest.New(t)
	content := func(i int) (key, bytes string) { return cache.Key("many", strconv.Itoa(i)), strings.Repeat("x", i+1) }
	var wg sync.WaitGroup
	for range 6 {
		m := newMachine(t, r, nil)
		wg.Go(func() {
			for i := range 8 {
				k, bytes := content(i)
				m.make(t, k, bytes)
			}
			m.Flush()
		})
	}
	wg.Wait()
	m := newMachine(t, r, nil)
	for i := range 8 {
		if k, bytes := content(i); m.read(t, k, bytes) {
			t.Errorf("entry %d was not found, or was no good", i)
		}
	}
	if m.said.Len() > 0 {
		t.Errorf("warned: %s", &m.said)
	}
}

// Writing that breaks off leaves no entry, or a whole one.
func TestWritingBreaksOff(t *testing.T) {
	for n := 1; n < 100; n++ {
		r := registrytest.New(t)
		var mu sync.Mutex
		writes := 0
		r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
			if req.Method == http.MethodGet || req.Method == http.MethodHead {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			if writes++; writes < n {
				return false
			}
			w.WriteHeader(http.StatusBadRequest)
			return true
		})
		a := newMachine(t, r, nil)
		a.make(t, key, "content")
		done := a.Flush()
		r.Fail(nil)
		b := newMachine(t, r, nil)
		b.read(t, key, "content")
		b.Flush()
		if b.said.Len() > 0 {
			t.Errorf("broken at the %d. write: %s", n, &b.said)
		}
		if done.Written == 1 {
			if n < 4 {
				t.Errorf("only %d writes: the test shows nothing", n-1)
			}
			return
		}
		if !strings.Contains(a.said.String(), "nothing more is written") {
			t.Errorf("broken at the %d. write, and not told", n)
		}
	}
	t.Error("it never got through")
}
