package etcdtest

import (
	"fmt"
	"strings"
)

// language is the go line of every module: old enough for any toolchain.
const language = "1.21"

// licence is that of every module (ISC).
const licence = `Copyright (c) 2026 The Look-alike Authors

Permission to use, copy, modify, and/or distribute this software for any
purpose with or without fee is hereby granted, provided that the above
copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES
WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF
MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR
ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF
OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`

// modules are the files of the look-alikes of one etcd version, by module path.
func modules(version string) map[string]map[string]string {
	const api = "go.etcd.io/etcd/api/v3"
	goMod := func(path string, needs ...string) string {
		s := fmt.Sprintf("module %s\n\ngo %s\n", path, language)
		for _, n := range needs {
			s += fmt.Sprintf("\nrequire %s v%s\n", n, version)
		}
		return s
	}
	program := func(path, source string) map[string]string {
		return map[string]string{"go.mod": goMod(path, api), "main.go": source, "LICENSE": licence}
	}
	return map[string]map[string]string{
		api: {
			"go.mod":             goMod(api),
			"LICENSE":            licence,
			"version/version.go": fmt.Sprintf(versionSource, version, minor(version)),
		},
		"go.etcd.io/etcd/server/v3":  program("go.etcd.io/etcd/server/v3", serverSource),
		"go.etcd.io/etcd/etcdctl/v3": program("go.etcd.io/etcd/etcdctl/v3", fmt.Sprintf(clientSource, "etcdctl")),
		"go.etcd.io/etcd/etcdutl/v3": program("go.etcd.io/etcd/etcdutl/v3", fmt.Sprintf(clientSource, "etcdutl")),
	}
}

// PublishWith adds the look-alikes of an etcd version to the proxy folder root,
// unlisted, whose server needs another module, which it publishes too, in versions
// of its own: the first is what the server needs, the others are there to bump it
// to.
func PublishWith(root, version, path string, versions ...string) error {
	for module, files := range modules(version) {
		if module == "go.etcd.io/etcd/server/v3" {
			files["go.mod"] += fmt.Sprintf("\nrequire %s %s\n", path, versions[0])
			files["needs.go"] = fmt.Sprintf("package main\n\nimport _ %q\n", path)
		}
		if err := Publish(root, module, "v"+version, files); err != nil {
			return err
		}
	}
	for _, v := range versions {
		if err := Publish(root, path, v, map[string]string{
			"go.mod": fmt.Sprintf("module %s\n\ngo %s\n", path, language), "LICENSE": licence, "needed.go": "package needed\n",
		}); err != nil {
			return err
		}
	}
	return nil
}

// PublishSingle adds a look-alike of an etcd version before 3.5 to the proxy
// folder root: one module, with etcd at its root and etcdctl beneath. The module
// version is what the module proxy calls it: v3.3.99+incompatible, or a
// pseudo-version. The module has a go.mod if it is not incompatible.
func PublishSingle(root, path, moduleVersion, version string) error {
	files := map[string]string{
		"version/version.go": fmt.Sprintf(versionSource, version, minor(version)),
		"main.go":            strings.ReplaceAll(serverSource, "go.etcd.io/etcd/api/v3", path),
		"etcdctl/main.go":    strings.ReplaceAll(fmt.Sprintf(clientSource, "etcdctl"), "go.etcd.io/etcd/api/v3", path),
	}
	if !strings.HasSuffix(moduleVersion, "+incompatible") {
		files["go.mod"] = fmt.Sprintf("module %s\n\ngo %s\n", path, language)
	}
	return Publish(root, path, moduleVersion, files)
}

// minor is MAJOR.MINOR of a version.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// The sources import as little as they can: each package that they need is
// compiled once for every architecture that a test asks for.
const (
	versionSource = `// Package version says which version this claims to be.
package version

var (
	Version    = %q
	APIVersion = %q
	GitSHA     = "Not provided"
)
`

	serverSource = `// Command server looks like etcd.
package main

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"go.etcd.io/etcd/api/v3/version"
)

func main() {
	if len(os.Args) == 2 && (os.Args[1] == "--version" || os.Args[1] == "-version") {
		os.Stdout.WriteString("etcd Version: " + version.Version + "\nGit SHA: " + version.GitSHA +
			"\nGo Version: " + runtime.Version() + "\nGo OS/Arch: " + runtime.GOOS + "/" + runtime.GOARCH + "\n")
		return
	}
	for _, a := range os.Args {
		os.Stdout.WriteString(a + "\n")
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	<-c
}
`

	clientSource = `// Command client looks like an etcd client.
package main

import (
	"os"

	"go.etcd.io/etcd/api/v3/version"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		os.Stdout.WriteString(%[1]q + " version: " + version.Version + "\nAPI version: " + version.APIVersion + "\n")
		return
	}
	os.Stderr.WriteString(%[1]q + ": only version is known here\n")
	os.Exit(1)
}
`
)
