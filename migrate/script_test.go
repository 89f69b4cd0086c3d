package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shells are what the script must work with: those of the images' /bin/sh.
var shells = [][]string{{"dash"}, {"busybox", "sh"}, {"bash", "--posix"}}

func TestScriptHandsTheVariablesOverAsFlags(t *testing.T) {
	script, err := os.ReadFile("migrate-if-needed.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "usr local", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// In the place of the program: prints each argument in brackets, and fails
	// as it is told.
	const program = "#!/bin/sh\nfor a in \"$@\"; do echo \"<$a>\"; done\necho \"move=${DO_NOT_MOVE_BINARIES:-}\"\nexit ${STATUS:-0}\n"
	for name, text := range map[string][]byte{"migrate-if-needed.sh": script, "migrate": []byte(program)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ran := false
	for _, shell := range shells {
		if _, err := exec.LookPath(shell[0]); err != nil {
			t.Logf("NOT RUN with %v: it is not installed", shell)
			continue
		}
		ran = true
		for name, c := range map[string]struct {
			env, args []string
			want      string // sorted as printed
			status    int
		}{
			"nothing": {want: "move="},
			"all": {
				env: []string{
					"ETCD_NAME=node 1", "DATA_DIRECTORY=/var/etcd/my data", "TARGET_VERSION=3.6.16", "TARGET_STORAGE=etcd3",
					"LISTEN_CLIENT_URLS=http://a:1,http://b:2", "LISTEN_PEER_URLS=http://c:3", "INITIAL_ADVERTISE_PEER_URLS=http://d:4",
					"INITIAL_CLUSTER=n=http://d:4", "ETCD_DATA_PREFIX=/r$x", "TTL_KEYS_DIRECTORY=/r/e*", "ETCD_CREDS= --a=b  --c ",
					"DO_NOT_MOVE_BINARIES=true",
				},
				args: []string{"--verbose", "--", "etcd", "--name", "a b"},
				want: "<--etcd-server-extra-args= --a=b  --c > <--ttl-keys-directory=/r/e*> <--etcd-data-prefix=/r$x> <--initial-cluster=n=http://d:4> " +
					"<--initial-advertise-peer-urls=http://d:4> <--listen-peer-urls=http://c:3> <--listen-client-urls=http://a:1,http://b:2> " +
					"<--target-storage=etcd3> <--target-version=3.6.16> <--data-dir=/var/etcd/my data> <--name=node 1> " +
					"<--verbose> <--> <etcd> <--name> <a b> move=true",
			},
			"empty counts as unset": {env: []string{"ETCD_NAME=", "TARGET_VERSION=3.0.17", "ETCD_CREDS="}, want: "<--target-version=3.0.17> move="},
			"its exit code":         {env: []string{"STATUS=2"}, want: "move=", status: 2},
		} {
			t.Run(shell[0]+" "+name, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), shell[0], append(append(shell[1:len(shell):len(shell)], filepath.Join(dir, "migrate-if-needed.sh")), c.args...)...)
				cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.env...)
				out, _ := cmd.Output() // the exit code is compared below
				if got := strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), " "); got != c.want {
					t.Errorf("got\n%s\nwant\n%s", got, c.want)
				}
				if got := cmd.ProcessState.ExitCode(); got != c.status {
					t.Errorf("exit %d, want %d", got, c.status)
				}
			})
		}
	}
	if !ran {
		t.Skip("NOT RUN: no shell is installed")
	}
}
