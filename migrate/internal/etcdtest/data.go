package etcdtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// KV is a key as the API shows it.
type KV struct {
	Key, Value           string
	Create, Mod, Version string
	Lease                string
}

type kvJSON struct {
	Key            []byte `json:"key"`
	Value          []byte `json:"value"`
	CreateRevision string `json:"create_revision"`
	ModRevision    string `json:"mod_revision"`
	Version        string `json:"version"`
	Lease          string `json:"lease"`
}

// Content is all that one member shows of its keys.
type Content struct {
	Revision string
	Keys     []KV
	// Old are the keys as they were at OldRevision.
	OldRevision string
	Old         []KV
	// Leases are those that the seed made, with the seconds that they were
	// granted; -1 where the line can not be asked (3.0).
	Leases []Lease
}

// Lease is a lease as the API shows it.
type Lease struct {
	ID, Granted string
	Keys        int
}

// IDs name a member and its cluster, in hexadecimal.
type IDs struct{ Member, Cluster string }

// IDs gives the member's own ID and its cluster's.
func (m *Member) IDs() (ids IDs) {
	m.t.Helper()
	if !AtLeast(m.Version, 3, 0) {
		var r struct{ Members []struct{ ID string } }
		header, err := m.callHeader(http.MethodGet, "/v2/members", nil, &r)
		if err != nil || len(r.Members) != 1 {
			m.t.Fatalf("etcd %s: %v, %v", m.Version, r, err)
		}
		return IDs{r.Members[0].ID, header.Get("X-Etcd-Cluster-Id")}
	}
	var r struct {
		Header struct {
			Cluster string `json:"cluster_id"`
			Member  string `json:"member_id"`
		}
	}
	m.v3("/kv/range", map[string]any{"key": []byte{0}}, &r)
	for _, x := range []struct {
		decimal string
		hex     *string
	}{{r.Header.Member, &ids.Member}, {r.Header.Cluster, &ids.Cluster}} {
		n, err := strconv.ParseUint(x.decimal, 10, 64)
		if err != nil {
			m.t.Fatalf("etcd %s: %v", m.Version, err)
		}
		*x.hex = strconv.FormatUint(n, 16)
	}
	return ids
}

func (m *Member) lease(id string) Lease {
	m.t.Helper()
	l := Lease{ID: id, Granted: "-1"}
	if !AtLeast(m.Version, 3, 1) {
		// Only granting it again tells whether it is there.
		err := m.tryV3("/lease/grant", map[string]any{"TTL": 60, "ID": id}, nil)
		if err == nil || !strings.Contains(err.Error(), "already exists") {
			m.t.Fatalf("etcd %s: the lease %s is not there: %v", m.Version, id, err)
		}
		return l
	}
	var r struct {
		Granted string `json:"grantedTTL"`
		Keys    [][]byte
	}
	path := "/kv/lease/timetolive"
	if AtLeast(m.Version, 3, 4) {
		path = "/lease/timetolive"
	}
	m.v3(path, map[string]any{"ID": id, "keys": true}, &r)
	l.Granted, l.Keys = r.Granted, len(r.Keys)
	return l
}

// Put writes a v3 key.
func (m *Member) Put(key, value string, lease string) {
	m.t.Helper()
	body := map[string]any{"key": []byte(key), "value": []byte(value)}
	if lease != "" {
		body["lease"] = lease
	}
	m.v3("/kv/put", body, nil)
}

// Delete deletes a v3 key.
func (m *Member) Delete(key string) {
	m.t.Helper()
	m.v3("/kv/deleterange", map[string]any{"key": []byte(key)}, nil)
}

// Grant makes a lease.
func (m *Member) Grant(ttl int) string {
	m.t.Helper()
	var r struct{ ID string }
	m.v3("/lease/grant", map[string]any{"TTL": ttl}, &r)
	return r.ID
}

// Read gives every v3 key, now and at the older revision that before names, and
// its leases. A lease that one of both lines can not show is as before.
func (m *Member) Read(before Content) Content {
	m.t.Helper()
	var c Content
	c.Keys, c.Revision = m.keys("")
	if before.OldRevision != "" {
		c.OldRevision = before.OldRevision
		c.Old, _ = m.keys(before.OldRevision)
	}
	for _, b := range before.Leases {
		l := m.lease(b.ID)
		if b.Granted == "-1" || l.Granted == "-1" {
			l = b
		}
		c.Leases = append(c.Leases, l)
	}
	return c
}

func (m *Member) keys(revision string) ([]KV, string) {
	m.t.Helper()
	body := map[string]any{"key": []byte{0}, "range_end": []byte{0}}
	if revision != "" {
		body["revision"] = revision
	}
	var r struct {
		Header struct{ Revision string }
		KVs    []kvJSON
	}
	m.v3("/kv/range", body, &r)
	var all []KV
	for _, kv := range r.KVs {
		all = append(all, KV{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease})
	}
	return all, r.Header.Revision
}

// Seed fills a v3 member: n keys, a tenth of them overwritten, some deleted,
// some with a lease. It gives what the member shows afterwards.
func (m *Member) Seed(n int) Content {
	m.t.Helper()
	for i := range n {
		m.Put(key(i), fmt.Sprintf("value %d", i), "")
	}
	_, old := m.keys("")
	for i := range n / 10 {
		m.Put(key(i*10), strings.Repeat("again ", 10)+fmt.Sprint(i), "")
	}
	for i := range n / 50 {
		m.Delete(key(i*50 + 7))
	}
	lease := m.Grant(3600)
	for i := range 5 {
		m.Put(fmt.Sprintf("/registry/events/%d", i), "soon gone", lease)
	}
	unused := m.Grant(7200)
	return m.Read(Content{OldRevision: old, Leases: []Lease{m.lease(lease), m.lease(unused)}})
}

func key(i int) string { return fmt.Sprintf("/registry/pods/ns-%d/pod-%04d", i%7, i) }

// V2KV is a key as the v2 API shows it.
type V2KV struct {
	Key, Value        string
	Created, Modified int64
	TTL               bool
}

type v2Node struct {
	Key           string
	Value         string
	Dir           bool
	TTL           int64
	CreatedIndex  int64
	ModifiedIndex int64
	Nodes         []v2Node
}

// V2Put writes a v2 key; ttl in seconds, 0 for none.
func (m *Member) V2Put(key, value string, ttl int) {
	m.t.Helper()
	form := url.Values{"value": {value}}
	if ttl > 0 {
		form.Set("ttl", fmt.Sprint(ttl))
	}
	if err := m.call(http.MethodPut, "/v2/keys"+key, form, nil); err != nil {
		m.t.Fatal(err)
	}
}

// V2Read gives every v2 key that is not hidden, in order.
func (m *Member) V2Read() []V2KV {
	m.t.Helper()
	var r struct{ Node v2Node }
	if err := m.call(http.MethodGet, "/v2/keys/?recursive=true&sorted=true&quorum=true", nil, &r); err != nil {
		m.t.Fatal(err)
	}
	var all []V2KV
	var walk func(v2Node)
	walk = func(n v2Node) {
		if !n.Dir {
			all = append(all, V2KV{n.Key, n.Value, n.CreatedIndex, n.ModifiedIndex, n.TTL > 0})
		}
		for _, c := range n.Nodes {
			walk(c)
		}
	}
	walk(r.Node)
	return all
}

// V2Seed fills a 2.3 member as Seed does.
func (m *Member) V2Seed(n int) []V2KV {
	m.t.Helper()
	for i := range n {
		m.V2Put(key(i), fmt.Sprintf("value %d", i), 0)
	}
	for i := range n / 10 {
		m.V2Put(key(i*10), fmt.Sprintf("again %d", i), 0)
	}
	for i := range n / 50 {
		if err := m.call(http.MethodDelete, "/v2/keys"+key(i*50+7), nil, nil); err != nil {
			m.t.Fatal(err)
		}
	}
	for i := range 5 {
		m.V2Put(fmt.Sprintf("/registry/events/%d", i), "soon gone", 3600)
	}
	m.V2Put("/registry/for-a-while", "gone some day", 7200)
	return m.V2Read()
}

// Same fails the test unless two contents are equal.
func Same[T any](t testing.TB, what string, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s differs (-want +got):\n%s", what, d[:min(len(d), 3000)])
	}
}
