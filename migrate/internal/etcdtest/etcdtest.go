// Package etcdtest runs real etcd servers for the operator's tests and talks to
// them by a client of its own, so that what the operator says about data is
// checked by something that shares no code with it.
package etcdtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BinariesVar names the folder that holds etcd-V, etcdctl-V and etcdutl-V.
const BinariesVar = "ETCDIMG_TEST_BINARIES"

// AllVar, set to 1, makes long campaigns run whole.
const AllVar = "ETCDIMG_ALL"

// StrictVar, set to anything, makes it a failure that binaries are missing.
const StrictVar = "ETCDIMG_E2E_STRICT"

// Binaries is the folder with real binaries; without one the test is skipped.
func Binaries(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(BinariesVar)
	if dir == "" && os.Getenv(StrictVar) != "" {
		t.Fatalf("NOT RUN, and %s is set: %s names no folder with real etcd binaries", StrictVar, BinariesVar)
	}
	if dir == "" {
		t.Skipf("NOT RUN: this needs real etcd binaries; set %s to a folder with etcd-V, etcdctl-V and etcdutl-V of every line", BinariesVar)
	}
	return dir
}

// All says whether long campaigns are to run whole.
func All() bool { return os.Getenv(AllVar) == "1" }

// Versions are the versions in the folder, one per line, oldest first.
func Versions(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(Binaries(t), "etcd-*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, n := range names {
		all = append(all, strings.TrimPrefix(filepath.Base(n), "etcd-"))
	}
	slices.SortFunc(all, func(a, b string) int {
		x, y := numbers(a), numbers(b)
		return slices.Compare(x[:], y[:])
	})
	if len(all) < 2 {
		t.Fatalf("%s holds %v only", Binaries(t), all)
	}
	return all
}

func numbers(v string) (n [3]int) {
	_, _ = fmt.Sscanf(v, "%d.%d.%d", &n[0], &n[1], &n[2])
	return n
}

// AtLeast says whether a version's line is major.minor or later.
func AtLeast(v string, major, minor int) bool {
	n := numbers(v)
	return n[0] > major || n[0] == major && n[1] >= minor
}

// Member is a running member.
type Member struct {
	t       testing.TB
	Version string
	Dir     string
	URL     string
	PeerURL string
	cmd     *exec.Cmd
	out     *os.File
}

// Start starts a cluster of one.
func Start(t testing.TB, version, dir string, more ...string) *Member {
	t.Helper()
	peer := FreeURL(t)
	return StartMember(t, version, dir, "n1", peer, append([]string{"--initial-cluster", "n1=" + peer, "--heartbeat-interval", "10", "--election-timeout", "100"}, more...)...)
}

// StartMember starts one member and returns at once. It is ended with the test.
func StartMember(t testing.TB, version, dir, name, peer string, more ...string) *Member {
	t.Helper()
	m := &Member{t: t, Version: version, Dir: dir, URL: FreeURL(t), PeerURL: peer}
	if strings.HasPrefix(peer, "https:") { // the flags for it are in more
		m.URL = strings.Replace(m.URL, "http:", "https:", 1)
	}
	out, err := os.CreateTemp(t.TempDir(), "etcd-*.log")
	if err != nil {
		t.Fatal(err)
	}
	m.out = out
	m.cmd = exec.Command(filepath.Join(Binaries(t), "etcd-"+version), append([]string{
		"--name", name, "--data-dir", dir,
		"--listen-client-urls", m.URL, "--advertise-client-urls", m.URL,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
	}, more...)...)
	m.cmd.Stdout, m.cmd.Stderr = out, out
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.cmd.ProcessState == nil {
			m.Kill()
		}
		out.Close()
	})
	return m
}

// taken are the ports that FreeURL gave away.
var taken sync.Map

// FreeURL is a loopback URL that nobody listens on, and that it gives once. Its
// port is below those that the kernel gives to connections, one of which could
// have it by the time that a member wants it.
func FreeURL(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := 12000 + rand.IntN(20000)
		if _, again := taken.LoadOrStore(port, true); again {
			continue
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			l.Close()
			return "http://127.0.0.1:" + strconv.Itoa(port)
		}
	}
	t.Fatal("no free port")
	return ""
}

// Ready waits until the member has agreed on its line's version.
func (m *Member) Ready() *Member {
	m.t.Helper()
	n := numbers(m.Version)
	want := fmt.Sprintf("%d.%d.0", n[0], n[1])
	m.WaitVersion(want)
	if n[0] >= 3 && n[1] >= 6 {
		m.wait("storage version", func() bool { return m.version()["storage"] == want })
	}
	return m
}

// WaitVersion waits until the member shows a cluster version.
func (m *Member) WaitVersion(want string) {
	m.t.Helper()
	m.wait("cluster version "+want, func() bool { return m.version()["etcdcluster"] == want })
}

// WaitStorage waits until the member shows a storage version.
func (m *Member) WaitStorage(want string) {
	m.t.Helper()
	m.wait("storage version "+want, func() bool { return m.version()["storage"] == want })
}

// WaitServing waits until the member answers a linearizable read, which takes
// a leader and most members.
func (m *Member) WaitServing() {
	m.t.Helper()
	m.wait("answer to a read", func() bool {
		if !AtLeast(m.Version, 3, 0) {
			return m.call(http.MethodGet, "/v2/keys/?quorum=true", nil, nil) == nil
		}
		return m.call(http.MethodPost, m.gateway()+"/kv/range", map[string]any{"key": []byte{0}, "count_only": true}, nil) == nil
	})
}

func (m *Member) version() map[string]string {
	v := map[string]string{}
	_ = m.call(http.MethodGet, "/version", nil, &v)
	return v
}

func (m *Member) wait(what string, ok func() bool) {
	m.t.Helper()
	for range 3600 { // three minutes: machines are slow at times, and one that is dead is seen at once
		if ok() {
			return
		}
		if m.ended() {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	m.t.Fatalf("etcd %s on %s: no %s; its log ends:\n%s", m.Version, m.Dir, what, m.log())
}

// ended says whether the member ended by itself, and leaves it for Stop.
func (m *Member) ended() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, m.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil || info.Signo != 0
}

func (m *Member) log() string {
	b, _ := os.ReadFile(m.out.Name())
	return string(b[max(0, len(b)-3000):])
}

// Stop ends the member as an operator would.
func (m *Member) Stop() {
	m.t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatalf("etcd %s ended by itself; its log ends:\n%s", m.Version, m.log())
	}
	_ = m.cmd.Wait() // old lines exit with 0, others by the signal
}

// Kill ends the member by kill -9.
func (m *Member) Kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

func (m *Member) call(method, path string, body, into any) error {
	_, err := m.callHeader(method, path, body, into)
	return err
}

func (m *Member) callHeader(method, path string, body, into any) (http.Header, error) {
	var r io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case url.Values:
		r, contentType = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	default:
		j, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequest(method, m.URL+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	if into == nil {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(b, into)
}

// v3 calls the JSON gateway.
func (m *Member) v3(path string, body, into any) {
	m.t.Helper()
	if err := m.tryV3(path, body, into); err != nil {
		m.t.Fatalf("etcd %s: %v", m.Version, err)
	}
}

func (m *Member) tryV3(path string, body, into any) error {
	return m.call(http.MethodPost, m.gateway()+path, body, into)
}

func (m *Member) gateway() string {
	switch {
	case AtLeast(m.Version, 3, 4):
		return "/v3"
	case AtLeast(m.Version, 3, 3):
		return "/v3beta"
	}
	return "/v3alpha"
}

// MemberNames are the names of the members that the member knows, in order.
func (m *Member) MemberNames() (all []string) {
	m.t.Helper()
	var r struct{ Members []struct{ Name string } }
	if AtLeast(m.Version, 3, 0) {
		m.v3("/cluster/member/list", map[string]any{}, &r)
	} else if err := m.call(http.MethodGet, "/v2/members", nil, &r); err != nil {
		m.t.Fatal(err)
	}
	for _, x := range r.Members {
		all = append(all, x.Name)
	}
	slices.Sort(all)
	return all
}
