package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// The cases of the published operator's integration test that have one member:
// given a member that was migrated from empty to a start version, and started,
// and had /registry/NAME written; when it is stopped, migrated to an end version
// and started; then it serves the key and stops cleanly, and version.txt and the
// modes are right.
func TestTheCasesOfThePublishedOperator(t *testing.T) {
	versions := etcdtest.Versions(t)
	oldest, newest := versions[1], versions[len(versions)-1]
	for _, x := range []struct {
		what, start, end string
		args             []string
		urls             int
	}{
		{"3.0 to 3.1", "3.0.17/etcd3", "3.1.20/etcd3", nil, 1},
		{"oldest to newest", oldest + "/etcd3", newest + "/etcd3", nil, 1},
		{"2.x to 3.0", "2.3.8/etcd2", "3.0.17/etcd3", nil, 1},
		{"3.1 to 3.0", "3.1.20/etcd3", "3.0.17/etcd3", nil, 1},
		{"3.0 to 2.x", "3.0.17/etcd3", "2.3.8/etcd2", nil, 1},
		{"two listen-client-urls", "3.0.17/etcd3", "3.1.20/etcd3", []string{"--listen-client-urls", "http://127.0.0.1:2379,http://10.128.0.1:2379"}, 2},
	} {
		t.Run(x.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "etcd-data-dir-n1")
			move := func(to string) {
				t.Helper()
				v, storage, _ := strings.Cut(to, "/")
				args := append([]string{"--name", "n1", "--port", "18629", "--peer-port", "2380",
					"--data-dir", dir, "--bin-dir", etcdtest.Binaries(t), "--target-version", v, "--target-storage", storage,
					"--initial-cluster", "n1=http://localhost:2380", "--initial-advertise-peer-urls", "http://localhost:2380", "--listen-peer-urls", "http://localhost:2380",
					"--etcd-data-prefix", "/registry", "--ttl-keys-directory", "/registry/events"}, x.args...)
				cmd := exec.Command("sh", append([]string{"-c", `umask 0022; exec "$0" "$@"`, os.Args[0]}, args...)...)
				cmd.Env = program().Env
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("migrate to %s: %v\n%s", to, err, out)
				}
			}
			serve := func(of string) *etcdtest.Member {
				t.Helper()
				v, _, _ := strings.Cut(of, "/")
				var urls []string
				for range x.urls {
					urls = append(urls, etcdtest.FreeURL(t))
				}
				m := etcdtest.Start(t, v, dir, "--listen-client-urls", strings.Join(urls, ","), "--advertise-client-urls", strings.Join(urls, ","))
				m.URL = urls[len(urls)-1]
				return m.Ready()
			}
			move(x.start)
			m := serve(x.start)
			if strings.HasSuffix(x.start, "etcd2") {
				m.V2Put("/registry/n1", "value n1", 0)
			} else {
				m.Put("/registry/n1", "value n1", "")
			}
			m.Stop()
			move(x.end)
			m = serve(x.end)
			got := map[string]string{}
			if strings.HasSuffix(x.end, "etcd2") {
				for _, k := range m.V2Read() {
					got[k.Key] = k.Value
				}
			} else {
				for _, k := range m.Read(etcdtest.Content{}).Keys {
					got[k.Key] = k.Value
				}
			}
			etcdtest.Same(t, "the keys", map[string]string{"/registry/n1": "value n1"}, got)
			m.Stop()
			b, err := os.ReadFile(filepath.Join(dir, "version.txt"))
			if err != nil || string(b) != x.end {
				t.Errorf("version.txt is %q, %v", b, err)
			}
			for name, want := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "version.txt"): 0o644} {
				info, err := os.Stat(name)
				if err != nil || info.Mode().Perm() != want {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
			}
		})
	}
}
