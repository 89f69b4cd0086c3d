// Package etcdtest serves etcd look-alikes to tests: a Go module proxy in a
// folder, whose etcd, etcdctl and etcdutl compile within seconds and without
// any network, and print the version that they claim to be.
//
// A test that builds one:
//
//	env, err := etcdtest.Proxy(dir, "3.6.99")
//	…run with env added to the environment, and etcd.toolchain: etcdtest.Toolchain()
//	defer etcdtest.RemoveAll(dir)
//
// Release makes an official release page of look-alikes in a folder, and
// PublishSingle a version from before 3.5.
//
// The package knows nothing of how etcd is compiled.
package etcdtest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// Date is the date of every version that Proxy serves, UTC.
func Date() time.Time { return time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC) }

// Toolchain is the toolchain that compiled the running test, as go1.26.8. It
// is the one on the PATH of a test, so compiling with it downloads nothing.
func Toolchain() string {
	v, _, _ := strings.Cut(runtime.Version(), " ")
	return v
}

// Proxy writes a Go module proxy below dir that serves the modules of the
// given etcd versions, 3.5 or later, and nothing else. It returns the
// environment variables, as NAME=value, that make the go command use it and
// nothing but it: the proxy, no checksum database (which knows only the real
// modules), an empty module cache below dir, and the build cache of whoever runs
// the test, which has the standard library compiled and is indexed by content.
// RemoveAll removes dir afterwards.
//
// The look-alikes answer --version (etcd) and version (the others) in the form
// of the real ones; etcd run otherwise prints its arguments and waits for a
// signal.
func Proxy(dir string, versions ...string) (env []string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "proxy")
	listed := map[string][]string{}
	for _, v := range versions {
		for path, files := range modules(v) {
			if err := Publish(root, path, "v"+v, files); err != nil {
				return nil, err
			}
			listed[path] = append(listed[path], "v"+v)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(listed)) {
		escaped, err := module.EscapePath(path)
		if err != nil {
			return nil, err
		}
		list := strings.Join(listed[path], "\n") + "\n"
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(escaped), "@v", "list"), []byte(list), 0o644); err != nil {
			return nil, err
		}
	}
	builds := os.Getenv("GOCACHE")
	if builds == "" {
		caches, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		builds = filepath.Join(caches, "go-build")
	}
	// The go command's usage counters would be written behind the test's back,
	// after it has removed its folder.
	telemetry := filepath.Join(dir, "config", "go", "telemetry")
	if err := os.MkdirAll(telemetry, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(telemetry, "mode"), []byte("off"), 0o644); err != nil {
		return nil, err
	}
	return []string{
		"GOPROXY=file://" + filepath.ToSlash(root),
		"GOSUMDB=off", "GONOSUMDB=", "GONOPROXY=", "GOPRIVATE=",
		"GOMODCACHE=" + filepath.Join(dir, "modcache"),
		"GOCACHE=" + builds,
		"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
	}, nil
}

// Publish adds one module version to the proxy folder root, in the form that
// go help goproxy describes. Files are named relative to the module's root. A
// module without a go.mod among them is one from before there were modules.
func Publish(root, path, version string, files map[string]string) error {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return err
	}
	at := filepath.Join(root, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": Date()})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(path + "@" + version + "/" + name)
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	mod := files["go.mod"]
	if mod == "" {
		mod = "module " + path + "\n"
	}
	for ending, content := range map[string][]byte{".info": info, ".mod": []byte(mod), ".zip": archive.Bytes()} {
		if err := os.WriteFile(filepath.Join(at, version+ending), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// RemoveAll removes dir with the module cache in it, whose folders the go
// command makes read-only.
func RemoveAll(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("making %s writable: %w", dir, err)
	}
	return os.RemoveAll(dir)
}
