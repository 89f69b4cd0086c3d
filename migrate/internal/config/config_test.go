package config_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/config"
)

var losses = []string{"auth", "not-utf8"}

func parse(env map[string]string, args ...string) (*config.Config, error) {
	return config.Parse(args, func(k string) string { return env[k] }, "3.5.35,3.6.16", losses, io.Discard)
}

// enough are the variables without which nothing works.
func enough(more ...string) map[string]string {
	env := map[string]string{"ETCD_NAME": "n1", "DATA_DIRECTORY": "/data", "TARGET_VERSION": "3.6.16", "TARGET_STORAGE": "etcd3"}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

func must(t *testing.T, env map[string]string, args ...string) *config.Config {
	t.Helper()
	c, err := parse(env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAFlagBeatsTheEnvironmentBeatsTheDefault(t *testing.T) {
	for _, x := range []struct {
		flag, variable string
		def            string // with neither; "" where one is required
		get            func(c *config.Config) string
		a, b           string // two values, as get shows them
	}{
		{"name", "ETCD_NAME", "", func(c *config.Config) string { return c.Name }, "x", "y"},
		{"data-dir", "DATA_DIRECTORY", "", func(c *config.Config) string { return c.DataDir }, "/x", "/y"},
		{"target-version", "TARGET_VERSION", "", func(c *config.Config) string { return c.Target.Version.String() }, "3.1.0", "3.2.0"},
		{"target-storage", "TARGET_STORAGE", "", func(c *config.Config) string { return string(c.Target.Storage) }, "etcd2", "etcd3"},
		{"initial-advertise-peer-urls", "INITIAL_ADVERTISE_PEER_URLS", "http://localhost:2380", func(c *config.Config) string { return strings.Join(c.PeerURLs, ",") }, "http://a:1", "http://b:2"},
		{"etcd-data-prefix", "ETCD_DATA_PREFIX", "/registry", func(c *config.Config) string { return c.DataPrefix }, "/x", "/y"},
		{"etcd-server-extra-args", "ETCD_CREDS", "", func(c *config.Config) string { return strings.Join(c.ExtraArgs, " ") }, "--a=1", "--b=2"},
	} {
		t.Run(x.flag, func(t *testing.T) {
			if got := x.get(must(t, enough(x.variable, x.a))); got != x.a {
				t.Errorf("$%s=%s gives %q", x.variable, x.a, got)
			}
			if got := x.get(must(t, enough(x.variable, x.a), "--"+x.flag, x.b)); got != x.b {
				t.Errorf("with --%s=%s it gives %q", x.flag, x.b, got)
			}
			if x.def == "" {
				return
			}
			if got := x.get(must(t, enough(x.variable, ""))); got != x.def {
				t.Errorf("by default, and with an empty variable, it gives %q", got)
			}
		})
	}
}

func TestWhatIsRequired(t *testing.T) {
	for variable, says := range map[string]string{
		"ETCD_NAME": "$ETCD_HOSTNAME", "DATA_DIRECTORY": "--data-dir", "TARGET_VERSION": "--target-version", "TARGET_STORAGE": "--target-storage",
	} {
		_, err := parse(enough(variable, ""))
		if !errors.Is(err, config.ErrUsage) || !strings.Contains(err.Error(), says) {
			t.Errorf("without $%s: %v", variable, err)
		}
	}
}

func TestTheNameComesFromTheHost(t *testing.T) {
	for _, x := range []struct {
		env  map[string]string
		want string
	}{
		{enough("ETCD_NAME", "", "ETCD_HOSTNAME", "a", "HOSTNAME", "b"), "etcd-a"},
		{enough("ETCD_NAME", "", "ETCD_HOSTNAME", "", "HOSTNAME", "b"), "etcd-b"},
	} {
		if got := must(t, x.env).Name; got != x.want {
			t.Errorf("%q instead of %q", got, x.want)
		}
	}
}

func TestClustersForEventsHaveTheirOwnPorts(t *testing.T) {
	for _, x := range []struct {
		dir  string
		args []string
		want [2]int
	}{
		{"/var/etcd/data", nil, [2]int{18629, 2380}},
		{"/var/etcd/data-events", nil, [2]int{18631, 2381}},
		{"/var/etcd/data-events", []string{"--port=1", "--peer-port=2"}, [2]int{1, 2}},
	} {
		c := must(t, enough("DATA_DIRECTORY", x.dir), x.args...)
		if got := [2]int{c.Port, c.PeerPort}; got != x.want || c.PortsGiven != (x.args != nil) {
			t.Errorf("%s %v: %v, given %v", x.dir, x.args, got, c.PortsGiven)
		}
	}
}

func TestTheOtherDefaults(t *testing.T) {
	c := must(t, enough())
	if c.BinDir != "/usr/local/bin" || c.TTLDir != "/registry/events" || !c.MoveBinaries || c.KeepBackups != 1 || c.DryRun || c.Command != nil || len(c.Bundled) != 2 {
		t.Errorf("%+v", c)
	}
	if c := must(t, enough("DO_NOT_MOVE_BINARIES", "true")); c.MoveBinaries {
		t.Error("DO_NOT_MOVE_BINARIES=true moves binaries")
	}
	if c := must(t, enough("ETCD_DATA_PREFIX", "/other/")); c.TTLDir != "/other/events" {
		t.Error(c.TTLDir)
	}
	if c := must(t, enough(), "--bundled-versions=3.1.20, 3.7.3"); len(c.Bundled) != 2 || c.Bundled[1].String() != "3.7.3" {
		t.Error(c.Bundled)
	}
}

func TestTheMembersOwnURLsAreTakenFromTheCluster(t *testing.T) {
	c := must(t, enough("INITIAL_CLUSTER", "n0=http://a:1,n1=http://b:2,n1=http://c:3"))
	if !slices.Equal(c.PeerURLs, []string{"http://b:2", "http://c:3"}) {
		t.Error(c.PeerURLs)
	}
}

func TestWhatFollowsTheDashesIsTheCommand(t *testing.T) {
	c := must(t, enough(), "--dry-run", "--", "/usr/local/bin/etcd", "--name", "n1", "--")
	if !slices.Equal(c.Command, []string{"/usr/local/bin/etcd", "--name", "n1", "--"}) || !c.DryRun {
		t.Errorf("%+v", c)
	}
}

func TestMistakesAreToldAllAtOnce(t *testing.T) {
	for _, x := range []struct{ args, says string }{
		{"--target-version=3.6", `"3.6" is not a version`},
		{"--target-version=v3.6.16", "v3.6.16"},
		{"--target-storage=etcd4", "etcd4"},
		{"--current-version=1.1/etcd3", "--current-version"},
		{"--bundled-versions=3.6.16,x", `"x" is not a version`},
		{"--port=70000", "70000 is no port"},
		{"--port=x", "x"},
		{"--listen-client-urls=localhost:2379", "localhost:2379"},
		{"--listen-peer-urls=ftp://localhost:1", "no URL of etcd's"},
		{"--initial-advertise-peer-urls=http://localhost", "http://localhost"},
		{"--initial-cluster=n1", "is not NAME=URL"},
		{"--accept-loss=everything", "is none of auth, not-utf8"},
		{"--keep-backups=-1", "negative"},
		{"--log-format=xml", "neither text nor json"},
		{"--etcd-server-extra-args=--wal-dir=/x", "--wal-dir"},
		{"--debug", "debug"},
		{"stray", "is no flag"},
		{"--", "no command after --"},
	} {
		_, err := parse(enough(), strings.Fields(x.args)...)
		if !errors.Is(err, config.ErrUsage) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", x.args, err)
		}
	}
	_, err := parse(enough(), "--target-version=3.6", "--target-storage=etcd4")
	if err == nil || !strings.Contains(err.Error(), `"3.6"`) || !strings.Contains(err.Error(), "etcd4") {
		t.Error(err)
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	_, err := config.Parse([]string{"--help"}, func(string) string { return "" }, "", losses, &out)
	if !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, name := range []string{
		"name", "data-dir", "port", "peer-port", "listen-client-urls", "listen-peer-urls", "initial-advertise-peer-urls", "initial-cluster",
		"bin-dir", "bundled-versions", "target-version", "target-storage", "current-version", "etcd-data-prefix", "ttl-keys-directory",
		"etcd-server-extra-args", "accept-loss", "keep-backups", "dry-run", "log-format", "verbose",
	} {
		if !strings.Contains(out.String(), "-"+name) {
			t.Errorf("it does not name --%s", name)
		}
	}
}
