package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/sumdb/dirhash"
)

// release is one in the making.
type release struct {
	options
	work string // for whatever is not part of the release
	dir  string // the release

	commit string    // full, in hex
	date   time.Time // of the commit
	goMod  []byte
	goSum  string
	sum    string // of the module's archive, as go.sum would have it
	proxy  string // directory that serves the archive as a module proxy does
	host   hostGo
	built  []binary
}

// binary is a program that was compiled.
type binary struct {
	platform string // linux/amd64
	name     string // etcdimg-linux-amd64
	sha256   string
	size     int64
	info     *buildinfo.BuildInfo
}

// hostGo is the go command that compiles: the machine's, or the one that it
// fetched.
type hostGo struct {
	GOROOT, GOVERSION, GOMODCACHE, GOCACHE, GOPROXY, GONOPROXY, GOPRIVATE, GOAUTH string
}

// toolchain is the Go release that compiles: the one that go.mod names.
func (r *release) toolchain() string {
	f, err := modfile.Parse("go.mod", r.goMod, nil)
	if err != nil || f.Go == nil {
		return ""
	}
	if f.Toolchain != nil {
		return f.Toolchain.Name
	}
	return "go" + f.Go.Version
}

// archive makes the module's archive of the commit, as a module proxy would
// serve it once the version is published.
func (r *release) archive(ctx context.Context) error {
	out, err := r.git(ctx, "log", "-1", "--format=%H %ct", r.revision)
	if err != nil {
		return err
	}
	var seconds int64
	if _, err := fmt.Sscanf(out, "%s %d", &r.commit, &seconds); err != nil {
		return fmt.Errorf("git log says %q: %w", out, err)
	}
	r.date = time.Unix(seconds, 0).UTC()
	if changed, err := r.git(ctx, "status", "--porcelain", "--untracked-files=no"); err != nil {
		return err
	} else if changed != "" {
		fmt.Fprintf(os.Stderr, "there are changes that are in no commit; the release is of %s\n", r.commit)
	}
	goMod, err := r.git(ctx, "show", r.commit+":go.mod")
	if err != nil {
		return err
	}
	r.goMod = []byte(goMod)
	if r.goSum, err = r.git(ctx, "show", r.commit+":go.sum"); err != nil {
		return err
	}
	r.proxy = filepath.Join(r.work, "proxy")
	dir := filepath.Join(r.proxy, filepath.FromSlash(modulePath), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	archive, err := r.moduleZip(ctx)
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": r.version, "Time": r.date})
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{
		"list": []byte(r.version + "\n"), r.version + ".zip": archive, r.version + ".mod": r.goMod, r.version + ".info": info,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	r.sum, err = dirhash.HashZip(filepath.Join(dir, r.version+".zip"), dirhash.Hash1)
	return err
}

// git runs git in the checkout, and returns what it says.
func (r *release) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.repo
	return output(cmd)
}

func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// compile compiles the command for every platform, each as its own go install:
// they share the caches.
func (r *release) compile(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "env", "-json")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+r.toolchain(), "GOFLAGS=")
	out, err := output(cmd)
	if err != nil {
		return fmt.Errorf("there has to be a go command that is %s, or may fetch it: %w", r.toolchain(), err)
	}
	if err := json.Unmarshal([]byte(out), &r.host); err != nil {
		return fmt.Errorf("go env -json: %w", err)
	}
	if r.host.GOVERSION != r.toolchain() {
		return fmt.Errorf("the go command is %s, want %s, which go.mod names", r.host.GOVERSION, r.toolchain())
	}
	for _, platform := range r.platforms {
		fmt.Fprintln(os.Stderr, "compiling for", platform)
		b := binary{platform: platform, name: program + "-" + strings.ReplaceAll(platform, "/", "-")}
		if err := r.install(ctx, platform, filepath.Join(r.dir, b.name)); err != nil {
			return fmt.Errorf("for %s: %w", platform, err)
		}
		r.built = append(r.built, b)
	}
	return nil
}

// install runs go install, and moves its result to a file.
func (r *release) install(ctx context.Context, platform, file string) error {
	goos, goarch, _ := strings.Cut(platform, "/")
	gopath := filepath.Join(r.work, "gopath")
	cmd := exec.CommandContext(ctx, filepath.Join(r.host.GOROOT, "bin", "go"), "install", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", command+"@"+r.version)
	cmd.Dir = r.work
	cmd.Env = r.environ(gopath, goos, goarch)
	if _, err := output(cmd); err != nil {
		return err
	}
	// What is not for this machine goes into a directory of its platform.
	made, err := filepath.Glob(filepath.Join(gopath, "bin", "*"))
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(made, func(f string) bool { return filepath.Base(f) == goos+"_"+goarch }); i >= 0 {
		made = []string{filepath.Join(made[i], program)}
	}
	if len(made) != 1 {
		return fmt.Errorf("go install made %v", made)
	}
	if err := os.Rename(made[0], file); err != nil {
		return err
	}
	// go install minds the umask, and a program is a program.
	return errors.Join(os.Chmod(file, 0o755), os.RemoveAll(filepath.Join(gopath, "bin")))
}

// environ is the environment of the compiler: from nothing, with what says where
// downloads come from, and nothing of the machine that could reach the result.
func (r *release) environ(gopath, goos, goarch string) []string {
	env := []string{
		"GOENV=off", "GOFLAGS=", "GOWORK=off", "GO111MODULE=on", "GOTOOLCHAIN=local",
		"GOPATH=" + gopath, "GOMODCACHE=" + filepath.Join(r.work, "mod"), "GOCACHE=" + r.host.GOCACHE,
		// The archive that was made here first; what is on the machine already,
		// next.
		"GOPROXY=" + strings.Join([]string{fileURL(r.proxy), fileURL(filepath.Join(r.host.GOMODCACHE, "cache", "download")), r.host.GOPROXY}, ","),
		"GOPRIVATE=" + r.host.GOPRIVATE, "GONOPROXY=none", "GOAUTH=" + r.host.GOAUTH,
		// The version is in no checksum database yet. All others are held
		// against go.sum afterwards.
		"GOSUMDB=off",
		"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + goarch, "GOAMD64=v1", "GOARM64=v8.0", "GOPPC64=power8",
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0",
	}
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func fileURL(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "off"
	}
	return "file://" + filepath.ToSlash(abs)
}
