package etcd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

func FuzzVersionIsReadAsItIsWritten(f *testing.F) {
	for _, s := range []string{"3.6.16", "3.8.0-alpha.0", "v3.6.16", "3.6", "3.06.1", "3.6.16+x", "", "99999.0.0", "3.6.1\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseVersion(s)
		if err != nil {
			if !strings.Contains(err.Error(), "write") {
				t.Errorf("the error names no remedy: %v", err)
			}
			return
		}
		if v.String() != s {
			t.Errorf("%q is read as %q", s, v)
		}
		if !strings.HasPrefix(s, v.line()+".") {
			t.Errorf("%q is of the line %q", s, v.line())
		}
	})
}

func FuzzAnswerOfGoEnvIsUnderstoodOrRefused(f *testing.F) {
	f.Add([]byte(`{"GOVERSION": "go1.26.8", "GOPROXY": "https://a:b@mirror.example,direct|off"}`))
	f.Add([]byte(`{"GOPROXY": 1}`))
	f.Add([]byte(`null`))
	f.Add([]byte("{\"A\": \"\\u0000\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		settings, err := parseGoEnv(b)
		if err != nil {
			return
		}
		h := &host{settings: settings}
		for _, kv := range h.base("go1.27.4") {
			if strings.ContainsRune(kv, 0) || !strings.Contains(kv, "=") {
				t.Errorf("%q is no environment variable", kv)
			}
		}
		if p := settings["GOPROXY"]; !strings.Contains(p, "@") && p != "" && h.proxy() != p {
			t.Errorf("GOPROXY %q is shown as %q", p, h.proxy())
		}
	})
}

func FuzzFailureOfTheGoCommandIsTold(f *testing.F) {
	f.Add("verifying go.etcd.io/etcd/server/v3@v3.6.16: checksum mismatch\n\tdownloaded: h1:a=\n\tgo.sum:     h1:b=\n\nSECURITY ERROR\n")
	f.Add("go: download go1.27.4: golang.org/toolchain@v0.0.1-go1.27.4.linux-amd64: verifying module: checksum database disabled by GOSUMDB=off\n")
	f.Add("go: x requires go >= 1.27.0 (running go 1.26.8; GOTOOLCHAIN=local)")
	f.Add("# go.etcd.io/etcd/server/v3\n./main.go:3:4: undefined: x\n")
	f.Add("missing go.sum entry for module providing package x; to add:\n\tgo mod download x")
	f.Fuzz(func(t *testing.T, text string) {
		o := new(output)
		// In two pieces: how the text is cut must not matter.
		for _, piece := range []string{text[:len(text)/2], text[len(text)/2:]} {
			if n, err := o.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		err := diagnose("doing it", errors.New("exit status 1"), o, &host{}, "go1.27.4")
		if err == nil || !strings.HasPrefix(err.Error(), "doing it: ") {
			t.Errorf("%q became %v", text, err)
		}
	})
}

func FuzzChecksumsOfAReleaseAreReadOrRefused(f *testing.F) {
	digest := strings.Repeat("0123456789abcdef", 4)
	for _, s := range []string{digest + "  etcd.tar.gz\n", digest + " *etcd.tar.gz\r\n" + digest + "  ./b", "\n\n", digest, digest + "  a\n" + strings.ToUpper(digest) + "  a\n", "x\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sums, err := parseSums(b)
		if err != nil {
			return
		}
		if len(sums) == 0 {
			t.Error("nothing was read, and there is no error")
		}
		lower := strings.ToLower(string(b))
		for name, digest := range sums {
			if !hexDigest.MatchString(digest) || !strings.Contains(lower, digest) || !strings.Contains(string(b), name) || strings.ContainsAny(name, "\n\x00") {
				t.Errorf("read %q for %q", digest, name)
			}
		}
	})
}

func FuzzArchiveOfAReleaseIsUnpackedOrRefused(f *testing.F) {
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, name := range []string{"top/etcd", "top/../../escaped", "/etcd", "top/etcdctl"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: 3}); err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write([]byte("abc")); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(plain.Bytes(), true)
	f.Add(plain.Bytes()[:700], true)
	f.Add([]byte("no gzip"), false)
	f.Fuzz(func(t *testing.T, b []byte, compress bool) {
		if compress { // the fuzzer would not find a gzip checksum
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			if _, err := w.Write(b); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			b = z.Bytes()
		}
		dir := filepath.Join(t.TempDir(), "inside")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		found, err := unpack(bytes.NewReader(b), dir, func(path string) (string, bool) {
			name, ok := strings.CutPrefix(path, "top/")
			return name, ok
		})
		if err == nil {
			for name, m := range found {
				if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || !info.Mode().IsRegular() || m.file != filepath.Join(dir, name) {
					t.Errorf("%q was unpacked to %q: %v", name, m.file, err)
				}
			}
		}
		outside, err := os.ReadDir(filepath.Dir(dir))
		if err != nil || len(outside) != 1 {
			t.Errorf("beside the directory there is %v, %v", outside, err)
		}
	})
}

func FuzzChangeOfATextIsTheOneThatWasAskedFor(f *testing.F) {
	f.Add("abcabc", "abc", 2, "x")
	f.Add("aaa", "aa", 1, "")
	f.Add("", "", 0, "new")
	f.Fuzz(func(t *testing.T, text, old string, occurrence int, new string) {
		got, err := change([]byte(text), []lock.Change{{Old: old, Occurrence: occurrence, New: new}})
		if err != nil {
			return
		}
		if old == "" {
			if string(got) != new || text != "" {
				t.Errorf("%q became %q", text, got)
			}
			return
		}
		if parts := strings.SplitN(text, old, occurrence+1); len(parts) != occurrence+1 ||
			string(got) != strings.Join(parts[:occurrence], old)+new+parts[occurrence] {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func FuzzPinIsCheckedBeforeItIsUsed(f *testing.F) {
	f.Add(`{"version": "3.6.16", "toolchain": "go1.27.4", "packages": {"etcd": "go.etcd.io/etcd/server/v3"}, "variables": {"a/b.C": "h1:x="}, "goMod": "module x\n", "settings": {"GOAMD64": "v2"}}`)
	f.Add(`{"version": "3.6.16", "release": {"archives": {"amd64": {"path": "v3.6.16/a.tar.gz", "size": 1, "sha256": "` + strings.Repeat("0", 64) + `", "binaries": {"etcd": "a/etcd"}}}}}`)
	f.Add(`{"toolchain": "go1.27.4", "packages": {"etcd": "a.b/c"}, "goMod": "module x\nrequire a.b/c v1.0.0\nreplace a.b/c => ./edited/a.b/c\n", "edits": [{"module": "a.b/c", "version": "v1.0.0", "files": [{"path": "x", "after": "` + strings.Repeat("0", 64) + `", "changes": [{"new": "x"}]}]}]}`)
	f.Add(`{"packages": {"etcd": "."}, "variables": {"a.b": "c -extld=d"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var pin lock.Etcd
		if json.Unmarshal([]byte(text), &pin) != nil || checkPin(etcdRecipe(pin), "amd64", nil) != nil {
			return
		}
		if a, ok := archive(pin, "amd64"); ok {
			if strings.Contains(a.Path, "..") && !filepath.IsLocal(a.Path) || len(a.SHA256) != 64 {
				t.Errorf("the release page is asked for %q", a.Path)
			}
			return
		}
		for _, e := range pin.Edits {
			for _, f := range e.Files {
				if !filepath.IsLocal(filepath.Join(filepath.FromSlash(replacement(e.Module)), f.Path)) {
					t.Errorf("edits %q of %q", f.Path, e.Module)
				}
			}
		}
		if fields := strings.Fields(linkerFlags(pin.Variables)); len(fields) != 3+2*len(pin.Variables) {
			t.Errorf("the linker gets %q", fields)
		}
		for _, kv := range target(pin, "amd64") {
			if strings.ContainsAny(kv, " \n\x00") {
				t.Errorf("the compiler gets %q", kv)
			}
		}
		for _, pkg := range pin.Packages {
			if strings.HasPrefix(pkg, "-") || strings.ContainsAny(pkg, " \n\x00") {
				t.Errorf("the go command gets %q", pkg)
			}
		}
	})
}
