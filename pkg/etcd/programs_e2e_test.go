//go:build e2e

package etcd_test

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/etcd"
)

// checkStatic fails unless the file is a static ELF executable.
func checkStatic(t *testing.T, file, arch string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390}[arch]
	order := map[bool]elf.Data{true: elf.ELFDATA2MSB, false: elf.ELFDATA2LSB}[arch == "s390x"]
	if f.Machine != machine || f.Data != order || f.Class != elf.ELFCLASS64 || f.Type != elf.ET_EXEC {
		t.Errorf("it is %v %v %v %v", f.Machine, f.Data, f.Class, f.Type)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %v", p.Type)
		}
	}
}

// programs are the programs of one version for one architecture.
type programs struct {
	t    *testing.T
	line etcd.Line
	arch string
	file map[string]string
}

// command returns a call of a program, emulated where it has to be, with
// nothing in the environment but what the catalogue says that it needs.
func (p programs) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path, all := p.file[name], args
	if p.arch != runtime.GOARCH {
		emulator, err := exec.LookPath(emulators[p.arch])
		if err != nil {
			p.t.Fatalf("no emulator of %s: install qemu-user-static", p.arch)
		}
		path, all = emulator, append([]string{path}, args...)
	}
	cmd := exec.CommandContext(ctx, path, all...)
	cmd.Env = []string{"HOME=" + p.t.TempDir()}
	if slices.Contains(p.line.Unsupported, p.arch) {
		cmd.Env = append(cmd.Env, "ETCD_UNSUPPORTED_ARCH="+p.arch)
	}
	return cmd
}

func (p programs) printsItsVersion() {
	for name := range p.file {
		args := []string{"--version"}
		if name == "etcdutl" || name == "etcdctl" && strings.Contains(p.line.CtlAPI, "3") && p.line.CtlAPI != "2" {
			args = []string{"version"}
		}
		out, err := p.command(p.t.Context(), name, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), p.line.Newest) {
			p.t.Errorf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	if len(p.line.Unsupported) > 0 && slices.Contains(p.line.Unsupported, p.arch) {
		cmd := p.command(p.t.Context(), "etcd", "--version")
		cmd.Env = nil
		if out, err := cmd.CombinedOutput(); err == nil {
			p.t.Errorf("it starts without ETCD_UNSUPPORTED_ARCH:\n%s", out)
		}
	}
}

// start starts etcd over a data directory, and returns when it answers, with
// its address and what stops it, without notice.
func (p programs) start(data string, flags ...string) (endpoint string, kill func() string) {
	p.t.Helper()
	client, peer := freeAddress(p.t), freeAddress(p.t)
	cmd := p.command(p.t.Context(), "etcd", append([]string{
		"--data-dir=" + data, "--listen-client-urls=http://" + client, "--advertise-client-urls=http://" + client,
		"--listen-peer-urls=http://" + peer, "--initial-advertise-peer-urls=http://" + peer,
		"--initial-cluster=default=http://" + peer,
	}, flags...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() string {
		_ = cmd.Process.Kill()
		<-ended
		return said.String()
	}
	deadline := time.After(3 * time.Minute)
	for {
		if err := p.ctl(client, "get", "there-is-no-such-key").ping(); err == nil {
			return client, stop
		}
		select {
		case err := <-ended:
			ended <- err
			p.t.Fatalf("etcd ended: %v\n%s", err, said.String())
		case <-deadline:
			p.t.Fatalf("etcd does not answer:\n%s", stop())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// call is a call of etcdctl.
type call struct{ *exec.Cmd }

func (p programs) ctl(endpoint string, args ...string) call {
	cmd := p.command(p.t.Context(), "etcdctl", append([]string{"--endpoints=http://" + endpoint}, args...)...)
	switch p.line.CtlAPI {
	case "only 2":
		cmd.Args[slices.Index(cmd.Args, "--endpoints=http://"+endpoint)] = "--endpoint=http://" + endpoint
	case "2":
		cmd.Env = append(cmd.Env, "ETCDCTL_API=3")
	}
	return call{cmd}
}

// ping tells whether there is an answer, be it that there is no such key.
func (c call) ping() error {
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && strings.Contains(string(out), "Key not found") {
		return nil
	}
	return err
}

func (p programs) servesAndSurvives() {
	put := []string{"put", "there", "survived"}
	if p.line.CtlAPI == "only 2" {
		put[0] = "set"
	}
	data := filepath.Join(p.t.TempDir(), "data")
	endpoint, kill := p.start(data)
	if out, err := p.ctl(endpoint, put...).CombinedOutput(); err != nil {
		p.t.Fatalf("etcdctl %v: %v\n%s\n%s", put, err, out, kill())
	}
	kill()
	endpoint, kill = p.start(data)
	out, err := p.ctl(endpoint, "get", "there").CombinedOutput()
	said := kill()
	if err != nil || !strings.Contains(string(out), "survived") {
		p.t.Errorf("etcdctl get, after a kill: %v\n%s\n%s", err, out, said)
	}
}

// takesItsFlags holds the catalogue's row against the programs' own words.
func (p programs) takesItsFlags() {
	t := p.t
	data := filepath.Join(t.TempDir(), "data")
	endpoint, kill := p.start(data, p.line.Debug, "--enable-pprof")
	if status := httpStatus(t, "http://"+endpoint+"/debug/pprof/cmdline"); status != 200 {
		t.Errorf("/debug/pprof/cmdline answers with %d", status)
	}
	httpStatus(t, "http://"+endpoint+"/v2/keys/") // worth a line to those that have it
	said := kill()
	if !strings.Contains(said, "\tdebug\t") && !strings.Contains(said, `"level":"debug"`) && !strings.Contains(said, " D | ") {
		t.Errorf("with %s it logs nothing that would be debugging:\n%s", p.line.Debug, said)
	}
	help, _ := p.command(t.Context(), "etcd", "--help").CombinedOutput()
	if got := slices.Contains(strings.Fields(string(help)), "--enable-v2"); got != (p.line.V2Flag != "") {
		t.Errorf("etcd --help tells of --enable-v2: %v", got)
	}
	endpoint, kill = p.start(filepath.Join(t.TempDir(), "data"))
	status := httpStatus(t, "http://"+endpoint+"/v2/keys/")
	kill()
	if served := status == 200; served != (p.line.V2 == etcd.On) {
		t.Errorf("the v2 API answers with %d", status)
	}
	if p.line.V2 == etcd.Off {
		endpoint, kill := p.start(filepath.Join(t.TempDir(), "data"), p.line.V2Flag+"=true")
		status := httpStatus(t, "http://"+endpoint+"/v2/keys/")
		kill()
		if status != 200 {
			t.Errorf("with %s the v2 API answers with %d", p.line.V2Flag, status)
		}
	}
	p.offlineCommands()
}

func httpStatus(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// offlineCommands asks each client for the help of snapshot restore, which
// those that have it give.
func (p programs) offlineCommands() {
	if p.line.CtlAPI == "only 2" {
		out, err := p.command(p.t.Context(), "etcdctl", "backup", "--help").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--data-dir") {
			p.t.Errorf("etcdctl backup: %v\n%s", err, out)
		}
		return
	}
	for name := range p.file {
		if name == "etcd" {
			continue
		}
		cmd := p.command(p.t.Context(), name, "snapshot", "restore", "--help")
		if p.line.CtlAPI == "2" {
			cmd.Env = append(cmd.Env, "ETCDCTL_API=3")
		}
		out, _ := cmd.CombinedOutput()
		has := strings.Contains(string(out), "--data-dir")
		want := p.line.Offline == name || name == "etcdctl" && p.line.OfflineCtl
		if has != want {
			p.t.Errorf("%s snapshot restore is there: %v\n%s", name, has, out)
		}
	}
}
