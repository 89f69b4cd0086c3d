package cluster_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

func shows(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/version" {
			http.Error(w, "nothing else may be asked for", http.StatusTeapot)
			return
		}
		_, _ = w.Write([]byte(answer)) // the client is the test
	}
}

func serve(t *testing.T, answer string) string {
	s := httptest.NewServer(shows(answer))
	t.Cleanup(s.Close)
	return s.URL
}

func TestMembersAreAsked(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	l35, l36 := version.Line{Major: 3, Minor: 5}, version.Line{Major: 3, Minor: 6}
	for _, x := range []struct {
		what   string
		member cluster.Member
		want   cluster.Answer
		err    string
	}{
		{"3.6 whose cluster is at 3.5", cluster.Member{PeerURLs: []string{serve(t, `{"etcdserver":"3.6.16","etcdcluster":"3.5.0","storage":"3.5.0"}`)}},
			cluster.Answer{Server: version.Version{Major: 3, Minor: 6, Patch: 16}, Agreed: l35, AgreedKnown: true, Storage: l35, StorageKnown: true}, ""},
		{"one that has agreed on nothing", cluster.Member{PeerURLs: []string{serve(t, `{"etcdserver":"3.6.16","etcdcluster":"not_decided","storage":"unknown"}`)}},
			cluster.Answer{Server: version.Version{Major: 3, Minor: 6, Patch: 16}}, ""},
		{"the client URL, where the peer's is silent", cluster.Member{PeerURLs: []string{gone.URL}, ClientURLs: []string{gone.URL, serve(t, `{"etcdserver":"3.6.16","etcdcluster":"3.6.0"}`)}},
			cluster.Answer{Server: version.Version{Major: 3, Minor: 6, Patch: 16}, Agreed: l36, AgreedKnown: true}, ""},
		{"nobody", cluster.Member{PeerURLs: []string{gone.URL}}, cluster.Answer{}, "refused"},
		{"no URL", cluster.Member{}, cluster.Answer{}, "none of its URLs"},
		{"a socket", cluster.Member{PeerURLs: []string{"unix://x:1"}}, cluster.Answer{}, "is not asked"},
		{"another server", cluster.Member{PeerURLs: []string{serve(t, `{"version":"1"}`)}}, cluster.Answer{}, "is not a version"},
		{"no JSON", cluster.Member{PeerURLs: []string{serve(t, `hello`)}}, cluster.Answer{}, "invalid character"},
	} {
		got, err := cluster.Ask(context.Background(), []cluster.Member{x.member}, cluster.Files{}, cluster.Files{})
		if err != nil {
			t.Fatal(err)
		}
		a := got[0]
		if x.err != "" {
			if a.Err == nil || !strings.Contains(a.Err.Error(), x.err) {
				t.Errorf("%s: %v", x.what, a.Err)
			}
			continue
		}
		a.URL = ""
		if a.Err != nil || a != x.want {
			t.Errorf("%s: %+v", x.what, a)
		}
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	s := httptest.NewTLSServer(shows(`{"etcdserver":"3.5.35","etcdcluster":"3.5.0"}`))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	members := []cluster.Member{{PeerURLs: []string{s.URL}}}
	for _, x := range []struct {
		files cluster.Files
		ok    bool
	}{{cluster.Files{}, false}, {cluster.Files{CA: ca}, true}, {cluster.Files{Auto: true}, true}} {
		got, err := cluster.Ask(context.Background(), members, x.files, cluster.Files{})
		if err != nil || (got[0].Err == nil) != x.ok {
			t.Errorf("%+v: %v, %v", x.files, got[0].Err, err)
		}
	}
	if _, err := cluster.Ask(context.Background(), members, cluster.Files{CA: filepath.Join(t.TempDir(), "gone")}, cluster.Files{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestServerFlagsNameTheFiles(t *testing.T) {
	for _, x := range []struct {
		args         string
		peer, client cluster.Files
	}{
		{"", cluster.Files{}, cluster.Files{}},
		{"--peer-cert-file=p.pem --peer-key-file p.key -peer-trusted-ca-file=p.ca --cert-file=c.pem --key-file=c.key --trusted-ca-file=c.ca --client-cert-auth",
			cluster.Files{CA: "p.ca", Cert: "p.pem", Key: "p.key"}, cluster.Files{CA: "c.ca", Cert: "c.pem", Key: "c.key"}},
		{"--cert-file=c.pem", cluster.Files{}, cluster.Files{}},
		{"--auto-tls --peer-auto-tls=true", cluster.Files{Auto: true}, cluster.Files{Auto: true}},
		{"--peer-auto-tls=false --quota-backend-bytes 100", cluster.Files{}, cluster.Files{}},
	} {
		peer, client := cluster.ServerFiles(strings.Fields(x.args))
		if peer != x.peer || client != x.client {
			t.Errorf("%s: %+v, %+v", x.args, peer, client)
		}
	}
}

func TestAMemberIsLeftOutByItsURLs(t *testing.T) {
	all := []cluster.Member{{Name: "a", PeerURLs: []string{"http://1:1"}}, {Name: "b", PeerURLs: []string{"http://2:1"}}}
	for _, x := range []struct {
		name  string
		peers []string
		want  []string
	}{{"a", nil, []string{"b"}}, {"x", []string{"http://2:1"}, []string{"a"}}, {"x", nil, []string{"a", "b"}}} {
		var got []string
		for _, m := range cluster.Without(all, x.name, x.peers) {
			got = append(got, m.Name)
		}
		if d := cmp.Diff(x.want, got); d != "" {
			t.Errorf("%s %q: %s", x.name, x.peers, d)
		}
	}
}

// down is a cluster of members that go down a line when they are told to.
type down struct {
	told    atomic.Bool
	refuse  atomic.Int32 // how often it answers that a job is in progress
	servers []string
	calls   []string
	said    []string
}

func newDown(t *testing.T, before, after []string) *down {
	d := &down{}
	for i := range before {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := before[i]
			if d.told.Load() {
				answer = after[i]
			}
			shows(answer)(w, r)
		}))
		t.Cleanup(s.Close)
		d.servers = append(d.servers, s.URL)
	}
	return d
}

func (d *down) client() *cluster.Client {
	return &cluster.Client{
		Say: func(line string) { d.said = append(d.said, line) },
		Ctl: func(_ context.Context, args ...string) ([]byte, error) {
			d.calls = append(d.calls, strings.Join(args, " "))
			switch args[0] {
			case "member":
				var all []string
				for _, u := range d.servers {
					all = append(all, `{"ID":1,"name":"m","clientURLs":["`+u+`"]}`)
				}
				return []byte(`{"members":[` + strings.Join(all, ",") + `]}`), nil
			case "downgrade":
				if d.refuse.Add(-1) >= 0 {
					return nil, errors.New("etcdserver: cluster has a downgrade job in progress")
				}
				d.told.Store(args[1] == "enable")
			}
			return nil, nil
		},
	}
}

func TestAClusterIsToldToGoDown(t *testing.T) {
	at := func(server, agreed, storage string) string {
		return `{"etcdserver":"` + server + `","etcdcluster":"` + agreed + `","storage":"` + storage + `"}`
	}
	v37, done := at("3.7.3", "3.7.0", "3.7.0"), at("3.7.3", "3.6.0", "3.6.0")
	for _, x := range []struct {
		what          string
		before, after []string
		to            int
		busy          int32
		err           string
		calls         []string
	}{
		{"from 3.7 to 3.6", []string{v37, v37}, []string{done, done}, 6, 0, "", []string{"member list --write-out=json", "downgrade validate 3.6", "downgrade enable 3.6"}},
		{"while the job before is cleared away", []string{v37}, []string{done}, 6, 1, "", []string{"member list --write-out=json", "downgrade validate 3.6", "downgrade validate 3.6", "downgrade enable 3.6"}},
		{"what is lowered already", []string{done, done}, nil, 6, 0, "", []string{"member list --write-out=json"}},
		{"two lines", []string{v37}, nil, 5, 0, "one minor at a time", []string{"member list --write-out=json"}},
		{"servers that are not all there", []string{at("3.7.3", "3.6.0", "3.6.0"), at("3.7.3", "3.6.0", "3.6.0")}, nil, 5, 0, "bring every member to 3.6 first", []string{"member list --write-out=json"}},
		{"below 3.5", []string{v37}, nil, 4, 0, "below 3.5", nil},
	} {
		d := newDown(t, x.before, x.after)
		d.refuse.Store(x.busy)
		err := d.client().Downgrade(context.Background(), version.Line{Major: 3, Minor: x.to})
		if x.err == "" && err != nil || x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)) {
			t.Errorf("%s: %v", x.what, err)
		}
		if !slices.Equal(d.calls, x.calls) {
			t.Errorf("%s: calls %q", x.what, d.calls)
		}
	}
}

func TestWithAMemberDownNothingIsAsked(t *testing.T) {
	d := newDown(t, []string{`{"etcdserver":"3.7.3","etcdcluster":"3.7.0"}`}, nil)
	d.servers = append(d.servers, "http://127.0.0.1:1")
	err := d.client().Downgrade(context.Background(), version.Line{Major: 3, Minor: 6})
	if !errors.Is(err, cluster.ErrNotYet) || d.told.Load() {
		t.Error(err)
	}
}
