//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// largestDebianSlim is how large debian-slim may be on amd64, compressed.
const largestDebianSlim = 55_000_000

func TestDebianProfilesForFourArchitectures(t *testing.T) {
	for _, c := range []struct {
		profile, user      string
		entrypoint, cmd    []string
		owner              int
		data               []string
		environment, ports []string
		largest            int64 // bytes on amd64; 0 for any
	}{
		{
			profile: "debian-slim.yaml", largest: largestDebianSlim, user: "65534", owner: 65534, data: []string{"/var/lib/etcd", "/var/etcd"},
			entrypoint: []string{"/usr/local/bin/etcd"},
			cmd: []string{"--data-dir", "/var/lib/etcd", "--listen-client-urls", "http://0.0.0.0:2379",
				"--advertise-client-urls", "http://localhost:2379"},
		},
		{profile: "dev.yaml", user: "0", data: []string{"/var/lib/etcd", "/etcd-data"}, cmd: []string{"/usr/local/bin/etcd"}},
	} {
		t.Run(c.profile, func(t *testing.T) {
			out := filepath.Join(shared.scratch(t), "out")
			archs := shared.served(t, debianArchitectures...)
			if !slices.Contains(archs, "amd64") {
				t.Fatal("not even amd64")
			}
			args := []string{"build", shared.profile(c.profile), "--arch", strings.Join(archs, ","), "-o", out, "--output", "json"}
			r := shared.command(options(args, skipSuites)...).mustBuild(t)
			if strings.Contains(r.Log, "maintainer scripts") {
				t.Errorf("scripts that no rule speaks for:\n%s", r.Log)
			}
			images := imagesOf(t, out)
			for _, arch := range archs {
				image, ok := images[arch]
				if !ok {
					t.Fatalf("no image for %s", arch)
				}
				built, _ := r.image(arch)
				var size int64
				for _, l := range built.Layers {
					size += l.Size
				}
				t.Logf("%s: %.1f MB", arch, float64(size)/1e6)
				if arch == "amd64" && c.largest > 0 && size > c.largest {
					t.Errorf("%s has %d bytes, more than %d", arch, size, c.largest)
				}
				config, err := image.ConfigFile()
				if err != nil {
					t.Fatal(err)
				}
				got := config.Config
				if got.User != c.user || !slices.Equal(got.Entrypoint, c.entrypoint) || !slices.Equal(got.Cmd, c.cmd) {
					t.Errorf("%s starts %q %q as %s", arch, got.Entrypoint, got.Cmd, got.User)
				}
				if !slices.Equal(got.Env, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}) {
					t.Errorf("%s: environment %q", arch, got.Env)
				}
				for _, port := range []string{"2379/tcp", "2380/tcp"} {
					if _, ok := got.ExposedPorts[port]; !ok {
						t.Errorf("%s does not expose %s", arch, port)
					}
				}
				if _, ok := got.Volumes["/var/lib/etcd"]; !ok {
					t.Errorf("%s has no volume", arch)
				}
				files := tree(t, image)
				for _, dir := range c.data {
					if f := files[dir]; f.Mode != 0o700 || f.Uid != c.owner || f.Gid != c.owner {
						t.Errorf("%s: %s has mode %o and owner %d:%d", arch, dir, f.Mode, f.Uid, f.Gid)
					}
				}
				for _, name := range []string{"etcd", "etcdctl", "etcdutl", "migrate", "migrate-if-needed.sh"} {
					if f, ok := files["/usr/local/bin/"+name]; !ok || f.Mode != 0o555 {
						t.Errorf("%s: /usr/local/bin/%s has mode %o", arch, name, f.Mode)
					}
				}
				if len(files["/var/lib/dpkg/status"].content) == 0 || len(files["/usr/share/doc/bash/copyright"].content) == 0 {
					t.Errorf("%s lacks the package database or licences", arch)
				}
				if _, ok := files["/usr/share/man/man1/bash.1.gz"]; ok {
					t.Errorf("%s has manual pages", arch)
				}
			}
		})
	}
}

// All of it runs in one image that knows where packages are: the archive as
// this machine reaches it.
func TestDevIsADebianInWhichEverythingWorks(t *testing.T) {
	e := shared.engine(t)
	profile := writeProfile(t, include(shared, "dev.yaml"), "contents:", "  runtime-repositories:",
		"    - "+shared.mirror(t, "debian")+" trixie main",
		"    - "+shared.mirror(t, "debian")+" trixie-updates main",
		"    - "+shared.mirror(t, "debian-security")+" trixie-security main")
	image := buildDebian(t, e, profile, "amd64")
	network := []string{"--network", "host"} // as this machine reaches its mirror

	t.Run("packages can be installed", func(t *testing.T) {
		out := e.shell(t, network, image, `
			apt-get update
			apt-get check
			test -z "$(dpkg --audit)"
			apt-get install -y curl procps
			apt-get check
			test -z "$(dpkg --audit)"
			curl --version
			ps ax
			apt-get remove -y --purge curl
			apt-get autoremove -y
			test -z "$(dpkg --audit)"
			echo "downloads that stay: $(find /var/cache/apt/archives -name '*.deb' | wc -l)"`)
		has(t, "its output", out, "Setting up curl", "Setting up procps", "Removing curl", "downloads that stay: 0")
	})

	t.Run("packages can be installed again and upgraded", func(t *testing.T) {
		has(t, "its output", e.shell(t, network, image, `
			apt-get update
			apt-get install -y --reinstall base-files base-passwd passwd libc-bin libpam-runtime debianutils mawk tar ca-certificates
			apt-get upgrade -y
			test -z "$(dpkg --audit)"
			head -1 /etc/passwd; awk 'BEGIN { print 6 * 7 }'`), "root:x:0:0:", "42")
	})

	t.Run("dpkg knows what is there", func(t *testing.T) {
		out := e.shell(t, nil, image, `
			dpkg-query --show --showformat '${Package} ${Version} ${Status}\n' | sort
			dpkg --search /usr/bin/bash
			dpkg --listfiles bash | head -1
			dpkg --print-architecture
			update-alternatives --get-selections
			dpkg --verify >/tmp/verified
			test -s /tmp/verified # of what a slim image leaves out
			grep -v '/usr/share/\(doc\|info\|locale\|man\|lintian\)/' /tmp/verified || echo all files are as shipped`)
		has(t, "its output", out, "bash 5.", "libc6 2.", "bash: /usr/bin/bash", "/.\n", "amd64", "/usr/bin/mawk", "all files are as shipped")
		if n := strings.Count(out, " install ok installed"); n < 78 {
			t.Errorf("%d packages are installed", n)
		}
	})

	t.Run("accounts", func(t *testing.T) {
		has(t, "its output", e.shell(t, nil, image, `
			useradd --create-home joe
			su joe -c 'id; cd; pwd'
			su - joe -s /bin/sh -c 'echo $0 "$PATH"'
			passwd --status root
			getent shadow root
			pwck --read-only --quiet && echo accounts are consistent
			grpck --read-only && echo groups are consistent
			chsh -s /bin/dash joe && getent passwd joe
			userdel --remove joe`), "uid=1000(joe)", "/home/joe", "root L", "accounts are consistent", "groups are consistent", "joe:x:1000:1000::/home/joe:/bin/dash")
	})

	t.Run("certificates", func(t *testing.T) {
		has(t, "its output", e.shell(t, nil, image, `
			before=$(sha256sum /etc/ssl/certs/ca-certificates.crt)
			update-ca-certificates
			test "$before" = "$(sha256sum /etc/ssl/certs/ca-certificates.crt)"
			openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=mine -out /usr/local/share/ca-certificates/mine.crt 2>/dev/null
			update-ca-certificates
			openssl verify /usr/local/share/ca-certificates/mine.crt`), "0 added, 0 removed", "1 added, 0 removed", "mine.crt: OK")
	})

	t.Run("scripts", func(t *testing.T) {
		has(t, "its output", e.shell(t, nil, image, `
			perl -e 'use POSIX; use File::Temp; use Socket; printf "perl %s\n", join ",", map { $_ * $_ } 1 .. 5'
			a=(x y z); echo "bash ${#a[@]} ${a[-1]}"; [[ $BASH_VERSION == 5.* ]]
			printf 'b\na\n' | sort | tr '\n' ' '; echo
			date -d @0; TZ=Europe/Berlin date -d @0 +%H
			tar -cf - /etc/passwd 2>/dev/null | tar -t; gzip -c /etc/passwd | zcat | head -1
			find / -xdev -perm -4000 | sort`), "perl 1,4,9,16,25", "bash 3 z", "a b", "UTC 1970", "01\n", "/usr/bin/su")
	})

	t.Run("etcd and its tools", func(t *testing.T) {
		has(t, "its output", e.shell(t, nil, image, "etcd --version; etcdctl version; etcdutl version; command -v etcd"),
			"etcd Version: "+hardenedVersion, "etcdctl version: "+hardenedVersion, "etcdutl version: "+hardenedVersion, "/usr/local/bin/etcd")
	})
}

func TestDevHasThePinnedSnapshotAsItsSource(t *testing.T) {
	e := shared.engine(t)
	image := buildDebian(t, e, shared.profile("dev.yaml"), "amd64")
	out := e.shell(t, nil, image, "cat /etc/apt/sources.list.d/debian.sources; apt-get update --print-uris")
	has(t, "its sources", out, "URIs: https://snapshot.debian.org/archive/debian/20", "Suites: trixie trixie-updates\n",
		"URIs: https://snapshot.debian.org/archive/debian-security/20", "Check-Valid-Until: no", "Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp",
		"/dists/trixie-updates/InRelease'", "/dists/trixie-security/InRelease'")
}

func TestDebianOnForeignArchitectures(t *testing.T) {
	e := shared.engine(t)
	for _, arch := range []string{"arm64", "ppc64le", "s390x"} {
		t.Run(arch, func(t *testing.T) {
			shared.emulate(t, arch)
			if len(shared.served(t, arch)) == 0 {
				return
			}
			for _, profile := range []string{"debian-slim.yaml", "dev.yaml"} {
				image := buildDebian(t, e, shared.profile(profile), arch)
				out := e.shell(t, []string{"--platform", "linux/" + arch, "--entrypoint", ""}, image, "uname -m; dpkg -l; dpkg --print-architecture; test -z \"$(dpkg --audit)\"; etcd --version; id -un")
				has(t, profile, out, "ii  bash ", "ii  libc6:"+debianName(arch), "\n"+debianName(arch)+"\n", "etcd Version: "+hardenedVersion, "OS/Arch: linux/"+arch)
			}
		})
	}
}

// The command lines that the published image on Debian slim is documented with.
// All after the image's name is theirs; names, volumes and published ports are
// the test's own, for this machine alone.
func TestDebianSlimDocumentedCommands(t *testing.T) {
	e := shared.engine(t)
	image := buildDebian(t, e, shared.profile("debian-slim.yaml"), "amd64")

	t.Run("temporary container answers from outside", func(t *testing.T) {
		c := e.start(t, publishClients, image)
		c.client(t).put(t, "greeting", "Hello, etcd")
		c.client(t).mustGet(t, "greeting", "Hello, etcd")
		if got := c.do(t, "exec", c.name, "id"); got != "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)" {
			t.Errorf("it runs as %s", got)
		}
		c.stop(t)
	})

	t.Run("persistent storage", func(t *testing.T) {
		// A volume takes over the owner; a directory of the host has to have it.
		dir := filepath.Join(shared.scratch(t), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		mounts := []string{e.volume(t)}
		if os.Geteuid() == 0 {
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			mounts = append(mounts, dir)
		}
		for _, mount := range mounts {
			for range 2 {
				c := e.start(t, options(publishClients, []string{"-v", mount + ":/var/lib/etcd"}), image)
				c.client(t).put(t, "mykey", "kept")
				c.stop(t)
				c.do(t, "rm", "--volumes", c.name)
			}
			c := e.start(t, options(publishClients, []string{"-v", mount + ":/var/lib/etcd"}), image)
			c.client(t).mustGet(t, "mykey", "kept")
			c.stop(t)
		}
	})

	t.Run("custom configuration", func(t *testing.T) {
		// As printed it names localhost for peers, which etcd 3.6 replaces by the
		// container's address where there is one, and then finds that the cluster
		// has no such member. With no address to find, or with a name that the
		// container answers to, it works.
		for _, c := range []struct {
			network []string
			peer    string
		}{
			{[]string{"--network", "none"}, "localhost"},
			{[]string{"--hostname", "my-etcd-host"}, "my-etcd-host"},
		} {
			c := e.start(t, c.network, image,
				"--name", "my-etcd-node",
				"--data-dir", "/var/lib/etcd",
				"--listen-client-urls", "http://0.0.0.0:2379",
				"--advertise-client-urls", "http://localhost:2379",
				"--listen-peer-urls", "http://0.0.0.0:2380",
				"--initial-advertise-peer-urls", "http://"+c.peer+":2380",
				"--initial-cluster", "my-etcd-node=http://"+c.peer+":2380",
				"--initial-cluster-token", "etcd-cluster-1",
				"--initial-cluster-state", "new")
			ready(t, c)
			has(t, "member list", c.do(t, "exec", c.name, "etcdctl", "member", "list"), "started, my-etcd-node")
			c.stop(t)
		}
	})

	t.Run("tools", func(t *testing.T) {
		c := e.start(t, publishClients, image)
		ready(t, c)
		exec := func(args ...string) string { return c.do(t, append([]string{"exec", c.name}, args...)...) }
		has(t, "put", exec("etcdctl", "put", "greeting", "Hello, etcd"), "OK")
		has(t, "get", exec("etcdctl", "get", "greeting"), "greeting\nHello, etcd")
		exec("etcdctl", "put", "other", "value")
		has(t, "get --prefix", exec("etcdctl", "get", "", "--prefix"), "greeting\nHello, etcd", "other\nvalue")
		has(t, "status", exec("etcdctl", "endpoint", "status", "--write-out=table"), "127.0.0.1:2379", hardenedVersion)
		exec("etcdctl", "endpoint", "health")
		has(t, "snapshot save", exec("etcdctl", "snapshot", "save", "/var/lib/etcd/backup.db"), "Snapshot saved at /var/lib/etcd/backup.db")
		has(t, "snapshot status", exec("etcdutl", "snapshot", "status", "/var/lib/etcd/backup.db"), ",")
		exec("etcdutl", "snapshot", "restore", "/var/lib/etcd/backup.db", "--data-dir", "/var/lib/etcd/restored")
		exec("test", "-s", "/var/lib/etcd/restored/member/snap/db")
		c.stop(t)
	})

	t.Run("cluster of three", func(t *testing.T) {
		network := e.network(t)
		var members []*container
		for i := range 3 {
			name := fmt.Sprintf("etcd-%d", i+1)
			members = append(members, e.start(t, options(publishClients, []string{"--network", network, "--network-alias", name, "-v", e.volume(t) + ":/var/lib/etcd"}), image,
				"--name", name,
				"--data-dir", "/var/lib/etcd",
				"--listen-client-urls", "http://0.0.0.0:2379",
				"--advertise-client-urls", "http://"+name+":2379",
				"--listen-peer-urls", "http://0.0.0.0:2380",
				"--initial-advertise-peer-urls", "http://"+name+":2380",
				"--initial-cluster", "etcd-1=http://etcd-1:2380,etcd-2=http://etcd-2:2380,etcd-3=http://etcd-3:2380",
				"--initial-cluster-token", "etcd-cluster-1",
				"--initial-cluster-state", "new"))
		}
		members[0].client(t).put(t, "key", "on one")
		members[2].client(t).mustGet(t, "key", "on one")
		if n, err := members[1].client(t).members(t.Context()); err != nil || n != 3 {
			t.Errorf("%d members have started (%v)", n, err)
		}
	})
}

// The command lines that use the -dev variant of the published hardened image:
// a tool beside a server.
func TestDevDocumentedCommands(t *testing.T) {
	e := shared.engine(t)
	image := buildDebian(t, e, shared.profile("dev.yaml"), "amd64")
	server := e.start(t, nil, image)
	ready(t, server)
	backup := shared.scratch(t)
	network := []string{"run", "--rm", "--network", "container:" + server.name} // in place of the host's
	tool := func(args ...string) string {
		return e.do(t, options(network, []string{"-v", backup + ":/backup", image}, args)...)
	}
	tool("etcdctl", "--endpoints=localhost:2379", "endpoint", "health")
	has(t, "put", tool("etcdctl", "--endpoints=localhost:2379", "put", "mykey", "Hello etcd"), "OK")
	has(t, "get", tool("etcdctl", "--endpoints=localhost:2379", "get", "mykey"), "mykey\nHello etcd")
	tool("etcdctl", "--endpoints=localhost:2379", "snapshot", "save", "/backup/snapshot.db")
	if info, err := os.Stat(filepath.Join(backup, "snapshot.db")); err != nil || info.Size() == 0 {
		t.Errorf("no snapshot: %v", err)
	}
	server.stop(t)
}
