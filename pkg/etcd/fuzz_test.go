package etcd

import (
	"encoding/json"
	"errors"
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

func FuzzPinIsCheckedBeforeItIsUsed(f *testing.F) {
	f.Add(`{"version": "3.6.16", "toolchain": "go1.27.4", "packages": {"etcd": "go.etcd.io/etcd/server/v3"}, "variables": {"a/b.C": "h1:x="}, "goMod": "module x\n", "settings": {"GOAMD64": "v2"}}`)
	f.Add(`{"packages": {"etcd": "."}, "variables": {"a.b": "c -extld=d"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var pin lock.Etcd
		if json.Unmarshal([]byte(text), &pin) != nil || checkPin(pin, "amd64", nil) != nil {
			return
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
